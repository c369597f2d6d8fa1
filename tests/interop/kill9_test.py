"""kill -9 of the leader under write load, again and again: nothing acknowledged is lost.

Builds: three servers on loopback. Writers put keys of their own, one after another, and note
each key whose put was acknowledged. Each round kills the leader, waits until a put that began
afterwards is acknowledged, starts the member again and waits until it has applied what the
leader had committed. At the end every member must hold every acknowledged key, with its value,
and all members the same pairs. A put without an answer may or may not be there.
"""

import argparse
import base64
import random
import sys
import threading
import time

from interop import (ClusterError, Story, expect, expect_equal, require_peers, started_cluster,
                     wait_for)


class Writer(threading.Thread):
    """Puts load/<name>/<n> = <n> for n = 0, 1, ... until stopped."""

    def __init__(self, ctl, name):
        super().__init__(daemon=True)
        self.ctl = ctl
        self.name = name
        self.next = 0
        self.acknowledged = {}  # key -> value
        self.last_begin = 0.0  # when the put that was acknowledged last began
        self.unanswered = 0
        self.error = None
        self.stopping = threading.Event()

    def run(self):
        try:
            while not self.stopping.is_set():
                self.put()
        except Exception as error:  # Reported by the step that joins us.
            self.error = error

    def put(self):
        key, value = f"load/{self.name}/{self.next:06d}", str(self.next)
        self.next += 1
        begin = time.monotonic()
        done = self.ctl.run("put", key, value, "--command-timeout=2s", "--dial-timeout=500ms",
                            check=False)
        if done.returncode == 0:
            expect_equal(done.stdout, "OK\n")
            self.acknowledged[key] = value
            self.last_begin = begin
        else:
            self.unanswered += 1

    def finish(self):
        self.stopping.set()
        self.join()
        if self.error:
            raise self.error


def pairs_of(ctl, member):
    """Everything under load/, as this member holds it, and the store's revision."""
    answer = ctl.json("get", "--prefix", "load/", "--consistency=s", endpoints=member.endpoint)
    pairs = {base64.b64decode(kv["key"]).decode():
             (base64.b64decode(kv.get("value", "")).decode(), kv["mod_revision"])
             for kv in answer.get("kvs", [])}
    return pairs, answer["header"]["revision"]


def kill_and_recover(story, ctl, writers, victim):
    """One round; returns how long no put was acknowledged."""
    before = sum(len(w.acknowledged) for w in writers)
    killed = time.monotonic()
    victim.kill()
    wait_for("a put that began after the kill is acknowledged",
             lambda: any(w.last_begin > killed for w in writers))
    failover = time.monotonic() - killed
    target = sum(len(w.acknowledged) for w in writers) + 20
    wait_for("writes go on without the member",
             lambda: sum(len(w.acknowledged) for w in writers) >= target)
    victim.start()
    index = ctl.wait_caught_up(victim)
    acknowledged = sum(len(w.acknowledged) for w in writers)
    story.say(f"{victim.name} killed; next acknowledged put after {failover * 1000:.0f} ms; "
              f"{acknowledged - before} puts in this round; rejoined at index {index}")


def check_nothing_lost(ctl, members, writers):
    for member in members:
        ctl.wait_caught_up(member)
    acknowledged = {}
    for writer in writers:
        acknowledged.update(writer.acknowledged)
    expect(acknowledged, "no put was acknowledged at all")
    reference = None
    for member in members:
        pairs, revision = pairs_of(ctl, member)
        lost = sorted(k for k, v in acknowledged.items() if pairs.get(k, (None,))[0] != v)
        expect(not lost, f"{member.name} has lost {len(lost)} of {len(acknowledged)} acknowledged "
                         f"puts, such as {lost[:5]}")
        reference = reference or (pairs, revision)
        expect_equal(revision, reference[1], f"revision of {member.name}")
        expect(pairs == reference[0], f"{member.name} holds other pairs than {members[0].name}")
    return len(acknowledged), len(reference[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="kvstored or etcd")
    parser.add_argument("--ctl", required=True, help="kvctl or etcdctl")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=None, help="of which member is killed")
    arguments = parser.parse_args()
    require_peers(arguments.server, arguments.ctl)
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    chance = random.Random(seed)

    with started_cluster(arguments.server, arguments.ctl) as (cluster, ctl):
        story = Story("kill9_test", cluster)
        writers = [Writer(ctl, str(i)) for i in range(arguments.writers)]
        try:
            with story.step("the cluster takes writes"):
                for writer in writers:
                    writer.start()
                wait_for("each writer has been acknowledged",
                         lambda: all(w.acknowledged for w in writers))
            for number in range(1, arguments.rounds + 1):
                with story.step(f"round {number}: kill -9 of the leader, failover, rejoin"):
                    kill_and_recover(story, ctl, writers, ctl.leader())
            with story.step("kill -9 of a follower goes unnoticed, and it rejoins"):
                leader = ctl.leader()
                followers = [m for m in cluster.members if m is not leader]
                kill_and_recover(story, ctl, writers, chance.choice(followers))
        finally:
            for writer in writers:
                writer.stopping.set()
        with story.step("every acknowledged put is on every member, and all hold the same"):
            for writer in writers:
                writer.finish()
            acknowledged, total = check_nothing_lost(ctl, cluster.members, writers)
            story.say(f"{acknowledged} puts acknowledged, {total} keys, "
                      f"{sum(w.unanswered for w in writers)} puts without an answer")
        with story.step("the same after kill -9 of all members at once"):
            for member in cluster.members:
                member.kill()
            for member in cluster.members:
                member.start()
            cluster.wait_healthy()
            check_nothing_lost(ctl, cluster.members, writers)
        return story.finish()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as failure:
        print(f"FAIL {failure}")
        sys.exit(1)
