"""kvctl prints what etcdctl prints, byte for byte, and ends with the same exit code.

Builds: one server on loopback with a fresh data directory, once for each ctl, on the same
ports, so that ids and revisions come out the same. Runs the same commands through both.
Only what differs from run to run is masked: lease ids, hashes with them, the size of the database,
and how long a health check took.
"""

import argparse
import re
import subprocess
import sys

from interop import (Story, clean_environment, expect_equal, free_ports, require_program,
                     started_cluster)

FORMS = ("simple", "fields", "json", "table")

# Commands that are run in each output form. A command is a list of words; {L} is a lease that
# was granted before. A pair is a command and what it gets on standard input.
COMMANDS = [
    ["put", "a", "1"],
    ["put", "a", "2", "--prev-kv"],
    ["put", "a", "", "--prev-kv"],
    ["put", "b", "x<y>&z \"quoted\" \\ back"],
    ["put", "[1,2]", "[3,4]"],
    ["put", "put", "get"],
    (["put", "c"], "from\nstdin\n"),
    ["put", "dash", "--", "-v"],
    ["put", "h\u00e9", "\x01\t\x7f\u20ac\u200b\U0001f600"],
    ["get", "a"],
    ["get", "missing"],
    ["get", "a", "d"],
    ["get", "--prefix", ""],
    ["get", "--from-key", "b"],
    ["get", "--prefix", "", "--keys-only"],
    ["get", "--prefix", "", "--limit=2"],
    ["get", "--prefix", "", "--print-value-only"],
    ["get", "--prefix", "", "--order=descend", "--sort-by=modify"],
    ["get", "--prefix", "", "--hex"],
    ["get", "a", "--rev=2"],
    ["get", "a", "--consistency=s"],
    ["del", "missing"],
    ["del", "c", "--prev-kv"],
    ["del", "--prefix", "h", "--prev-kv"],
    ["del", "b", "c"],
    (["txn"], 'mod("a") > "0"\nver("a") != "77"\n\nput t "a b"\nget t\nget --prefix ""\n'
              'del t --prev-kv\nput a 3 --prev-kv\n\nget a\n\n'),
    (["txn"], 'create("a") = "0"\n\nput a x\n\nget a\ndel nothing\n\n'),
    (["txn"], 'val("a") < "5"\n\n\n\n'),
    (["txn", "-i"], '\nput "q\\x41\\n" v\n\n\n'),
    ["lease", "grant", "500"],
    ["put", "l1", "x", "--lease={L}"],
    ["get", "l1"],
    ["lease", "timetolive", "{L}", "--keys"],  # With one key: the order of several is not defined.
    ["put", "l2", "x", "--lease={L}"],
    ["lease", "timetolive", "{L}"],
    ["lease", "timetolive", "77"],
    ["lease", "keep-alive", "--once", "{L}"],
    ["put", "l1", "--ignore-value"],
    ["put", "l2", "y", "--ignore-lease"],
    ["lease", "revoke", "{L}"],
    ["lease", "list"],
    ["member", "list"],
    ["endpoint", "status"],
    ["endpoint", "status", "--cluster"],
    ["endpoint", "health"],
    ["endpoint", "health", "--cluster"],
    ["endpoint", "hashkv"],
    ["endpoint", "hashkv", "--cluster", "--rev=3"],
    ["alarm", "list"],
    ["defrag"],
    ["defrag", "--cluster"],
    ["role", "add", "r"],
    ["role", "grant-permission", "r", "read", "k"],
    ["role", "grant-permission", "r", "readwrite", "a", "c"],
    ["role", "grant-permission", "r", "write", "pre/", "--prefix"],
    ["role", "grant-permission", "r", "READ", "m", "--from-key"],
    ["role", "grant-permission", "r", "write", "", "--prefix"],
    ["role", "get", "r"],
    ["role", "list"],
    ["user", "add", "alice:secret"],
    ["user", "add", "bob", "--new-user-password=secret"],
    ["user", "add", "carol", "--no-password"],
    (["user", "add", "dave", "--interactive=false"], "secret\n"),
    (["user", "add", "eve"], "secret\nsecret\n"),
    (["user", "passwd", "eve"], "other\nother\n"),
    (["user", "passwd", "eve", "--interactive=false"], "third\n"),
    ["user", "grant-role", "alice", "r"],
    ["user", "get", "alice"],
    ["user", "list"],
    ["user", "revoke-role", "alice", "r"],
    ["user", "get", "alice"],
    ["user", "delete", "alice"],
    ["user", "delete", "bob"],
    ["user", "delete", "carol"],
    ["user", "delete", "dave"],
    ["user", "delete", "eve"],
    ["role", "revoke-permission", "r", "k"],
    ["role", "revoke-permission", "r", "a", "c"],
    ["role", "revoke-permission", "r", "m", "--from-key"],
    ["role", "delete", "r"],
]

# Commands that fail; the form does not matter.
FAILURES = [
    ["get"],
    ["get", "a", "b", "--prefix"],
    ["get", "a", "--prefix", "--from-key"],
    ["get", "a", "--consistency=x"],
    ["get", "a", "--sort-by=FOO"],
    ["get", "a", "--order=FOO"],
    ["get", "a", "--rev=99999"],
    ["get", "a", "-w", "bogus"],
    ["get", "a", "-w", "json", "--print-value-only"],
    ["put"],
    ["put", "", "x"],
    ["put", "a", "x", "--ignore-value"],
    ["put", "nokey", "x", "--ignore-lease"],
    ["put", "a", "x", "--lease=zz"],
    ["put", "a", "x", "--lease=1234"],
    ["del"],
    ["del", "a", "b", "--prefix"],
    ["lease", "grant"],
    ["lease", "grant", "abc"],
    ["lease", "grant", "99999999999999999999"],
    ["lease", "grant", "99999999999"],
    ["lease", "revoke"],
    ["lease", "revoke", "zz"],
    ["lease", "revoke", "1234"],
    ["lease", "timetolive"],
    ["lease", "timetolive", "zz"],
    ["lease", "keep-alive"],
    ["lease", "keep-alive", "1234"],
    ["lease", "keep-alive", "1234", "--once"],
    ["compaction"],
    ["compaction", "abc"],
    ["compaction", "99999"],
    ["watch"],
    ["watch", "z", "a"],
    ["watch", "z", "a", "--prefix"],
    ["get", "a", "--cacert=/nonexistent"],
    ["get", "a", "--cert=/nonexistent"],
    (["txn"], "garbage\n\n\n\n"),
    (["txn"], 'foo("a") = "0"\n\n\n\n'),
    (["txn"], 'mod("a") = "x"\n\n\n\n'),
    (["txn"], 'mod(a) = "1"\n\n\n\n'),
    (["txn"], 'mod("a") = 1\n\n\n\n'),
    (["txn"], 'mod("a")="1"\n\n\n\n'),
    (["txn"], "\nfoo a\n\n\n"),
    (["txn"], "\nput a b --bad\n\n\n"),
    (["txn"], "\nput a\n\n\n"),
    (["txn"], "\nput a 1\nput a 2\n\n\n"),
    (["txn"], "\nput a 1\n"),
    (["txn"], ""),
    (["watch", "-i"], ""),
    ["endpoint", "hashkv", "--rev=99999"],
    ["alarm", "list", "x"],
    ["alarm", "disarm"],
    ["alarm", "disarm", "x"],
    ["move-leader"],
    ["move-leader", "zz"],
    ["move-leader", "1234"],
    ["auth", "enable"],
    ["auth", "enable", "x"],
    ["auth", "disable", "x"],
    ["role", "add"],
    ["role", "get", "missing"],
    ["role", "get"],
    ["role", "list", "x"],
    ["role", "delete", "missing"],
    ["role", "delete"],
    ["role", "grant-permission", "r", "read"],
    ["role", "grant-permission", "r", "bogus", "k"],
    ["role", "grant-permission", "missing", "read", "k"],
    ["role", "grant-permission", "r", "read", "k", "l", "--prefix"],
    ["role", "grant-permission", "r", "read", "k", "l", "--from-key"],
    ["role", "grant-permission", "r", "read", "k", "--prefix", "--from-key"],
    ["role", "grant-permission", "r", "read", "", "--prefix", "--from-key"],
    ["role", "revoke-permission", "r"],
    ["role", "revoke-permission", "missing", "k"],
    ["user", "add"],
    ["user", "add", ":x"],
    (["user", "add", "frank"], "one\ntwo\n"),
    (["user", "add", "frank"], ""),
    (["user", "add", "frank", "--interactive=false"], ""),
    ["user", "get"],
    ["user", "get", "missing"],
    ["user", "list", "x"],
    ["user", "delete"],
    ["user", "delete", "missing"],
    ["user", "passwd"],
    (["user", "passwd", "missing", "--interactive=false"], "x\n"),
    ["user", "grant-role", "missing"],
    ["user", "grant-role", "missing", "r"],
    ["user", "revoke-role", "missing"],
    ["user", "revoke-role", "missing", "r"],
    ["lock"],
    ["elect"],
    ["elect", "e"],
    ["elect", "e", "x", "--listen"],
    ["check", "perf", "--load=huge"],
    ["check", "perf", "--prefix="],
    ["make-mirror"],
    ["snapshot", "save"],
    ["snapshot", "status"],
    ["snapshot", "status", "/nonexistent/file"],
    ["snapshot", "restore"],
    ["snapshot", "save", "/nonexistent/folder/file"],
    ["snapshot", "restore", "/nonexistent/file"],
]

# With users: the words are run after `auth enable`, the last of them disables it.
AS_ROOT = ["--user=root:secret"]
AUTHENTICATED = [
    ["user", "add", "root:secret"],
    ["role", "add", "reader"],
    ["role", "grant-permission", "reader", "read", "a"],
    ["user", "add", "alice:pw"],
    ["user", "grant-role", "alice", "reader"],
    ["auth", "enable"],
    ["get", "a"],
    ["get", "a", "--user=alice:pw"],
    ["get", "a", "--user=alice", "--password=pw"],
    (["get", "a", "--user=alice"], "pw\n"),
    ["get", "a", "--user=alice:wrong"],
    ["get", "a", "--user=nobody:pw"],
    ["put", "a", "1", "--user=alice:pw"],
    ["user", "list", "--user=alice:pw"],
    ["user", "list"] + AS_ROOT,
    ["user", "get", "alice", "--detail"] + AS_ROOT,
    ["endpoint", "health"] + AS_ROOT,
    ["endpoint", "status", "--user=alice:pw"],
    ["auth", "disable", "--user=alice:pw"],
    ["auth", "disable"] + AS_ROOT,
    ["get", "a", "--user=alice:wrong"],
]

# Answers whose bytes are compared.
PROTOBUF = [
    ["get", "--prefix", "a"],
    ["get", "missing"],
    ["put", "pb", "1"],
    ["del", "pb", "--prev-kv"],
    ["member", "list"],
    ["alarm", "list"],
    ["role", "list"],
    ["user", "list"],
    ["endpoint", "status"],
    ["endpoint", "hashkv"],
]

# Where ours is clearer on purpose: the exit code is still the same, the text is not compared.
TEXT_DIFFERS = ("--cacert=/nonexistent", "\nput a b --bad\n\n\n", "/nonexistent/folder/file",
                "/nonexistent/file")


def mask(text, lease):
    if lease:
        text = text.replace("%d" % int(lease, 16), "LEASE").replace(lease, "LEASE")
    text = re.sub(r"\d+(\.\d+)?(ms|\u00b5s|s)\b(?!\))", "TIME", text)
    text = re.sub(r'("dbSize(InUse)?":|"DBSize" : )\d+', r"\1SIZE", text)
    text = re.sub(r"\d+(\.\d+)? (kB|MB)", "SIZE", text)
    text = re.sub(r"remaining\(\d+s\)", "remaining(TIME)", text)
    text = re.sub(r'("ttl":|"TTL" : )(4\d\d|500)\b', r"\1TTL", text)
    # The width of a health table follows the time.
    return re.sub(r"-{3,}| {2,}", " ", text) if "HEALTH" in text else text


def own_lines(stderr):
    """etcdctl's errors without the log lines of its client library."""
    return "".join(line + "\n" for line in stderr.splitlines()
                   if not line.startswith(('{"level"', "stty: ")) and "retry_interceptor" not in line)


def run(c, command, form, leases):
    words, stdin = command if isinstance(command, tuple) else (command, None)
    words = [w.replace("{L}", leases[-1] if leases else "") for w in words]
    if form:
        words = words + ["-w", form] if "--" not in words else ["-w", form] + words
    done = c.run(*words, stdin=stdin, check=False)
    if words[:2] == ["lease", "grant"] and done.returncode == 0:
        found = re.search(r"lease ([0-9a-f]{16})|\"ID\" ?: ?(\d+)", done.stdout)
        leases.append(found.group(1) or "%016x" % int(found.group(2)))
    lease = leases[-1] if leases else None
    errors = own_lines(done.stderr)
    if words[-1] in TEXT_DIFFERS or stdin in TEXT_DIFFERS:
        errors = ""
    output = mask(done.stdout, lease)
    # Servers tell the revision since 3.6, and etcdctl of 3.4 does not know it.
    output = re.sub(r',"hash_revision":\d+', "", output)
    if words[:2] == ["endpoint", "status"] and any(w.startswith("--user") for w in words):
        # Each program asks for a token, as often as it likes, and each token is an entry.
        output = re.sub(r"\d+, \d+, \n", "INDEX, INDEX, \n", output)
    if words[:2] == ["endpoint", "hashkv"] and "--rev=3" not in words:
        # The leases' ids are in the history that is hashed.
        output = re.sub(r"-{3,}| {2,}", " ", re.sub(r"\b\d{6,10}\b", "HASH", output))
    return done.returncode, output, mask(errors, lease)


def record(server, ctl, ports):
    """Every command's name and what came of it, on a fresh server."""
    results = []
    with started_cluster(server, ctl, members=1, ports=ports) as (_, c):
        c.leader()
        leases = []
        for form in FORMS:
            # A table of a grant is refused after the grant: use one of the simple form.
            if form == "table":
                run(c, ["lease", "grant", "500"], None, leases)
            for command in COMMANDS:
                words = command[0] if isinstance(command, tuple) else command
                if form == "table" and words[:2] == ["lease", "grant"]:
                    continue
                if form == "fields" and words == ["alarm", "list"]:
                    continue  # etcdctl 3.4 crashes.
                results.append(("%s -w %s" % (" ".join(words), form),
                                run(c, command, form, leases)))
        for command in FAILURES:
            words = command[0] if isinstance(command, tuple) else command
            results.append((" ".join(words), run(c, command, None, leases)))
        revision = c.json("get", "a")["header"]["revision"]
        for form in FORMS[:3]:
            results.append(("compaction -w " + form,
                            run(c, ["compaction", str(revision - 5 + FORMS.index(form))], form, leases)))
        for command in PROTOBUF:
            done = subprocess.run(c.command(command + ["-w", "protobuf"]), capture_output=True,
                                  check=False, env=clean_environment())
            results.append((" ".join(command) + " -w protobuf",
                            (done.returncode, done.stdout, own_lines(done.stderr.decode()))))
        for command in AUTHENTICATED:
            words = command[0] if isinstance(command, tuple) else command
            results.append(("authenticated: " + " ".join(words), run(c, command, None, leases)))
        results.append(("compaction again", run(c, ["compaction", str(revision - 5)], None, leases)))
        results.append(("watch compacted", run(c, ["watch", "a", "--rev=1"], None, leases)))
        results.append(("get compacted", run(c, ["get", "a", "--rev=1"], None, leases)))
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="/usr/bin/etcd")
    parser.add_argument("--ctl", required=True, help="the kvctl to compare with etcdctl")
    arguments = parser.parse_args()
    require_program("etcdctl", "etcd-client")
    require_program("etcd", "etcd-server")

    ports = free_ports(2)
    theirs = record(arguments.server, "etcdctl", ports)
    ours = record(arguments.server, arguments.ctl, ports)
    story = Story("same_output_test")
    for (name, want), (_, got) in zip(theirs, ours):
        with story.step(name):
            expect_equal(got[0], want[0], "exit code; stderr: " + got[2])
            expect_equal(got[1], want[1], "stdout")
            expect_equal(got[2], want[2], "stderr")
    return story.finish()


if __name__ == "__main__":
    sys.exit(main())
