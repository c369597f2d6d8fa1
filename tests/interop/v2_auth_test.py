"""/v2/auth of kvstored answers as etcd 3.4's, request by request, and guards the same keys.

Builds: one etcd with --enable-v2 and one kvstored on loopback, with fresh data directories. Sends
both the same requests and compares status, body and X-Etcd-Index; then restarts kvstored, whose
users must be the same.
"""

import argparse
import base64
import http.client
import json
import sys

from interop import Story, expect, expect_equal, require_program
from cluster import Cluster

ROOT = ("root", "rootpw")
FOO = ("foo", "foopw")


def user(name, **fields):
    return ("PUT", f"/v2/auth/users/{name}", json.dumps({"user": name, **fields}))


def role(name, **fields):
    return ("PUT", f"/v2/auth/roles/{name}", json.dumps({"role": name, **fields}))


def kv(read=None, write=None):
    return {"kv": {k: v for k, v in (("read", read), ("write", write)) if v is not None}}


def key(method, path, value=None):
    return (method, f"/v2/keys{path}", None if value is None else f"value={value}")


GET = "GET"
CHAPTERS = [
    ("before anybody is there", None, [
        (GET, "/v2/auth/enable", None),
        (GET, "/v2/auth/users", None),
        (GET, "/v2/auth/users/", None),
        (GET, "/v2/auth/roles", None),
        (GET, "/v2/auth/roles/root", None),
        (GET, "/v2/auth/roles/guest", None),
        (GET, "/v2/auth/users/ghost", None),
        (GET, "/v2/auth/users/a/b", None),
        ("PUT", "/v2/auth/enable", None),
        ("DELETE", "/v2/auth/enable", None),
        ("POST", "/v2/auth/users/x", "{}"),
        key("PUT", "/open", "1"),
    ]),
    ("users", None, [
        user("foo", password="foopw"),
        user("foo", password="foopw", roles=["a"]),
        user("bar", password=""),
        user("bar", password="barpw", roles=["guest", "none"]),
        user("foo", grant=["r"]),
        user("foo", grant=["r"]),
        user("foo", revoke=["x"]),
        user("foo", grant=["s"], revoke=["r"]),
        user("foo", grant=["r"], roles=["t"]),
        user("ghost", grant=["r"]),
        user("foo"),
        ("PUT", "/v2/auth/users/foo", '{"user":"other","password":"x"}'),
        ("PUT", "/v2/auth/users/foo", "{"),
        ("PUT", "/v2/auth/users/foo", '{"user":1}'),
        ("PUT", "/v2/auth/users/a%3Cb%3E%26", '{"user":"a<b>&","password":"p"}'),
        (GET, "/v2/auth/users/foo", None),
        (GET, "/v2/auth/users/bar", None),
        (GET, "/v2/auth/users", None),
        ("DELETE", "/v2/auth/users/a%3Cb%3E%26", None),
        ("DELETE", "/v2/auth/users/ghost", None),
    ]),
    ("roles", None, [
        role("r", permissions=kv(read=["/foo/*", "/exact"])),
        role("r", permissions=kv(read=["/x"])),
        role("s"),
        role("s", grant=kv(write=["/w*"])),
        role("s", grant=kv(write=["/w*"])),
        role("s", grant=kv(read=["/b", "/a"]), revoke=kv(read=["/b"], write=["/nothing"])),
        role("s", revoke=kv(read=["/nothing"])),
        role("s", permissions=kv(read=["/x"]), grant=kv(read=["/y"])),
        role("ghost", grant=kv(read=["/y"])),
        role("root", permissions=kv(read=["/x"])),
        role("root", grant=kv(read=["/x"])),
        ("PUT", "/v2/auth/roles/r", '{"role":"q"}'),
        ("PUT", "/v2/auth/roles/r", '{"role":"r","permissions":{"kv":{"read":"x"}}}'),
        (GET, "/v2/auth/roles", None),
        (GET, "/v2/auth/roles/s", None),
        ("DELETE", "/v2/auth/roles/root", None),
        ("DELETE", "/v2/auth/roles/ghost", None),
    ]),
    ("turning it on", None, [
        ("PUT", "/v2/auth/enable", None),
        user("root", password="rootpw"),
        (GET, "/v2/auth/users/root", None),
        ("PUT", "/v2/auth/enable", None),
        (GET, "/v2/auth/enable", None),
        (GET, "/v2/auth/users", None),
        ("PUT", "/v2/auth/enable", None),
    ]),
    ("without a name", None, [
        key("PUT", "/open", "2"),
        key(GET, "/open"),
        key(GET, "/?recursive=true"),
        (GET, "/v2/auth/roles/r", None),
        ("POST", "/v2/members", '{"peerURLs":["http://x:1"]}'),
        (GET, "/v2/machines", None),
    ]),
    ("as root", ROOT, [
        (GET, "/v2/auth/roles/guest", None),
        user("foo", grant=["r"]),
        role("guest", revoke=kv(write=["/*"])),
        key("PUT", "/foo/a", "1"),
        key("PUT", "/exact", "1"),
        ("DELETE", "/v2/auth/users/root", None),
    ]),
    ("as foo", FOO, [
        key(GET, "/foo/a"),
        key(GET, "/foo"),
        key(GET, "/foo/"),
        key(GET, "/foo/?recursive=true"),
        key(GET, "/exact"),
        key(GET, "/exact?recursive=true"),
        key(GET, "/other"),
        key("PUT", "/foo/a", "2"),
        key("PUT", "/wide", "2"),
        key("DELETE", "/wide"),
        key(GET, "/"),
        (GET, "/v2/auth/users/foo", None),
        ("DELETE", "/v2/auth/enable", None),
    ]),
    ("with a wrong password", ("foo", "x"), [
        key(GET, "/foo/a"),
        (GET, "/v2/auth/users", None),
    ]),
    ("as somebody who is not there", ("ghost", "x"), [key(GET, "/foo/a")]),
    ("without a name, when guests may only read", None, [
        key("PUT", "/open", "3"),
        key(GET, "/open"),
    ]),
    ("turning it off", ROOT, [
        user("foo", password="new"),
        ("DELETE", "/v2/auth/enable", None),
        ("DELETE", "/v2/auth/enable", None),
        key("PUT", "/open", "4"),
    ]),
]


def ask(port, method, path, body, who):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {}
    if who:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(who).encode()).decode()
    if body is not None:
        form = path.startswith("/v2/keys")
        headers["Content-Type"] = "application/x-www-form-urlencoded" if form else "application/json"
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    if path == "/v2/machines":
        text = "machines"
    return answer.status, answer.getheader("X-Etcd-Index"), text


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--server", required=True, help="kvstored")
    options = parser.parse_args()
    require_program("etcd", "etcd-server")
    with Cluster("/usr/bin/etcd", members=1, extra_flags=["--enable-v2"]) as etcd, \
            Cluster(options.server, members=1, extra_flags=["--bcrypt-cost=4"]) as kvstored:
        etcd.start()
        kvstored.start()
        story = Story("v2_auth", kvstored)
        theirs, ours = etcd.members[0].client_port, kvstored.members[0].client_port
        for title, who, requests in CHAPTERS:
            for method, path, body in requests:
                with story.step(f"{title}: {method} {path} {body or ''}"):
                    expect_equal(ask(ours, method, path, body, who), ask(theirs, method, path, body, who))
        with story.step("the folder of users and roles cannot be named by clients"):
            for path in ("/v2/keys/_%00auth", "/v2/keys/_%00auth/users/root", "/v2/keys/x/../_%00auth/enabled"):
                for method, body in ((GET, None), ("PUT", "value=true"), ("DELETE", None)):
                    expect(ask(ours, method, path, body, None)[0] in (301, 400), f"{method} {path}")
        with story.step("watches and listings of everything do not show it"):
            everything = ask(ours, GET, "/v2/keys/?recursive=true&sorted=true", None, None)
            expect("rootpw" not in everything[2] and "$2a$" not in everything[2], everything[2])
            index = 1
            while index <= int(everything[1]):
                found = ask(ours, GET, f"/v2/keys/?wait=true&recursive=true&waitIndex={index}", None, None)
                expect("$2a$" not in found[2] and "auth" not in found[2], found[2])
                index = json.loads(found[2])["node"]["modifiedIndex"] + 1
                if index > json.loads(ask(ours, GET, "/v2/keys/open", None, None)[2])["node"]["modifiedIndex"]:
                    break
        with story.step("users survive a restart"):
            before = ask(ours, GET, "/v2/auth/users", None, None)
            kvstored.members[0].kill()
            kvstored.members[0].start()
            kvstored.wait_healthy()
            expect_equal(ask(ours, GET, "/v2/auth/users", None, None), before)
        return story.finish()


if __name__ == "__main__":
    sys.exit(main())
