"""kill -9 of the leader under write load, again and again: nothing acknowledged is lost.

Builds: three servers on loopback, and acknowledged_writes (see its .cc), which puts without a
pause through all of them and tells which puts were acknowledged. Each round kills the leader,
waits until a put that began afterwards is acknowledged, starts the member again and waits until
it has applied what the leader had committed. At the end every member must hold every acknowledged
key with its value, and all members the same pairs at the same revision; and a watch that ran all
the time must have told each of them once. A put without an answer may or may not be there.
"""

import argparse
import os
import random
import subprocess
import sys
import threading
import time

from interop import (ClusterError, Story, clean_environment, expect, expect_equal, require_peers,
                     started_cluster, wait_for)


class Load:
    """The running writers, and what was acknowledged so far."""

    def __init__(self, program, endpoints, writers):
        self.process = subprocess.Popen(
            [os.path.abspath(program), f"--endpoints={endpoints}", f"--writers={writers}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_environment())
        self.acknowledged = []  # (key, value)
        self.last_begin = 0.0  # when the put that began last among the acknowledged ones began
        self.unanswered = 0
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            words = line.split()
            if words[0] == "unanswered":
                self.unanswered = int(words[1])
                return
            writer, number, begin = int(words[0]), int(words[1]), float(words[2])
            self.acknowledged.append((f"load/{writer:02d}/{number:07d}", str(number)))
            self.last_begin = max(self.last_begin, begin)

    def count(self):
        expect(self.process.poll() is None, "the writers have ended")
        return len(self.acknowledged)

    def finish(self):
        """Stops the writers and waits for what they have to tell."""
        self.process.stdin.close()
        self.reader.join(60)
        expect_equal(self.process.wait(60), 0, "exit code of the writers")

    def kill(self):
        self.process.kill()
        self.process.wait()


class Watch:
    """A running watch of everything under load/, from the first revision on."""

    def __init__(self, ctl):
        self.process = ctl.start("watch", "--prefix", "load/", "--rev=1")
        self.keys = []
        self.strange = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        lines = (line.rstrip("\n") for line in self.process.stdout)
        for line in lines:
            if line == "PUT":
                self.keys.append(next(lines, None))
                next(lines, None)  # the value
            else:
                self.strange.append(line)

    def check_complete(self, keys):
        """Waits until it has told `keys` puts; no other lines, none twice."""
        wait_for(f"the watch has told all {keys} puts",
                 lambda: len(self.keys) >= keys or self.process.poll() is not None)
        expect(not self.strange, f"the watch printed {self.strange[:5]}")
        expect_equal(len(set(self.keys)), len(self.keys), "puts that the watch told")
        expect_equal(len(self.keys), keys, "puts that the watch told")

    def kill(self):
        self.process.kill()
        self.process.wait()


def kill_and_recover(story, ctl, load, victim):
    """One round under load."""
    before = load.count()
    wait_for("the load is under way", lambda: load.count() >= before + 100)
    killed = time.monotonic()
    victim.kill()
    wait_for("a put that began after the kill is acknowledged", lambda: load.last_begin > killed)
    failover = load.last_begin - killed
    alone = load.count()
    wait_for("writes go on without the member", lambda: load.count() >= alone + 100)
    victim.start()
    index = ctl.wait_caught_up(victim)
    story.say(f"{victim.name} killed; the next put that was acknowledged began after "
              f"{failover * 1000:.0f} ms; {load.count() - before} puts in this round; "
              f"rejoined at index {index}")


def pairs_of(ctl, member):
    """Everything under load/ as this member holds it: the text, and as a dictionary."""
    text = ctl.run("get", "--prefix", "load/", "--consistency=s", endpoints=member.endpoint).stdout
    lines = text.splitlines()
    return text, dict(zip(lines[::2], lines[1::2]))


def check_nothing_lost(ctl, members, load):
    for member in members:
        ctl.wait_caught_up(member)
    expect(load.acknowledged, "no put was acknowledged at all")
    first = None
    for member in members:
        text, pairs = pairs_of(ctl, member)
        lost = sorted(k for k, v in load.acknowledged if pairs.get(k) != v)
        expect(not lost, f"{member.name} has lost {len(lost)} of {len(load.acknowledged)} "
                         f"acknowledged puts, such as {lost[:5]}")
        revision = ctl.status(member)["header"]["revision"]
        first = first or (text, revision)
        expect_equal(revision, first[1], f"revision of {member.name}")
        expect(text == first[0], f"{member.name} holds other pairs than {members[0].name}")
    return first[0].count("\n") // 2


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="kvstored or etcd")
    parser.add_argument("--ctl", required=True, help="kvctl or etcdctl")
    parser.add_argument("--load", required=True, help="acknowledged_writes")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--seed", type=int, default=None, help="of which follower is killed")
    arguments = parser.parse_args()
    require_peers(arguments.server, arguments.ctl)
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    chance = random.Random(seed)

    with started_cluster(arguments.server, arguments.ctl) as (cluster, ctl):
        story = Story("kill9_test", cluster)
        keys = 0
        watch = Watch(ctl)
        load = Load(arguments.load, cluster.endpoints, arguments.writers)
        try:
            for number in range(1, arguments.rounds + 1):
                with story.step(f"round {number}: kill -9 of the leader, failover, rejoin"):
                    kill_and_recover(story, ctl, load, ctl.leader())
            with story.step("kill -9 of a follower, which rejoins"):
                leader = ctl.leader()
                kill_and_recover(story, ctl, load,
                                 chance.choice([m for m in cluster.members if m is not leader]))
            with story.step("every acknowledged put is on every member, and all hold the same"):
                load.finish()
                keys = check_nothing_lost(ctl, cluster.members, load)
                story.say(f"{len(load.acknowledged)} puts acknowledged, {keys} keys, "
                          f"{load.unanswered} puts without an answer")
            with story.step("a watch that ran all the time has told every put, each once"):
                watch.check_complete(keys)
            with story.step("the same after kill -9 of all members at once"):
                for member in cluster.members:
                    member.kill()
                for member in cluster.members:
                    member.start()
                cluster.wait_healthy()
                expect_equal(check_nothing_lost(ctl, cluster.members, load), keys, "keys")
        finally:
            watch.kill()
            load.kill()
        return story.finish()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as failure:
        print(f"FAIL {failure}")
        sys.exit(1)
