"""Changes of the members of a running cluster, driven by etcdctl (or kvctl, which prints the same).

Builds: three servers on loopback, then more that join: a voter, a learner that is promoted, one that
takes the place of a dead member. Removes the leader. Expects what etcd 3.4 says and does; with
--server=/usr/bin/etcd the same steps run against etcd: that is the check of this test.
"""

import argparse
import os
import re
import sys
import time

from interop import (ClusterError, Story, expect, expect_equal, free_ports, require_peers,
                     started_cluster, wait_for)
from cluster import Member

KEYS = 200  # more than --snapshot-count


class Changing:
    """A cluster whose members come and go."""

    def __init__(self, cluster, ctl, flags):
        self.cluster = cluster
        self.ctl = ctl
        self.flags = flags
        self.gone = []

    def ask(self, *words, **kwargs):
        """Runs ctl against the members that run."""
        endpoints = kwargs.pop("endpoints", None) or ",".join(
            m.endpoint for m in self.cluster.members if m.running())
        return self.ctl.run(*words, endpoints=endpoints, check=False, **kwargs)

    def members(self):
        """Those that the cluster lists, by name."""
        done = self.ask("member", "list")
        rows = [line.split(", ") for line in done.stdout.splitlines()]
        return {row[2]: {"id": row[0], "status": row[1], "peers": row[3], "learner": row[5]} for row in rows}

    def wait_until_listed(self, name, **fields):
        """Any member may be asked, and each lists what it has applied."""
        def is_so():
            row = self.members().get(name)
            return row is not None and all(row[key] == value for key, value in fields.items())
        wait_for(f"{name} is listed with {fields}", is_so)

    def id_of(self, name):
        return wait_for(f"{name} is listed", lambda: self.members().get(name))["id"]

    def change(self, *words, endpoints=None):
        """A change that a cluster refuses until it has been well for five seconds."""

        def accepted():
            done = self.ask("member", *words, endpoints=endpoints)
            if done.returncode == 0:
                return done
            if "unhealthy cluster" not in done.stderr and "in sync with leader" not in done.stderr:
                raise ClusterError(f"member {' '.join(words)}: {done.stderr}")
            return None

        return wait_for("member " + " ".join(words), accepted)

    def new_member(self, name, peer_port=None):
        ports = free_ports(2)
        return Member(self.cluster.members[0].binary, name, ports[0], peer_port or ports[1], self.cluster.folder,
                      [*self.flags, "--initial-cluster-state=existing"])

    def add(self, member, *more):
        """Announces the member and gives it the flags that the answer names."""
        done = self.change("add", member.name, f"--peer-urls={member.peer_url}", *more)
        found = re.fullmatch(
            r'Member ([ 0-9a-f]{16}) added to cluster ([ 0-9a-f]{16})\n\nETCD_NAME="(.*)"\n'
            r'ETCD_INITIAL_CLUSTER="(.*)"\nETCD_INITIAL_ADVERTISE_PEER_URLS="(.*)"\nETCD_INITIAL_CLUSTER_STATE="existing"\n',
            done.stdout)
        expect(found, "the answer to member add: " + done.stdout)
        expect_equal(found.group(3), member.name)
        expect_equal(found.group(5), member.peer_url)
        member.initial_cluster = found.group(4)
        return found.group(1).strip()

    def join(self, member):
        member.start()
        self.cluster.members.append(member)

    def forget(self, member):
        self.cluster.members.remove(member)
        self.gone.append(member)

    def remove(self, member):
        member_id = self.id_of(member.name)
        # Not the one that goes: etcd may stop before it has answered.
        others = ",".join(m.endpoint for m in self.cluster.members if m.running() and m is not member)
        done = self.change("remove", member_id, endpoints=others)
        expect(re.fullmatch(r"Member +%s removed from cluster +[0-9a-f]+\n" % member_id, done.stdout), done.stdout)
        return member_id

    def expect_refused(self, text, *words):
        """Refused with `text`, perhaps after a while of refusing all changes."""

        def refused():
            done = self.ask("member", *words)
            return None if "unhealthy cluster" in done.stderr else done

        done = wait_for("member " + " ".join(words) + " is answered", refused)
        expect(done.returncode != 0 and text in done.stderr, f"wanted '{text}', got: {done.stdout}{done.stderr}")

    def expect_all_keys(self, member):
        done = self.ctl.run("get", "--prefix", "k/", "--keys-only", "--consistency=s", endpoints=member.endpoint)
        expect_equal(len(done.stdout.split()), KEYS, "keys of " + member.name)


def grow(story, c):
    with story.step("a fourth member joins and gets the data that was there before"):
        fourth = c.new_member("m4")
        c.add(fourth)
        wait_for("one member is listed as unstarted",
                 lambda: [m["status"] for m in c.members().values()].count("unstarted") == 1)
        c.join(fourth)
        wait_for("m4 is listed as started", lambda: c.members().get("m4", {}).get("status") == "started")
        wait_for("m4 serves", fourth.healthy)
        c.expect_all_keys(fourth)
    with story.step("what makes no sense is refused with etcd's words"):
        peers = wait_for("m4 is listed", lambda: c.members().get("m4"))["peers"]
        time.sleep(1)  # An id is made of the URLs and of the second: in the same one it would be the id that exists.
        c.expect_refused("Peer URLs already exists", "add", "x", "--peer-urls=" + peers)
        c.expect_refused("Peer URLs already exists", "update", c.id_of("m1"), "--peer-urls=" + peers)
        c.expect_refused("member not found", "remove", "1234")
        c.expect_refused("member not found", "update", "1234", "--peer-urls=http://127.0.0.1:1")
        c.expect_refused("member not found", "promote", "1234")
        c.expect_refused("can only promote a learner member", "promote", c.id_of("m1"))
        c.expect_refused("URL must not contain a path", "add", "x", "--peer-urls=http://127.0.0.1:1/path")
        c.expect_refused("bad member ID arg", "remove", "zz")


def learn(story, c):
    learner = c.new_member("m5")
    with story.step("a learner is added, one only, and is not promoted before it has caught up"):
        learner_id = c.add(learner, "--learner")
        c.expect_refused("too many learner members in cluster", "add", "x", "--learner",
                         "--peer-urls=http://127.0.0.1:1")
        c.expect_refused("can only promote a learner member which is in sync with leader", "promote", learner_id)
    with story.step("it gets the data, answers stale reads, and nothing else"):
        c.join(learner)
        c.wait_until_listed("m5", status="started", learner="true")
        wait_for("m5 has the keys", lambda: len(c.ask(
            "get", "--prefix", "k/", "--keys-only", "--consistency=s", endpoints=learner.endpoint).stdout.split()) == KEYS)
        for words in (("put", "a", "1"), ("get", "a"), ("lease", "grant", "10")):
            done = c.ask(*words, "--command-timeout=2s", endpoints=learner.endpoint)
            expect(done.returncode != 0 and "rpc not supported for learner" in done.stderr, done.stderr)
    with story.step("it is promoted, asked of a follower, and then serves"):
        leader = c.ctl.leader()
        follower = next(m for m in c.cluster.members if m not in (leader, learner))

        def promoted():
            done = c.ask("member", "promote", learner_id, endpoints=follower.endpoint)
            return done if done.returncode == 0 else None

        done = wait_for("promotion", promoted)
        expect(re.fullmatch(r"Member +%s promoted in cluster +[0-9a-f]+\n" % learner_id, done.stdout), done.stdout)
        c.wait_until_listed("m5", learner="false")
        expect_equal(c.ask("put", "after-promotion", "1", endpoints=learner.endpoint).stdout, "OK\n")


def shrink(story, c):
    with story.step("the leader is removed: it ends with 0, the others go on"):
        leader = c.ctl.leader()
        c.remove(leader)
        code = wait_for(leader.name + " has ended", lambda: not leader.running() and (leader.process.returncode,))
        expect_equal(code, (0,), "exit code")
        expect("has been permanently removed from the cluster" in open(leader.log_path).read(), leader.log_tail())
        c.forget(leader)
        wait_for("a put is acknowledged", lambda: c.ask("put", "after-removal", "1").returncode == 0)
        expect(leader.name not in c.members(), "the removed member is still listed")
    with story.step("started again, it finds out and ends with 0"):
        leader.start()
        code = wait_for("the removed member has ended", lambda: not leader.running() and (leader.process.returncode,))
        expect_equal(code, (0,), "exit code; " + leader.log_tail())


def replace(story, c):
    with story.step("a dead member is replaced by one at its address"):
        leader = c.ctl.leader()
        dead = next(m for m in c.cluster.members if m is not leader)
        dead.kill()
        c.remove(dead)
        c.forget(dead)
        heir = c.new_member("heir", peer_port=dead.peer_port)
        c.add(heir)
        c.join(heir)
        wait_for("the heir serves", heir.healthy)
        c.expect_all_keys(heir)
    with story.step("a follower is removed and ends with 0"):
        leader = c.ctl.leader()
        follower = next(m for m in c.cluster.members if m not in (leader, heir))
        c.remove(follower)
        code = wait_for(follower.name + " has ended", lambda: not follower.running() and (follower.process.returncode,))
        expect_equal(code, (0,), "exit code")
        c.forget(follower)
    with story.step("the membership survives a restart of all"):
        before = c.members()
        for member in c.cluster.members:
            member.stop()
        for member in c.cluster.members:
            member.start()
        c.cluster.wait_healthy()
        expect_equal(c.members(), before)
        for member in c.cluster.members:
            c.expect_all_keys(member)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="kvstored or etcd")
    parser.add_argument("--ctl", required=True, help="kvctl or etcdctl")
    arguments = parser.parse_args()
    require_peers(arguments.server, arguments.ctl)
    # So that the log of a member that joins does not begin where the cluster's did.
    flags = ["--snapshot-count=50"]
    if os.path.basename(arguments.server) != "etcd":
        flags.append("--snapshot-catchup-entries=10")
    with started_cluster(arguments.server, arguments.ctl, extra_flags=flags) as (cluster, ctl):
        story = Story("membership_test", cluster)
        changing = Changing(cluster, ctl, flags)
        for i in range(KEYS):
            ctl.run("put", f"k/{i:04}", "v" * 100)
        try:
            grow(story, changing)
            learn(story, changing)
            shrink(story, changing)
            replace(story, changing)
        finally:
            for member in changing.gone:
                member.kill()
        return story.finish()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as failure:
        print(f"FAIL {failure}")
        sys.exit(1)
