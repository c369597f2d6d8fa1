"""Drives a three-member cluster of real processes with etcdctl (or kvctl, which prints the same).

Builds: three servers on loopback with fresh data directories. Expects what etcd 3.4 answers.
With --server=/usr/bin/etcd the same steps run against etcd: that is the check of this test.
"""

import argparse
import json
import queue
import re
import subprocess
import sys
import threading

from interop import Story, expect, expect_equal, require_peers, started_cluster, wait_for


class Watch:
    """A running `watch`, whose lines can be waited for."""

    def __init__(self, ctl, *words, stdin=None):
        self.process = ctl.start("watch", *words, stdin=stdin or subprocess.DEVNULL)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def expect_lines(self, *want, timeout=20):
        for line in want:
            try:
                got = self.lines.get(timeout=timeout)
            except queue.Empty:
                raise AssertionError("the watch printed nothing where %r was due" % line) from None
            expect_equal(got, line, "line of the watch")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def check_put_get(story, c):
    with story.step("put answers OK and get prints key and value"):
        expect_equal(c.run("put", "a", "1").stdout, "OK\n")
        expect_equal(c.run("get", "a").stdout, "a\n1\n")
        expect_equal(c.run("put", "a", "2", "--prev-kv").stdout, "OK\na\n1\n")
        expect_equal(c.run("get", "missing").stdout, "")
    with story.step("put takes the value from standard input"):
        c.run("put", "piped", stdin="two\nlines\n")
        expect_equal(c.run("get", "piped", "--print-value-only").stdout, "two\nlines\n\n")
    for i in range(1, 6):
        c.run("put", "k/%d" % i, "v%d" % (6 - i))
    with story.step("get by prefix, range, from-key and limit"):
        everything = "".join("k/%d\nv%d\n" % (i, 6 - i) for i in range(1, 6))
        expect_equal(c.run("get", "--prefix", "k/").stdout, everything)
        expect_equal(c.run("get", "k/2", "k/4").stdout, "k/2\nv4\nk/3\nv3\n")
        expect_equal(c.run("get", "--prefix", "k/", "--limit=2").stdout, "k/1\nv5\nk/2\nv4\n")
        expect_equal(c.run("get", "--from-key", "k/5").stdout, "k/5\nv1\npiped\ntwo\nlines\n\n")
    with story.step("get sorts by value, by modification and downwards"):
        expect_equal(c.run("get", "--prefix", "k/", "--sort-by=VALUE", "--order=ASCEND",
                               "--limit=2").stdout,
                     "k/5\nv1\nk/4\nv2\n")
        expect_equal(c.run("get", "--prefix", "k/", "--order=DESCEND", "--limit=1").stdout,
                     "k/5\nv1\n")
        expect_equal(c.run("get", "--prefix", "k/", "--sort-by=MODIFY", "--order=DESCEND",
                               "--limit=1").stdout, "k/5\nv1\n")
    with story.step("get of keys only, values only, hex, and the count"):
        expect_equal(c.run("get", "--prefix", "k/", "--limit=2", "--keys-only").stdout,
                     "k/1\n\nk/2\n\n")
        expect_equal(c.run("get", "k/1", "--hex").stdout, "\\x6b\\x2f\\x31\n\\x76\\x35\n")
        answer = c.json("get", "--prefix", "k/", "--limit=2")
        expect_equal((len(answer["kvs"]), answer["count"], answer["more"]), (2, 5, True))
    with story.step("every member gives the same linearizable and serializable answer"):
        for m in c.cluster.members:
            expect_equal(c.run("get", "a", endpoints=m.endpoint).stdout, "a\n2\n")
            wait_for(m.name + " has applied the write",
                     lambda m=m: c.run("get", "a", "--consistency=s",
                                       endpoints=m.endpoint).stdout == "a\n2\n")


def check_revisions(story, c):
    with story.step("get at an old revision, and errors for a future and a compacted one"):
        old = c.json("put", "rev", "old")["header"]["revision"]
        new = c.json("put", "rev", "new")["header"]["revision"]
        expect_equal(new, old + 1, "each put is one revision")
        expect_equal(c.run("get", "rev", "--rev=%d" % old).stdout, "rev\nold\n")
        future = c.run("get", "rev", "--rev=%d" % (new + 1000), check=False)
        expect_equal(future.returncode, 1, "exit code")
        expect("Error: etcdserver: mvcc: required revision is a future revision" in future.stderr,
               future.stderr)
        expect_equal(c.run("compaction", str(new)).stdout, "compacted revision %d\n" % new)
        expect_equal(c.run("get", "rev", "--rev=%d" % new).stdout, "rev\nnew\n")
        for words in (["get", "rev", "--rev=%d" % old], ["compaction", str(new)]):
            gone = c.run(*words, check=False)
            expect_equal(gone.returncode, 1, "exit code")
            expect("Error: etcdserver: mvcc: required revision has been compacted" in gone.stderr,
                   gone.stderr)
    with story.step("physical compaction"):
        revision = c.json("put", "rev", "newer")["header"]["revision"]
        expect_equal(c.run("compaction", str(revision), "--physical").stdout,
                     "compacted revision %d\n" % revision)
    with story.step("versions and revisions of a key begin again after a delete"):
        c.run("del", "life")
        created = c.json("put", "life", "1")["header"]["revision"]
        c.run("put", "life", "2")
        kv = c.json("get", "life")["kvs"][0]
        expect_equal((kv["create_revision"], kv["mod_revision"], kv["version"]),
                     (created, created + 1, 2))
        c.run("del", "life")
        c.run("put", "life", "3")
        kv = c.json("get", "life")["kvs"][0]
        expect_equal((kv["create_revision"], kv["version"]), (created + 3, 1))


def check_delete(story, c):
    with story.step("del counts, shows previous pairs and takes prefixes and ranges"):
        for key in ("d/1", "d/2", "d/3", "d/4"):
            c.run("put", key, "x" + key)
        expect_equal(c.run("del", "d/1", "--prev-kv").stdout, "1\nd/1\nxd/1\n")
        expect_equal(c.run("del", "d/1").stdout, "0\n")
        expect_equal(c.run("del", "d/2", "d/3").stdout, "1\n")
        expect_equal(c.run("del", "--prefix", "d/").stdout, "2\n")
    with story.step("a del of nothing adds no revision"):
        before = c.json("get", "a")["header"]["revision"]
        expect_equal(c.json("del", "nothing-here")["header"]["revision"], before)


def check_txn(story, c):
    with story.step("txn runs the success branch, and the failure branch"):
        c.run("put", "t", "1")
        text = 'val("t") = "1"\n\nput t 2\nget t\n\nput t 3\n\n'
        expect_equal(c.run("txn", stdin=text).stdout, "SUCCESS\n\nOK\n\nt\n2\n")
        expect_equal(c.run("txn", stdin=text).stdout, "FAILURE\n\nOK\n")
        expect_equal(c.run("get", "t").stdout, "t\n3\n")
    with story.step("txn -i asks for three blocks"):
        done = c.run("txn", "-i", stdin='mod("t") > "0"\n\nput t 4\n\nget t\n\n')
        expect_equal(done.stdout,
                     "compares:\nsuccess requests (get, put, del):\n"
                     "failure requests (get, put, del):\nSUCCESS\n\nOK\n")
    with story.step("txn compares versions, creations, values and inequality"):
        text = ('create("new-in-txn") = "0"\nver("t") > "1"\nval("t") != "5"\n\n'
                'put new-in-txn "with space"\ndel t --prev-kv\n\n\n')
        expect_equal(c.run("txn", stdin=text).stdout, "SUCCESS\n\nOK\n\n1\nt\n4\n")
        expect_equal(c.run("get", "new-in-txn").stdout, "new-in-txn\nwith space\n")
    with story.step("txn is one revision, and refuses the same key twice"):
        done = c.json("txn", stdin="\nput t1 x\nput t2 x\n\n\n")
        kvs = c.json("get", "t1", "t3")["kvs"]
        expect_equal([kv["mod_revision"] for kv in kvs], [done["header"]["revision"]] * 2)
        twice = c.run("txn", stdin="\nput t1 x\nput t1 y\n\n\n", check=False)
        expect_equal(twice.returncode, 1, "exit code")
        expect("duplicate key given in txn request" in twice.stderr, twice.stderr)
    with story.step("txn refuses a malformed comparison and a cut input with exit code 3"):
        for text in ("garbage\n\n\n\n", '\nput a 1\n'):
            expect_equal(c.run("txn", stdin=text, check=False).returncode, 3, "exit code")


def check_watch(story, c):
    with story.step("watch from an old revision replays, with previous pairs"):
        start = c.json("put", "w/1", "one")["header"]["revision"]
        c.run("put", "w/1", "two")
        c.run("del", "w/1")
        with Watch(c, "--prefix", "w/", "--rev=%d" % start, "--prev-kv") as watch:
            watch.expect_lines("PUT", "w/1", "one", "PUT", "w/1", "one", "w/1", "two",
                               "DELETE", "w/1", "two", "w/1", "")
            c.run("put", "w/live", "now")
            watch.expect_lines("PUT", "w/live", "now")
    with story.step("watch of a range sees only its keys"):
        revision = c.json("put", "x/1", "1")["header"]["revision"]
        c.run("put", "x/9", "9")
        c.run("put", "x/2", "2")
        with Watch(c, "x/1", "x/5", "--rev=%d" % revision) as watch:
            watch.expect_lines("PUT", "x/1", "1", "PUT", "x/2", "2")
    with story.step("watch of several members at once, each gets the event"):
        revision = c.json("get", "a")["header"]["revision"] + 1
        watches = []
        try:
            for _ in range(3):
                watches.append(Watch(c, "w/all", "--rev=%d" % revision))
            c.run("put", "w/all", "hi")
            for watch in watches:
                watch.expect_lines("PUT", "w/all", "hi")
        finally:
            for watch in watches:
                watch.__exit__()
    with story.step("watch runs a command with the event in its environment"):
        revision = c.json("put", "w/exec", "v")["header"]["revision"]
        with Watch(c, "w/exec", "--rev=%d" % revision, "--", "sh", "-c",
                   "echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE") as watch:
            watch.expect_lines("PUT", "w/exec", "v", '"PUT" "w/exec" "v"')
    with story.step("watch -i takes several watches"):
        revision = c.json("put", "w/i", "1")["header"]["revision"]
        with Watch(c, "-i", stdin=subprocess.PIPE) as watch:
            watch.process.stdin.write("watch w/i --rev=%d\n" % revision)
            watch.process.stdin.flush()
            watch.expect_lines("PUT", "w/i", "1")
            revision = c.json("put", "w/j", "2")["header"]["revision"]
            watch.process.stdin.write("watch w/j --rev %d\n" % revision)
            watch.process.stdin.flush()
            watch.expect_lines("PUT", "w/j", "2")
    with story.step("watch of a compacted revision is ended with exit code 5"):
        done = c.run("watch", "w/1", "--rev=1", check=False)
        expect_equal(done.returncode, 5, "exit code")
        expect("etcdserver: mvcc: required revision has been compacted" in done.stderr, done.stderr)


def grant(c, ttl):
    text = c.run("lease", "grant", str(ttl)).stdout
    match = re.fullmatch(r"lease ([0-9a-f]{16}) granted with TTL\((\d+)s\)\n", text)
    expect(match, "unexpected answer %r" % text)
    return match.group(1)


def check_lease(story, c):
    with story.step("lease grant, put with it, timetolive with keys, list"):
        lease = grant(c, 500)
        c.run("put", "l/1", "x", "--lease=" + lease)
        c.run("put", "l/2", "x", "--lease=" + lease)
        text = c.run("lease", "timetolive", lease, "--keys").stdout
        match = re.fullmatch(r"lease %s granted with TTL\(500s\), remaining\((\d+)s\), "
                             r"attached keys\(\[(.*)\]\)\n" % lease, text)
        expect(match and 400 < int(match.group(1)) <= 500, text)
        expect_equal(sorted(match.group(2).split()), ["l/1", "l/2"])
        expect_equal(c.run("lease", "list").stdout, "found 1 leases\n%s\n" % lease)
    with story.step("lease keep-alive --once through every member"):
        for m in c.cluster.members:
            expect_equal(c.run("lease", "keep-alive", "--once", lease,
                                   endpoints=m.endpoint).stdout,
                         "lease %s keepalived with TTL(500)\n" % lease)
    with story.step("lease revoke deletes the keys in one revision"):
        before = c.json("get", "l/1")["header"]["revision"]
        expect_equal(c.run("lease", "revoke", lease).stdout, "lease %s revoked\n" % lease)
        answer = c.json("get", "--prefix", "l/")
        expect_equal((answer.get("kvs", []), answer["header"]["revision"]), ([], before + 1))
        expect_equal(c.run("lease", "timetolive", lease).stdout,
                     "lease %s already expired\n" % lease)
        again = c.run("lease", "revoke", lease, check=False)
        expect_equal(again.returncode, 1, "exit code")
        expect("requested lease not found" in again.stderr, again.stderr)
    with story.step("a put with an unknown lease is refused"):
        refused = c.run("put", "l/3", "x", "--lease=1234", check=False)
        expect_equal(refused.returncode, 1, "exit code")
        expect("Error: etcdserver: requested lease not found" in refused.stderr, refused.stderr)
    with story.step("a lease that nobody renews ends and takes its keys along"):
        short = grant(c, 2)
        c.run("put", "l/short", "x", "--lease=" + short)
        wait_for("the lease has ended", lambda: c.run("get", "l/short").stdout == "")
        expect_equal(c.run("lease", "list").stdout, "found 0 leases\n")
    with story.step("lease keep-alive renews until the lease is revoked"):
        lease = grant(c, 3)
        process = c.start("lease", "keep-alive", lease)
        try:
            for _ in range(3):
                expect_equal(process.stdout.readline(), "lease %s keepalived with TTL(3)\n" % lease)
            c.run("lease", "revoke", lease)
            rest = process.communicate(timeout=20)[0].splitlines()
            expect_equal(rest[-1], "lease %s expired or revoked." % lease)
        finally:
            process.kill()
            process.wait()


def expect_table(text, columns, rows):
    lines = text.splitlines()
    expect_equal(len(lines), rows + 4, "lines of the table\n" + text)
    expect(len(set(map(len, lines))) == 1, "ragged table\n" + text)
    for i in (0, 2, len(lines) - 1):
        expect(re.fullmatch(r"\+(-+\+)+", lines[i]), "border %d of the table\n%s" % (i, text))
    expect_equal([cell.strip() for cell in lines[1].strip("|").split("|")], columns)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[3:-1]]


def check_cluster(story, c):
    with story.step("member list in simple, table and json form"):
        lines = c.run("member", "list").stdout.splitlines()
        expect_equal(len(lines), 3)
        want = {m.name: (m.peer_url, "http://" + m.endpoint) for m in c.cluster.members}
        for line in lines:
            identity, started, name, peer, client, learner = line.split(", ")
            expect(re.fullmatch("[0-9a-f]{1,16}", identity), line)
            expect_equal((started, (peer, client), learner), ("started", want[name], "false"))
        rows = expect_table(c.run("member", "list", "-w", "table").stdout,
                            ["ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"], 3)
        expect_equal([", ".join(row) for row in rows], lines)
        members = c.json("member", "list")["members"]
        expect_equal({m["name"]: (m["peerURLs"][0], m["clientURLs"][0]) for m in members}, want)
        expect_equal(["%x" % m["ID"] for m in members], [line.split(",")[0] for line in lines])
    with story.step("endpoint status in simple, table and json form: one leader, one term"):
        rows = expect_table(c.run("endpoint", "status", "-w", "table").stdout,
                            ["ENDPOINT", "ID", "VERSION", "DB SIZE", "IS LEADER", "IS LEARNER",
                             "RAFT TERM", "RAFT INDEX", "RAFT APPLIED INDEX", "ERRORS"], 3)
        expect_equal([row[0] for row in rows], [m.endpoint for m in c.cluster.members])
        expect_equal(sorted(row[4] for row in rows), ["false", "false", "true"], "is leader")
        expect_equal(len({row[6] for row in rows}), 1, "terms")
        for row in rows:
            expect(re.fullmatch(r"\d+(\.\d)? [kMG]?B", row[3]), "db size %r" % row[3])
        lines = c.run("endpoint", "status").stdout.splitlines()
        expect_equal([line.split(", ")[:2] for line in lines], [row[:2] for row in rows])
        answers = c.json("endpoint", "status", "--cluster")
        expect_equal(sorted(a["Endpoint"] for a in answers), sorted("http://" + m.endpoint for m in c.cluster.members))
        for a in answers:
            status = a["Status"]
            expect(status["raftAppliedIndex"] <= status["raftIndex"], json.dumps(status))
            expect(re.fullmatch(r"\d+\.\d+\.\d+.*", status["version"]), status["version"])
            expect(status["dbSize"] > 0 and status["dbSizeInUse"] > 0, json.dumps(status))
    with story.step("endpoint health in simple, table and json form"):
        done = c.run("endpoint", "health")
        expect_equal((done.stdout + done.stderr).count(
            " is healthy: successfully committed proposal: took = "), 3)
        rows = expect_table(c.run("endpoint", "health", "-w", "table").stdout,
                            ["ENDPOINT", "HEALTH", "TOOK", "ERROR"], 3)
        expect_equal([row[1] for row in rows], ["true"] * 3)
        expect_equal([h["health"] for h in c.json("endpoint", "health", "--cluster")], [True] * 3)
    with story.step("HTTP /health, /version and /metrics on the client port of every member"):
        for m in c.cluster.members:
            status, body = m.http("/health")
            expect_equal((status, json.loads(body)["health"]), (200, "true"))
            status, body = m.http("/version")
            expect_equal(status, 200)
            expect(set(json.loads(body)) >= {"etcdserver", "etcdcluster"}, body)
            status, body = m.http("/metrics")
            expect_equal(status, 200)
            for name in ("etcd_server_has_leader 1", "etcd_disk_wal_fsync_duration_seconds_count"):
                expect(re.search("^" + name, body, re.MULTILINE), m.name + " has no " + name)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="kvstored or etcd")
    parser.add_argument("--ctl", default="etcdctl", help="etcdctl or kvctl")
    arguments = parser.parse_args()
    require_peers(arguments.server, arguments.ctl)

    with started_cluster(arguments.server, arguments.ctl) as (cluster, c):
        story = Story("etcdctl_test", cluster)
        c.leader()
        check_put_get(story, c)
        check_revisions(story, c)
        check_delete(story, c)
        check_txn(story, c)
        check_watch(story, c)
        check_lease(story, c)
        check_cluster(story, c)
        return story.finish()


if __name__ == "__main__":
    sys.exit(main())
