"""Users, roles and rights: what etcdctl prints against kvstored is what it prints against etcd.

Builds: one kvstored and one etcd on loopback, each with a fresh data directory. Runs the same
commands of etcdctl against both, one after the other, and compares output, errors and exit codes
byte for byte. Expects no difference, but for leases, which are guarded as by later etcds.
"""

import argparse
import re
import sys

from interop import Story, expect, expect_equal, require_program, started_cluster

ROOT = ["--user=root:rootpw"]
USER = ["--user=u:upw"]

# (what is shown, commands)
CHAPTERS = [
    ("before authentication", [
        ["auth", "enable"],
        ["auth", "disable"],
        ["user", "add", "root:rootpw"],
        ["auth", "enable"],
        ["user", "add", "root:other"],
        ["user", "add", "u:upw"],
        ["user", "add", "v", "--no-password"],
        ["user", "add", ":x"],
        ["user", "list"],
        ["user", "get", "u"],
        ["user", "get", "ghost"],
        ["user", "delete", "ghost"],
        ["role", "add", "r"],
        ["role", "add", "r"],
        ["role", "get", "r"],
        ["role", "get", "ghost"],
        ["role", "delete", "ghost"],
        ["role", "grant-permission", "r", "readwrite", "a", "c"],
        ["role", "grant-permission", "r", "read", "read-only"],
        ["role", "grant-permission", "r", "write", "write-only"],
        ["role", "grant-permission", "r", "readwrite", "p/", "--prefix"],
        ["role", "grant-permission", "r", "readwrite", "x", "--from-key"],
        ["role", "grant-permission", "ghost", "read", "a"],
        ["role", "get", "r"],
        ["role", "revoke-permission", "r", "nothing"],
        ["role", "revoke-permission", "ghost", "a"],
        ["user", "grant-role", "u", "r"],
        ["user", "grant-role", "u", "r"],
        ["user", "grant-role", "u", "ghost"],
        ["user", "grant-role", "ghost", "r"],
        ["user", "revoke-role", "v", "r"],
        ["user", "get", "u", "--detail"],
        ["put", "other", "before"],
    ]),
    ("turning it on", [
        ["user", "grant-role", "root", "root"],
        ["auth", "enable"],
        ["get", "a"],
        ["put", "a", "1"],
        ["user", "list"],
        ["get", "a", "--user=u:wrong"],
        ["get", "a", "--user=ghost:x"],
        ["get", "a", "--user=v:x"],
        [*ROOT, "auth", "enable"],
    ]),
    ("rights to keys", [
        [*USER, "put", "a", "1"],
        [*USER, "put", "b", "2", "--prev-kv"],
        [*USER, "get", "a"],
        [*USER, "get", "a", "c"],
        [*USER, "get", "a", "d"],
        [*USER, "get", "--prefix", ""],
        [*USER, "get", "--prefix", "p/"],
        [*USER, "put", "p/q", "1"],
        [*USER, "put", "p", "1"],
        [*USER, "get", "--from-key", "x"],
        [*USER, "get", "--from-key", "w"],
        [*USER, "put", "zzz", "1"],
        [*USER, "get", "read-only"],
        [*USER, "put", "read-only", "1"],
        [*USER, "put", "write-only", "1"],
        [*USER, "put", "write-only", "1", "--prev-kv"],
        [*USER, "get", "write-only"],
        [*USER, "del", "read-only"],
        [*USER, "del", "write-only", "--prev-kv"],
        [*USER, "del", "a", "c"],
        [*USER, "del", "a", "d"],
        [*ROOT, "get", "--prefix", ""],
        ([*USER, "txn"], 'mod("other") > "0"\n\nput a 1\n\nput a 2\n\n'),
        ([*USER, "txn"], 'mod("a") > "0"\n\nput a 1\n\nput other 2\n\n'),
        ([*USER, "txn"], 'mod("a") > "0"\n\nput a 1\n\nput a 2\n\n'),
        ([*USER, "txn"], '\nget other\n\n\n'),
    ]),
    ("what is for root", [
        [*USER, "user", "list"],
        [*USER, "user", "add", "w:w"],
        [*USER, "user", "get", "u"],
        [*USER, "user", "get", "root"],
        [*USER, "role", "list"],
        [*USER, "role", "get", "r"],
        [*USER, "role", "add", "mine"],
        [*USER, "auth", "disable"],
        [*USER, "compaction", "2"],
        [*USER, "defrag"],
        [*ROOT, "user", "list"],
        [*ROOT, "role", "list"],
        [*ROOT, "user", "delete", "root"],
        [*ROOT, "role", "delete", "root"],
        [*ROOT, "user", "revoke-role", "root", "root"],
    ]),
    ("changes of rights", [
        [*ROOT, "role", "revoke-permission", "r", "a", "c"],
        [*USER, "get", "a"],
        [*ROOT, "user", "revoke-role", "u", "r"],
        [*USER, "put", "p/q", "1"],
        [*ROOT, "role", "delete", "r"],
        [*ROOT, "user", "delete", "u"],
        [*USER, "get", "a"],
        [*ROOT, "auth", "disable"],
        ["get", "a"],
        ["user", "list"],
    ]),
]


def outcome(ctl, command):
    """(output, errors, exit code) of a command, without what differs from run to run."""
    words, stdin = command if isinstance(command, tuple) else (command, None)
    done = ctl.run(*words, stdin=stdin, check=False)
    # etcdctl logs with a time and its own addresses; the error that follows is what counts.
    errors = re.sub(r"^\{.*\}\n", "", done.stderr, flags=re.MULTILINE)
    mask = re.compile(r"127\.0\.0\.1:\d+")
    return mask.sub("ADDRESS", done.stdout), mask.sub("ADDRESS", errors), done.returncode


def leases_need_rights(story, ctl):
    """Stricter than etcd 3.4, as 3.6.16: leases are told to those who may read all their keys, and ended by somebody."""
    user = "--user=w:wpw"
    ctl.run("user", "add", "w:wpw")
    lease = ctl.run("lease", "grant", "900").stdout.split()[1]
    ctl.run("put", "leased", "1", f"--lease={lease}")
    ctl.run("auth", "enable")
    for command, answer in (
            (["lease", "list"], "user name is empty"),
            (["lease", "revoke", lease], "user name is empty"),
            ([user, "lease", "list"], "permission denied"),
            ([user, "lease", "revoke", lease], "permission denied"),
            ([*ROOT, "lease", "list"], lease),
            ([*ROOT, "lease", "revoke", lease], "revoked"),
            ([user, "lease", "list"], "found 0 leases")):
        with story.step(f"leases: {' '.join(command)}"):
            done = ctl.run(*command, check=False)
            expect(answer in done.stdout + done.stderr, done.stdout + done.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--server", required=True, help="kvstored")
    options = parser.parse_args()
    require_program("etcdctl", "etcd-client")
    require_program("etcd", "etcd-server")
    with started_cluster(options.server, "etcdctl", members=1) as (ours, our_ctl), \
            started_cluster("/usr/bin/etcd", "etcdctl", members=1) as (_, its_ctl):
        story = Story("auth", ours)
        for title, commands in CHAPTERS:
            for command in commands:
                words = command[0] if isinstance(command, tuple) else command
                with story.step(f"{title}: {' '.join(words)}"):
                    expect_equal(outcome(our_ctl, command), outcome(its_ctl, command))
        leases_need_rights(story, our_ctl)
        return story.finish()


if __name__ == "__main__":
    sys.exit(main())
