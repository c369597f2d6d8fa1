"""The JSON gateway of kvstored answers as etcd's does.

Builds: one kvstored and one etcd on loopback, each with a fresh data directory. Posts the same
JSON to both and compares status and body, without what differs from run to run (ids, terms, tokens).
Expects no difference. Then a watch over HTTP is seen to deliver a change.
"""

import argparse
import base64
import json
import sys
import threading
import urllib.error
import urllib.request

from interop import Story, expect, expect_equal, require_program, started_cluster, wait_for

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def b64(text):
    return base64.b64encode(text.encode()).decode()


def post(member, path, body, token=None, timeout=20):
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{member.endpoint}{path}", data=data, method="POST")
    if token:
        request.add_header("Authorization", token)
    return OPENER.open(request, timeout=timeout)


def masked(value):
    """Without what two servers cannot have in common."""
    if isinstance(value, dict):
        return {k: masked(v) for k, v in value.items()
                if k not in ("cluster_id", "member_id", "raft_term", "token")}
    if isinstance(value, list):
        return [masked(v) for v in value]
    return value


def answer(member, path, body, token=None):
    """(status, body) of a call."""
    try:
        with post(member, path, body, token) as response:
            return response.status, masked(json.load(response))
    except urllib.error.HTTPError as error:
        return error.code, masked(json.load(error))


PUT = {"key": b64("a"), "value": b64("1")}
CALLS = [
    ("/v3/kv/put", PUT),
    ("/v3beta/kv/put", {**PUT, "prev_kv": True}),
    ("/v3/kv/put", {**PUT, "prevKv": True}),
    ("/v3/kv/put", {"key": b64("b"), "lease": "0", "ignore_value": False}),
    ("/v3/kv/put", {"value": b64("no key")}),
    ("/v3/kv/put", {"key": b64("a"), "lease": 77}),
    ("/v3/kv/range", {"key": b64("a")}),
    ("/v3/kv/range", {"key": b64("a"), "range_end": b64("z"), "limit": "1"}),
    ("/v3/kv/range", {"key": b64("a"), "rangeEnd": b64("z"), "sort_order": "DESCEND", "sort_target": "MOD"}),
    ("/v3/kv/range", {"key": b64("missing")}),
    ("/v3/kv/range", {"key": b64("a"), "revision": "99"}),
    ("/v3/kv/range", {}),
    ("/v3/kv/txn", {"compare": [{"key": b64("a"), "target": "VERSION", "version": "3"}],
                    "success": [{"request_put": {"key": b64("t"), "value": b64("x")}},
                                {"requestRange": {"key": b64("t")}}]}),
    ("/v3/kv/txn", {"compare": [{"key": b64("a"), "result": "GREATER", "target": "MOD", "mod_revision": 99}],
                    "failure": [{"request_delete_range": {"key": b64("t"), "prev_kv": True}}]}),
    ("/v3/kv/txn", {"success": [{}]}),
    ("/v3/kv/deleterange", {"key": b64("b")}),
    ("/v3/kv/deleterange", {"key": b64("b")}),
    ("/v3/kv/compaction", {"revision": "3"}),
    ("/v3/kv/compaction", {"revision": "3"}),
    ("/v3/lease/grant", {"ID": "7", "TTL": "100"}),
    ("/v3/lease/grant", {"ID": 7, "TTL": 100}),
    ("/v3/lease/leases", {}),
    ("/v3/lease/keepalive", {"ID": "7"}),
    ("/v3/lease/revoke", {"ID": "7"}),
    ("/v3/kv/lease/revoke", {"ID": "7"}),
    ("/v3/lease/timetolive", {"ID": "7"}),
    ("/v3/auth/user/add", {"name": "root", "password": "pw"}),
    ("/v3/auth/user/add", {"name": "root", "password": "pw"}),
    ("/v3/auth/role/add", {"name": "root"}),
    ("/v3/auth/user/grant", {"user": "root", "role": "root"}),
    ("/v3/auth/user/get", {"name": "root"}),
    ("/v3/auth/role/grant", {"name": "root", "perm": {"permType": "READWRITE", "key": b64("a")}}),
    ("/v3/auth/role/get", {"role": "root"}),
    ("/v3/auth/enable", {}),
    ("/v3/kv/range", {"key": b64("a")}),
    ("/v3/auth/authenticate", {"name": "root", "password": "wrong"}),
]


def watch_delivers(member, token):
    """A watch by HTTP hears of a put that comes after it."""
    lines = []
    body = {"create_request": {"key": b64("w")}}
    response = post(member, "/v3/watch", body, token, timeout=60)

    def read():
        try:
            for line in response:
                lines.append(json.loads(line))
        except (OSError, ValueError, AttributeError):
            pass  # The server has gone.

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    wait_for("the watch is created", lambda: lines)
    expect(lines[0]["result"]["created"] is True, f"the first line is {lines[0]}")
    with post(member, "/v3/kv/put", {"key": b64("w"), "value": b64("v")}, token):
        pass
    wait_for("the event comes", lambda: len(lines) > 1)
    expect_equal(lines[1]["result"]["events"][0]["kv"]["value"], b64("v"), "the value of the event")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--server", required=True, help="kvstored")
    options = parser.parse_args()
    require_program("etcd", "etcd-server")
    with started_cluster(options.server, "etcdctl", members=1) as (ours, _), \
            started_cluster("/usr/bin/etcd", "etcdctl", members=1) as (its, _):
        story = Story("gateway", ours)
        us, them = ours.members[0], its.members[0]
        for path, body in CALLS:
            with story.step(f"{path} {json.dumps(body)}"):
                expect_equal(answer(us, path, body), answer(them, path, body))
        for body in ("nonsense", "[]", '{"key": 1', '{"key": "%%%"}', '{} {}', '{"key": "YQ==", "limit": "x"}'):
            with story.step(f"malformed: {body}"):
                expect_equal(answer(us, "/v3/kv/range", body)[0], 400, "the status")
        with story.step("a token of the gateway is good for it"):
            login = {"name": "root", "password": "pw"}
            with post(us, "/v3/auth/authenticate", login) as response:
                token = json.load(response)["token"]
            expect_equal(answer(us, "/v3/kv/range", {"key": b64("a")}, token)[0], 200, "the status")
            expect_equal(answer(us, "/v3/kv/range", {"key": b64("a")}, token + "x")[0], 401, "the status")
        with story.step("a watch delivers"):
            watch_delivers(us, token)
        return story.finish()


if __name__ == "__main__":
    sys.exit(main())
