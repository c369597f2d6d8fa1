"""kvctl's verbs that act for longer: lock, elect, make-mirror, member replace, top, move-leader."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

from interop import (Story, clean_environment, expect, expect_equal, free_ports, require_peers,
                     scratch_folder, started_cluster, wait_for)


def first_line(process):
    return process.stdout.readline().rstrip("\n")


def end(process, number=signal.SIGTERM):
    """What was left of its output, and its exit code."""
    process.send_signal(number)
    rest, _ = process.communicate(timeout=20)
    return rest, process.returncode


def lock_steps(story, ctl, other):
    with story.step("lock: a second holder waits, an interrupt hands it over"):
        a = ctl.start("lock", "jobs")
        key = first_line(a)
        expect(key.startswith("jobs/"), key)
        b = other.start("lock", "jobs")
        time.sleep(0.5)
        expect_equal(len(ctl.json("get", "--prefix", "jobs/")["kvs"]), 2, "waiting keys")
        _, code = end(a)
        expect_equal(code, 0, "exit code of an interrupted holder")
        expect(first_line(b).startswith("jobs/"), "the second one's key")
        end(b, signal.SIGINT)
        wait_for("the lock is free", lambda: "kvs" not in ctl.json("get", "--prefix", "jobs/"))
    with story.step("lock: a holder that is killed loses it when its lease ends"):
        a = ctl.start("lock", "jobs", "--ttl=2")
        first_line(a)
        a.kill()
        a.communicate()
        done = ctl.run("lock", "jobs", "echo", "held", timeout=30)
        expect_equal(done.stdout, "held\n")
    with story.step("lock: a command, its environment and its exit code"):
        script = "echo $ETCD_LOCK_KEY $ETCD_LOCK_REV"
        key, revision = ctl.run("lock", "--", "jobs", "sh", "-c", script).stdout.split()
        expect(key.startswith("jobs/") and int(revision) > 0, key + revision)
        for words in (["false"], ["sh", "-c", "exit 7"], ["/nonexistent/program"]):
            done = [c.run("lock", "jobs", "--", *words, check=False) for c in (ctl, other)]
            expect_equal(done[0].returncode, done[1].returncode, f"exit code of {words}")
            expect_equal(done[0].stderr, done[1].stderr, f"stderr of {words}")
    with story.step("lock: an interrupt while it waits"):
        a = other.start("lock", "jobs")
        first_line(a)
        b = ctl.start("lock", "jobs")
        wait_for("both wait", lambda: len(ctl.json("get", "--prefix", "jobs/")["kvs"]) == 2)
        rest, code = end(b)
        expect_equal((rest, code), ("Error: context canceled\n", 1))
        end(a)


def elect_steps(story, ctl, other):
    with story.step("elect: candidates lead in turn, observers see each"):
        for first, second in ((ctl, other), (other, ctl)):
            watch = ctl.start("elect", "primary", "--listen")
            a = first.start("elect", "primary", "one")
            lines = [first_line(a), first_line(a)]
            expect(lines[0].startswith("primary/") and lines[1] == "one", lines)
            b = second.start("elect", "primary", "two")
            expect_equal([first_line(watch), first_line(watch)], lines)
            expect_equal(end(a)[1], 0, "exit code")
            lines = [first_line(b), first_line(b)]
            expect_equal(lines[1], "two")
            expect_equal([first_line(watch), first_line(watch)], lines)
            end(b)
            expect_equal(end(watch)[1], 0, "exit code of an observer")


def mirror_steps(story, ctl, server):
    with story.step("make-mirror: copies, follows, goes on after a compaction"), \
            started_cluster(server, ctl.binary, members=1) as (there, dest):
        for first in range(0, 250, 50):
            ctl.run("txn", stdin="\n" + "".join(f"put m/{i:03} v{i}\n"
                                                for i in range(first, first + 50)) + "\n\n")
        copied = lambda: {kv["key"]: kv["value"] for kv in
                          dest.json("get", "--prefix", "").get("kvs", [])}
        mirror = ctl.start("make-mirror", there.endpoints, "--prefix=m/")
        wait_for("all keys are there", lambda: len(copied()) == 250)
        ctl.run("txn", stdin='\nput m/new 1\ndel m/000\nput m/001 changed\n\n\n')
        wait_for("changes follow", lambda: len(copied()) == 250 and
                 dest.run("get", "m/001", "--print-value-only").stdout == "changed\n")
        end(mirror)
        source = ctl.json("get", "--prefix", "m/")
        expect_equal(copied(), {kv["key"]: kv["value"] for kv in source["kvs"]})

        revision = source["header"]["revision"]
        ctl.run("del", "m/002")
        ctl.run("put", "m/zzz", "late")
        late = ctl.json("get", "m/zzz")["header"]["revision"]
        ctl.run("compaction", str(late))
        mirror = ctl.start("make-mirror", there.endpoints, "--prefix=m/", f"--rev={revision + 1}")
        wait_for("the new key is there", lambda: dest.run("get", "m/zzz").stdout != "")
        wait_for("the old one is gone", lambda: dest.run("get", "m/002").stdout == "")
        end(mirror)
        mirror = ctl.start("make-mirror", there.endpoints, "--prefix=m/", "--dest-prefix=copy/")
        wait_for("renamed keys", lambda: dest.run("get", "copy/zzz").stdout != "")
        end(mirror)


def replace_step(story, cluster, ctl, folder):
    with story.step("member replace: a new member takes over from a dead one"):
        leader = ctl.leader()
        old = next(m for m in cluster.members if m is not leader)
        ident = f"{ctl.status(old)['header']['member_id']:x}"
        old.kill()
        spare = type(old)(old.binary, "spare", old.client_port, old.peer_port, folder)
        # The URLs of the old one are taken as long as it is a member.
        spare.client_port, spare.peer_port = free_ports(2)
        alive = ",".join(m.endpoint for m in cluster.members if m is not old)
        replace = subprocess.Popen(
            [ctl.binary, f"--endpoints={alive}", "member", "replace", ident, "spare",
             f"--peer-urls={spare.peer_url}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env=clean_environment())
        seen = ""
        while "ETCD_INITIAL_CLUSTER=" not in seen:
            line = replace.stdout.readline()
            expect(line, seen)
            seen += line
        spare.initial_cluster = seen.split('ETCD_INITIAL_CLUSTER="')[1].split('"')[0]
        spare.extra_flags = ["--initial-cluster-state=existing"]
        try:
            spare.start()
            rest, _ = replace.communicate(timeout=60)
            expect_equal(replace.returncode, 0, seen + rest)
            members = ctl.json("member", "list", endpoints=alive)["members"]
            expect_equal(len(members), 3)
            expect(ident not in [f"{m['ID']:x}" for m in members], "the old one is still there")
            expect(not any(m.get("isLearner") for m in members), "a learner is left")
            cluster.members[cluster.members.index(old)] = spare
            cluster.wait_healthy()
        except Exception:
            spare.kill()
            raise


def top_steps(story, cluster, ctl):
    with story.step("top --once --output=json"):
        load = subprocess.Popen(
            ["sh", "-c", f"while :; do {ctl.binary} --endpoints={cluster.endpoints} put t 1; done"],
            stdout=subprocess.DEVNULL, start_new_session=True, env=clean_environment())
        try:
            top = json.loads(ctl.run("top", "--once", "--output=json", "--interval=2s").stdout)
        finally:
            os.killpg(load.pid, signal.SIGKILL)
            load.wait()
        expect_equal(len(top["members"]), len(cluster.members))
        expect_equal(sum(m["leader"] for m in top["members"]), 1, "leaders")
        expect(sum(m["requests"].get("Put", 0) for m in top["members"]) > 0, top)
        expect(all("lag" in m for m in top["members"]), top)
    with story.step("move-leader"):
        leader = ctl.leader()
        other = next(m for m in cluster.members if m is not leader)
        target = f"{ctl.status(other)['header']['member_id']:x}"
        done = ctl.run("move-leader", target)
        expect(done.stdout.endswith(f" to {target}\n"), done.stdout)
        wait_for("it leads", lambda: ctl.find_leader() is other)
    with story.step("completion"):
        for shell in ("bash", "zsh", "fish", "powershell"):
            script = ctl.run("completion", shell).stdout
            expect("kvctl" in script and "grant-permission" in script, shell)
        check = subprocess.run(
            ["bash", "-c", 'eval "$1"; COMP_WORDS=(kvctl snapshot re); COMP_CWORD=2; '
             '_kvctl; echo "${COMPREPLY[@]}"', "bash", ctl.run("completion", "bash").stdout],
            capture_output=True, text=True, check=True)
        expect_equal(check.stdout, "restore restore-cluster\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--ctl", required=True)
    arguments = parser.parse_args()
    require_peers("etcdctl")
    with scratch_folder() as folder, \
            started_cluster(arguments.server, arguments.ctl, members=3) as (cluster, ctl):
        story = Story("tools_test", cluster)
        ctl.leader()
        other = type(ctl)("etcdctl", cluster)
        lock_steps(story, ctl, other)
        elect_steps(story, ctl, other)
        mirror_steps(story, ctl, os.path.abspath(arguments.server))
        top_steps(story, cluster, ctl)
        replace_step(story, cluster, ctl, folder)
        return story.finish()


if __name__ == "__main__":
    sys.exit(main())
