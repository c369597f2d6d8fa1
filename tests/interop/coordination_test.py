"""The lock and election services of kvstored answer as etcd 3.4's.

Builds: one etcd and one kvstored on loopback. Takes both through the same story over the JSON
gateway - locks that are held, waited for and given up, campaigns, proclamations, an observer - and
compares each answer, but for ids and terms.
"""

import argparse
import base64
import http.client
import json
import sys
import threading

from interop import Story, expect_equal, require_program
from cluster import Cluster, wait_for


def b64(text):
    return base64.b64encode(text.encode()).decode()


def mask(text):
    """An answer without ids and terms."""
    value = json.loads(text)
    header = value.get("result", value).get("header", {})
    for name in ("cluster_id", "member_id", "raft_term"):
        header.pop(name, None)
    return value


class Peer:
    def __init__(self, member):
        self.port = member.client_port
        self.observed = []

    def ask(self, path, **fields):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", "/v3/" + path, json.dumps(fields))
        answer = connection.getresponse()
        return answer.status, mask(answer.read())

    def begin(self, path, **fields):
        """An answer to come: a list that gets one element."""
        answers = []
        threading.Thread(target=lambda: answers.append(self.ask(path, **fields)), daemon=True).start()
        return answers

    def observe(self, name):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", "/v3/election/observe", json.dumps({"name": b64(name)}))
        answer = connection.getresponse()

        def read():
            for line in answer:
                if line.strip():
                    self.observed.append(mask(line))

        threading.Thread(target=read, daemon=True).start()


def locks(peer):
    yield peer.ask("lease/grant", ID=17, TTL=600)
    yield peer.ask("lease/grant", ID=18, TTL=600)
    yield peer.ask("lock/lock", name=b64("m"), lease=17)
    yield peer.ask("lock/lock", name=b64("m"), lease=17)  # has it already
    waiting = peer.begin("lock/lock", name=b64("m"), lease=18)
    wait_for("the second one waits", lambda: peer.ask("kv/range", key=b64("m/12"))[1].get("count"))
    yield len(waiting)
    yield peer.ask("lock/unlock", key=b64("m/11"))
    wait_for("the second one has it", lambda: waiting)
    yield waiting[0]
    yield peer.ask("lock/unlock", key=b64("m/12"))
    yield peer.ask("lock/unlock", key=b64("m/12"))
    yield peer.ask("lock/lock", name=b64("m"), lease=99)  # no such lease


def elections(peer):
    yield peer.ask("election/leader", name=b64("e"))
    won = peer.ask("election/campaign", name=b64("e"), lease=17, value=b64("v1"))
    yield won
    leader = won[1]["leader"]
    peer.observe("e")
    wait_for("the leader is observed", lambda: peer.observed)
    yield peer.ask("election/leader", name=b64("e"))
    yield peer.ask("election/campaign", name=b64("e"), lease=17, value=b64("v2"))
    yield peer.ask("election/proclaim", leader=leader, value=b64("v3"))
    yield peer.ask("election/proclaim", leader={**leader, "rev": "1"}, value=b64("x"))
    yield peer.ask("election/proclaim", value=b64("x"))
    waiting = peer.begin("election/campaign", name=b64("e"), lease=18, value=b64("w"))
    wait_for("another one waits", lambda: peer.ask("kv/range", key=b64("e/12"))[1].get("count"))
    yield peer.ask("election/resign", leader=leader)
    wait_for("the other one leads", lambda: waiting)
    yield waiting[0][1]["leader"]
    yield peer.ask("election/resign")
    wait_for("the observer has heard it", lambda: len(peer.observed) >= 4)
    # What a leader said before the next was found counts; revisions of searches are when they were made.
    yield [o["result"]["kv"] for o in peer.observed[:4]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    args = parser.parse_args()
    require_program("etcd", "etcd-server")
    with Cluster("/usr/bin/etcd", members=1) as etcd, Cluster(args.server, members=1) as kvstored:
        etcd.start()
        kvstored.start()
        story = Story("coordination_test", kvstored)
        theirs, ours = Peer(etcd.members[0]), Peer(kvstored.members[0])
        for part in (locks, elections):
            with story.step(f"{part.__name__} get the same answers"):
                answers = [list(part(peer)) for peer in (theirs, ours)]
                for number, (want, got) in enumerate(zip(*answers)):
                    expect_equal(got, want, f"answer {number}")
                expect_equal(len(answers[1]), len(answers[0]), "number of answers")
        return story.finish()


if __name__ == "__main__":
    sys.exit(main())
