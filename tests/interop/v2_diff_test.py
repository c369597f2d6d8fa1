"""The version 2 keys API of kvstored answers as etcd 3.4's, request by request.

Builds: one etcd with --enable-v2 and one kvstored on loopback, with fresh data directories. Sends
both the same random requests in lockstep and compares status, body and X-Etcd-Index; meanwhile
streams of watches are open on both, and must have got the same events at the end. Only times are
masked: when a node expires, and in how many seconds. A difference is printed with the seed and
the number of the request.
"""

import argparse
import html
import http.client
import json
import random
import re
import sys
import threading
import time
import urllib.parse

from interop import Story, expect, expect_equal, require_program
from cluster import Cluster, wait_for

NAMES = ["a", "b", "c", "_h", "d e", "\u00e9<&>"]
VALUES = ["", "1", "2", "x<y>&\"z\"\\", "\u20ac\n\t\x01"]
STREAMS = [("/", True), ("/a", True), ("/a", False), ("/a/b", True), ("/b/c", False), ("/_h", True), ("/a/_h", True)]


def mask(text):
    """Times out, children in order."""
    text = re.sub(r'"expiration":"[^"]+"', '"expiration":"T"', text)
    text = re.sub(r'"ttl":-?\d+,', "", text)
    try:
        value = json.loads(text)
    except ValueError:
        return text

    def in_order(node):
        for child in node.get("nodes", []):
            in_order(child)
        node.get("nodes", []).sort(key=lambda child: child["key"])

    if "nodes" in value.get("node", {}):
        in_order(value["node"])
        return json.dumps(value)
    return text  # Byte for byte.


class Peer:
    def __init__(self, member):
        self.port = member.client_port
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self.streams = []

    def ask(self, method, path, fields, in_body):
        query = urllib.parse.urlencode(fields)
        headers = {}
        body = None
        if in_body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = query
        elif query:
            path += "?" + query
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read().decode("utf-8", "surrogateescape")
        location = urllib.parse.unquote(answer.getheader("Location", ""))
        if answer.status == 301:  # Which characters of a path are escaped is a matter of taste.
            text = urllib.parse.unquote(html.unescape(text))
        return answer.status, answer.getheader("X-Etcd-Index"), mask(text), location

    def watch(self, path, recursive):
        """Starts a stream; its lines gather in a list."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        query = "wait=true&stream=true" + ("&recursive=true" if recursive else "")
        connection.request("GET", f"/v2/keys{path}?{query}")
        answer = connection.getresponse()
        lines = []

        def read():
            try:
                for line in answer:
                    lines.append(mask(line.decode()))
            except (OSError, http.client.HTTPException, AttributeError, ValueError):
                pass  # Closed by the test.

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        self.streams.append((connection, thread, lines))
        return lines


def random_path(rng):
    path = "".join("/" + urllib.parse.quote(rng.choice(NAMES)) for _ in range(rng.choice([0, 1, 1, 2, 2, 2, 3])))
    if rng.random() < 0.02:
        path += rng.choice(["/", "//", "/../x", "/./y"])
    return "/v2/keys" + path


def random_fields(rng, method, index):
    fields = []
    chance = rng.random
    if method in ("PUT", "POST"):
        if chance() < 0.9:
            fields.append(("value", rng.choice(VALUES)))
        if chance() < 0.2:
            fields.append(("ttl", rng.choice(["9000", "5000", "", "", "x", "-1"])))
        if chance() < 0.3:
            fields.append(("prevExist", rng.choice(["true", "false", "1", "f", "yes"])))
        if chance() < 0.06:
            fields.append(("refresh", rng.choice(["true", "false", "q"])))
        if chance() < 0.1:
            fields.append(("noValueOnSuccess", rng.choice(["true", "0"])))
    if method in ("PUT", "DELETE") and chance() < 0.2:
        fields.append(("prevValue", rng.choice(VALUES)))
    if method in ("PUT", "DELETE") and chance() < 0.2:
        fields.append(("prevIndex", rng.choice([str(rng.randint(max(index - 30, 0), index + 1)), "0", "z"])))
    if chance() < 0.25:
        fields.append(("dir", rng.choice(["true", "true", "false", "no"])))
    if method in ("GET", "DELETE") and chance() < 0.4:
        fields.append(("recursive", rng.choice(["true", "true", "false", "T"])))
    if method == "GET":
        if chance() < 0.2:
            fields.append(("quorum", rng.choice(["true", "false"])))
        if chance() < 0.2:
            fields.append(("sorted", "true"))
        if chance() < 0.15:  # Only into the past, which answers at once or says that it is gone.
            fields += [("wait", "true"), ("waitIndex", str(rng.randint(0, max(index - 40, 1)) or 1))]
    elif chance() < 0.02:
        fields.append(("wait", "true"))
    rng.shuffle(fields)
    return fields


def run_random(theirs, ours, seed, operations, story):
    rng = random.Random(seed)
    index = 3
    waits = 0
    for number in range(operations):
        method = rng.choice(["GET"] * 4 + ["PUT"] * 8 + ["POST", "DELETE", "DELETE", "HEAD"])
        path = random_path(rng)
        fields = random_fields(rng, method, index)
        in_body = method in ("PUT", "POST") and rng.random() < 0.7
        if ("wait", "true") in fields and method == "GET":
            # A wait that the history does not answer would block: look whether etcd's does.
            waits += 1
            try:
                want = Peer.ask(fresh(theirs, 0.3), method, path, fields, in_body)
            except TimeoutError:
                continue
        else:
            want = theirs.ask(method, path, fields, in_body)
        got = ours.ask(method, path, fields, in_body)
        if got != want:
            raise AssertionError(f"request {number} of seed {seed} differs: {method} {path} {fields}\n"
                                 f"     ours   {got}\n     etcd's {want}")
        if want[1] and want[0] < 500:
            index = max(index, int(want[1]))
    story.say(f"{operations} requests ({waits} waits), index {index}")
    return index


def fresh(peer, timeout):
    """A Peer with a connection of its own, for a request that may not be answered."""
    other = Peer.__new__(Peer)
    other.port = peer.port
    other.connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=timeout)
    other.streams = []
    return other


def shape_of(text):
    """What is left of an answer when the values that differ between two members are masked."""
    text = re.sub(r'"(id|leader)":"[0-9a-f]+"', r'"\1":"I"', text)
    text = re.sub(r'"(startTime|uptime)":"[^"]+"', r'"\1":"T"', text)
    return re.sub(r"\d+", "N", text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--operations", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0, help="0: a new one")
    args = parser.parse_args()
    require_program("etcd", "etcd-server")
    seed = args.seed or random.SystemRandom().randint(1, 10**9)
    with Cluster("/usr/bin/etcd", members=1, extra_flags=["--enable-v2"]) as etcd, \
            Cluster(args.server, members=1) as kvstored:
        etcd.start()
        kvstored.start()
        story = Story("v2_diff", kvstored)
        theirs, ours = Peer(etcd.members[0]), Peer(kvstored.members[0])
        story.say(f"seed {seed}: repeat with --seed={seed}")
        streams = [(theirs.watch(*stream), ours.watch(*stream)) for stream in STREAMS]

        with story.step("random requests get the same answers"):
            run_random(theirs, ours, seed, args.operations, story)
        with story.step("streams of watches got the same events"):
            for peer in (theirs, ours):  # An end that every stream hears of.
                for path, _ in STREAMS:
                    peer.ask("DELETE", "/v2/keys" + path, [("recursive", "true")], False)
                    peer.ask("PUT", "/v2/keys" + (path if path != "/" else "/end"), [("value", "end")], True)
            for (path, recursive), (want, got) in zip(STREAMS, streams):
                wait_for(f"events of {path}", lambda want=want, got=got: len(got) >= len(want), 10)
                if len(want) < 90 or len(got) == len(want):  # etcd drops a stream that is 100 behind.
                    expect_equal(got, want, f"events of {path}{' below' if recursive else ''}")
            story.say(f"{sum(len(got) for _, got in streams)} events")
        with story.step("what expires is gone, and its watchers hear of it"):
            lines = []
            for peer in (theirs, ours):
                peer.ask("PUT", "/v2/keys/ttl", [("dir", "true"), ("ttl", "1")], True)
                peer.ask("PUT", "/v2/keys/ttl/file", [("value", "v")], True)
                below = peer.watch("/ttl/file", False)
                wait_for("expiry", lambda peer=peer: peer.ask("GET", "/v2/keys/ttl", [], False)[0] == 404)
                wait_for("the event", lambda below=below: below)
                lines.append(list(below))
            expect_equal(lines[1], lines[0])
            expect('"expire"' in lines[0][0], f"unexpected event {lines[0][0]}")
        with story.step("members, machines and statistics have etcd's form"):
            for path in ("/v2/members", "/v2/members/leader", "/v2/machines", "/v2/stats/store", "/v2/stats/self",
                         "/v2/stats/leader", "/v2/members/none"):
                answers = [peer.ask("GET", path, [], False) for peer in (theirs, ours)]
                shapes = [shape_of(answer[2]) for answer in answers]
                expect_equal((answers[1][0], shapes[1]), (answers[0][0], shapes[0]), path)
        with story.step("keys and history survive a restart"):
            before = ours.ask("GET", "/v2/keys", [("recursive", "true")], False)
            event = ours.ask("GET", "/v2/keys/ttl", [("wait", "true"), ("waitIndex", str(int(before[1]) - 3)),
                                                     ("recursive", "true")], False)
            kvstored.members[0].kill()
            kvstored.members[0].start()
            kvstored.wait_healthy()
            again = Peer(kvstored.members[0])
            expect_equal(again.ask("GET", "/v2/keys", [("recursive", "true")], False), before)
            expect_equal(again.ask("GET", "/v2/keys/ttl",
                                   [("wait", "true"), ("waitIndex", str(int(before[1]) - 3)), ("recursive", "true")],
                                   False)[2], event[2])
        return story.finish()


if __name__ == "__main__":
    sys.exit(main())
