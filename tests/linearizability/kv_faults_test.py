"""Three members under load and faults: what their clients see is linearizable.

Builds: three servers, each in a network namespace of its own and on a small file system of its own;
and kv_load (see its .cc), whose clients read, write, append, lock and watch, some through one member
alone, and which judges at the end what they saw. Meanwhile, one after the other: kill -9, SIGSTOP,
cut links (one member alone, one way, the leader), full disks, disks that stall, all members at once.
At the end all hold the same, by HashKV.

With --server=/usr/bin/etcd the same runs against etcd, as a check of the judge; with --plant the
clients' reads are only serializable, and the judge has to find that out.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

from faulty_cluster import FaultyCluster, enter_private_world
from cluster import ClusterError, wait_for

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Nemesis:
    """Faults, one at a time; each leaves the cluster whole again."""

    def __init__(self, cluster, chance, faults):
        self.cluster = cluster
        self.chance = chance
        self.faults = [(name, getattr(self, "do_" + name.replace("-", "_"))) for name in faults]
        self.counts = dict.fromkeys(faults, 0)
        self.order = []

    def strike(self):
        if not self.order:  # Each kind comes once a round.
            self.order = self.faults[:]
            self.chance.shuffle(self.order)
        name, act = self.order.pop()
        member = self.pick()
        print(f"     {name} {member.name}", flush=True)
        act(member)
        self.counts[name] += 1
        self.restore()

    def pick(self):
        """The leader half of the time, when there is one that says so."""
        if self.chance.random() < 0.5:
            leader = self.cluster.leader()
            if leader is not None:
                return leader
        return self.chance.choice(self.cluster.members)

    def others(self, member):
        return [m for m in self.cluster.members if m is not member]

    def wait(self, low, high):
        time.sleep(self.chance.uniform(low, high))

    def restore(self):
        """Everything heals, what has ended starts again, and all serve."""
        for member in self.cluster.members:
            member.heal()
            member.disk.free()
            if not member.running():
                member.start()
        for member in self.cluster.members:
            wait_for(f"{member.name} serves again", lambda m=member: self.serves(m), seconds=60)

    @staticmethod
    def serves(member):
        if not member.running():  # etcd ends by itself on some errors of the disk.
            member.start()
            time.sleep(0.2)
        with contextlib.suppress(ClusterError):
            return member.healthy()
        return False

    def do_kill(self, member):
        member.kill()
        self.wait(0.1, 2.5)

    def do_kill_all(self, _):
        for member in self.cluster.members:
            member.kill()
        self.wait(0, 0.5)

    def do_pause(self, member):
        member.process.send_signal(signal.SIGSTOP)
        self.wait(0.3, 5)
        member.process.send_signal(signal.SIGCONT)

    def do_pause_long(self, member):
        """Longer than any lease lives: it wakes up and believes what is long past."""
        member.process.send_signal(signal.SIGSTOP)
        self.wait(6, 9)
        member.process.send_signal(signal.SIGCONT)

    def do_isolate(self, member):
        """Its clients still reach it."""
        for other in self.others(member):
            member.cut(other)
            other.cut(member)
        self.wait(1, 6)

    def do_one_way(self, member):
        for other in self.others(member):
            if self.chance.random() < 0.5:
                member.cut(other)
            else:
                other.cut(member)
        self.wait(1, 4)

    def do_bridge(self, member):
        """The other two do not hear each other, but both hear this one."""
        a, b = self.others(member)
        a.cut(b)
        b.cut(a)
        self.wait(1, 4)

    def do_full_disk(self, member):
        member.disk.fill()
        self.wait(1, 4)

    def do_slow_disk(self, member):
        for _ in range(self.chance.randint(3, 12)):
            member.disk.stall(self.chance.uniform(0.02, 0.5))
            self.wait(0, 0.1)

    def do_stalled_disk(self, member):
        member.disk.stall(self.chance.uniform(1.5, 4))


FAULTS = ["kill", "kill-all", "pause", "pause-long", "isolate", "one-way", "bridge", "full-disk", "slow-disk",
          "stalled-disk"]


class Load:
    def __init__(self, program, cluster, arguments):
        self.process = subprocess.Popen(
            [program, f"--endpoints={cluster.endpoints}", f"--seed={arguments.seed}",
             f"--clients={arguments.clients}", *(["--serializable-reads"] if arguments.plant else []),
             *(["--ignore-requested-progress"] if arguments.ignore_requested_progress else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise ClusterError("the load does not start")

    def finish(self):
        """(exit code, lines)."""
        out, _ = self.process.communicate("", timeout=600)
        return self.process.returncode, out.splitlines()


def hash_of(member, revision):
    request = urllib.request.Request(
        f"http://{member.endpoint}/v3/maintenance/hash", method="POST",
        data=json.dumps({"revision": str(revision)}).encode())
    with _OPENER.open(request, timeout=5) as reply:
        answer = json.load(reply)
    return answer["hash"], answer.get("compact_revision", "0")


def hashes_agree(cluster):
    revision = 0
    for member in cluster.members:
        with _OPENER.open(urllib.request.Request(
                f"http://{member.endpoint}/v3/maintenance/hash", method="POST", data=b"{}"), timeout=5) as reply:
            revision = max(revision, int(json.load(reply)["header"]["revision"]))
    return len({hash_of(member, revision) for member in cluster.members}) == 1


def judge(arguments, code, lines, agree, nemesis):
    """Prints the summary; the exit code of this program."""
    for line in lines:
        print("     " + line, flush=True)
    found = code == 1 or not agree
    faults = ", ".join(f"{count} {name}" for name, count in nemesis.counts.items() if count)
    print(f"{sum(nemesis.counts.values())} faults: {faults}; hashes {'equal' if agree else 'DIFFER'}", flush=True)
    if arguments.plant:
        print("kv-faults: the planted defect was " + ("found" if found else "NOT found"), flush=True)
        return 0 if found else 1
    verdict = "nothing was violated" if code == 0 and agree else "FAILED"
    print(f"kv-faults: seed {arguments.seed}, {verdict}", flush=True)
    return 0 if code == 0 and agree else 1


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True, help="kvstored or etcd")
    parser.add_argument("--load", required=True, help="the program kv_load")
    parser.add_argument("--minutes", type=float, default=1, help="how long faults go on (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of faults and load; 0: a new one")
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--faults", default=",".join(FAULTS), help="which ones (default: %(default)s)")
    parser.add_argument("--plant", action="store_true", help="reads are serializable, which has to be found")
    parser.add_argument("--ignore-requested-progress", action="store_true",
                        help="for etcd before 3.4.25, which answers requests for progress ahead of events")
    arguments = parser.parse_args()
    unknown = set(arguments.faults.split(",")) - set(FAULTS)
    if unknown:
        parser.error(f"there is no fault '{unknown.pop()}'")
    arguments.seed = arguments.seed or random.SystemRandom().randint(1, 10**9)
    for path in (arguments.server, arguments.load):
        if not os.path.exists(path):
            print(f"SKIPPED ALL: '{path}' is missing")
            sys.exit(0)
    return arguments


def main():
    arguments = parse()
    enter_private_world()
    print(f"     seed {arguments.seed}", flush=True)
    folder = tempfile.mkdtemp(prefix="keelson-faults-", dir=os.environ.get("TEST_TMPDIR"))
    try:
        with FaultyCluster(os.path.abspath(arguments.server), folder) as cluster:
            cluster.start()
            load = Load(os.path.abspath(arguments.load), cluster, arguments)
            nemesis = Nemesis(cluster, random.Random(arguments.seed), arguments.faults.split(","))
            end = time.monotonic() + arguments.minutes * 60
            time.sleep(1)
            while time.monotonic() < end:
                nemesis.strike()
                nemesis.wait(0.3, 1.5)
            code, lines = load.finish()
            agree = hashes_agree(cluster)
            return judge(arguments, code, lines, agree, nemesis)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
