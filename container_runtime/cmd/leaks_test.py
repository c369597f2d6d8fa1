"""Many containers: all alive at once, and one after the other, after which nothing of them is left.

  leaks_test.py --alive=1000 --starts=10000       the whole campaign (some fifteen minutes on two processors)

Without flags, few of each. Counted before and after: mounts, cgroups of every hierarchy, network namespaces, processes,
zombies, descriptors and files of the state folder. What is counted carries the name of this run, as other programs of the
machine make such things too; network namespaces have no name, so a tenth of the containers' number may be others'.
"""

import argparse
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "testing"))
from cases import CradleTest, read, reason_to_skip  # noqa: E402

OPTIONS = argparse.Namespace(alive=30, starts=100)
REASON = reason_to_skip()


def folders_named(mark, path):
    return sum(mark in name for _, names, _ in os.walk(path) for name in names)


def net_namespaces():
    for line in read("/proc/slabinfo").splitlines():
        if line.startswith("net_namespace "):
            return int(line.split()[1])
    return 0


def children(mark):
    """Processes of ours: with the mark in their command line, and zombies of this process."""
    marked, zombies = 0, 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                marked += mark.encode() in file.read()
            fields = read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
            zombies += fields[0] == "Z" and int(fields[1]) == os.getpid()
        except OSError:
            continue
    return marked, zombies


def available_kib():
    return int(next(line for line in read("/proc/meminfo").splitlines() if line.startswith("MemAvailable")).split()[1])


@unittest.skipIf(REASON, REASON)
class Leaks(CradleTest):
    def setUp(self):
        super().setUp()
        os.mkdir(self.state)
        self.mark = f"leaks-{os.getpid()}"
        self.bundle.config["linux"]["cgroupsPath"] = ""
        self.quiet_once("true")  # What the first container makes once and for all is no leak.
        self.before = self.count()

    def tearDown(self):
        self.cradle("delete", "--force", "--regex", f"^{self.mark}", timeout=3600)
        super().tearDown()

    def count(self):
        marked, zombies = children(self.mark)
        return {"mounts": read("/proc/self/mountinfo").count(self.tmp),
                "cgroups": folders_named(self.mark, "/sys/fs/cgroup"),
                "state": len(os.listdir(self.state)), "processes": marked, "zombies": zombies,
                "descriptors": len(os.listdir("/proc/self/fd"))}

    def quiet_once(self, *args):
        self.bundle.config["process"]["args"] = list(args)
        self.bundle.write()
        return self.quiet("run", "--bundle", self.bundle.path, f"{self.mark}-once", timeout=600)

    def check_as_before(self, namespaces, containers):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            more = {name: now for name, now in self.count().items() if now > self.before[name]}
            # The kernel frees network namespaces when it finds time.
            if not more and net_namespaces() <= namespaces + max(8, containers // 10):
                return
            time.sleep(0.1)
        self.fail(f"left: {more}, network namespaces {net_namespaces()} instead of {namespaces}")

    def test_all_alive_at_once(self):
        namespaces = net_namespaces()
        memory, begin = available_kib(), time.monotonic()
        self.bundle.config["process"]["args"] = ["/bin/sleep", "100000"]
        self.bundle.write()
        for number in range(OPTIONS.alive):
            self.assertEqual(self.quiet("run", "--detach", "--bundle", self.bundle.path, f"{self.mark}-{number}"), 0)
        passed = time.monotonic() - begin
        running = self.cradle("list", timeout=600).stdout.count(" running ")
        self.assertEqual(running, OPTIONS.alive)
        each = (memory - available_kib()) / OPTIONS.alive
        print(f"{OPTIONS.alive} containers alive at once, made in {passed:.1f} s; {each:.0f} KiB of memory each, "
              "the kernel's included")
        self.assertEqual(self.cradle("delete", "--force", "--regex", f"^{self.mark}", timeout=3600).returncode, 0)
        self.check_as_before(namespaces, OPTIONS.alive)

    def test_one_after_the_other(self):
        namespaces, begin = net_namespaces(), time.monotonic()
        for _ in range(OPTIONS.starts):
            self.assertEqual(self.quiet_once("/bin/true"), 0)
        passed = time.monotonic() - begin
        print(f"{OPTIONS.starts} containers one after the other in {passed:.1f} s")
        self.check_as_before(namespaces, OPTIONS.starts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alive", type=int, default=OPTIONS.alive, help="containers at once")
    parser.add_argument("--starts", type=int, default=OPTIONS.starts, help="containers one after the other")
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
