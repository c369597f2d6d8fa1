"""Limits by their effect on a program, not by what is written in a file.

Runs on whatever cgroups the host has; cgroup_v2_vm_test runs it with the v2 tree alone.
"""

import json
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "testing"))
from cases import CradleTest, read, reason_to_skip  # noqa: E402

REASON = reason_to_skip()
MIB = 1 << 20


def cgroup_file(container, *names):
    """The path of the first of `names` in the cgroups of `container` that is there."""
    for folder, folders, _ in os.walk("/sys/fs/cgroup"):
        if container in folders:
            for name in names:
                path = os.path.join(folder, container, name)
                if os.path.exists(path):
                    return path
    return None


@unittest.skipIf(REASON, REASON)
class Limits(CradleTest):
    def setUp(self):
        super().setUp()
        self.resources = self.bundle.config["linux"]["resources"]

    def stats(self):
        return json.loads(self.cradle("events", "--stats", self.id).stdout)["data"]

    def test_the_memory_limit_kills(self):
        self.resources["memory"] = {"limit": 32 * MIB, "swap": 32 * MIB}
        # tail keeps the one long line that it reads.
        script = "head -c 100m /dev/zero | tail >/dev/null; echo status $?"
        self.assertIn("status 137", self.run_shell(script).stdout)
        self.resources["memory"] = {"limit": 320 * MIB, "swap": 320 * MIB}
        self.assertIn("status 0", self.run_shell(script).stdout)

    def test_an_update_of_the_memory_limit_kills(self):
        # Not before the update: v1 refuses a limit below what is in use.
        self.detached("run", "until test -e /tmp/go; do sleep 0.05; done;"
                             "while :; do head -c 60m /dev/zero | tail >/dev/null || exit; done")
        reply = self.cradle("update", "--memory", "24m", "--memory-swap", "24m", self.id)
        self.assertEqual(reply.returncode, 0, reply.stderr)
        with open(os.path.join(self.rootfs, "tmp/go"), "w"):
            pass
        self.wait_for_status("stopped")

    def test_the_pids_limit_fails_fork(self):
        self.resources["pids"] = {"limit": 5}
        reply = self.run_shell("for i in 1 2 3 4 5 6 7 8; do sleep 3 & done; echo not reached")
        self.assertNotIn("not reached", reply.stdout)
        self.assertIn("fork", reply.stderr)
        self.resources["pids"] = {"limit": 50}
        self.assertIn("reached", self.run_shell("for i in 1 2 3 4 5 6 7 8; do true & done; echo reached").stdout)

    def test_the_cpu_quota_throttles(self):
        self.resources["cpu"] = {"quota": 10000, "period": 100000}
        self.detached("run", "while :; do :; done")
        self.wait_until(lambda: self.stats()["cpu"]["throttling"].get("throttledPeriods", 0) >= 5)
        first, begin = self.stats()["cpu"]["usage"]["total"], time.monotonic()
        self.wait_until(lambda: time.monotonic() - begin > 2)
        used, passed = self.stats()["cpu"]["usage"]["total"] - first, time.monotonic() - begin
        # A tenth of a processor; twice that for periods that are cut off at either end.
        self.assertLess(used / 1e9, passed * 0.2)

    def test_a_device_rule_denies_and_another_allows(self):
        self.bundle.config["root"]["readonly"] = False
        capabilities = self.bundle.config["process"]["capabilities"]
        for kind in capabilities:
            capabilities[kind].append("CAP_MKNOD")
        # /dev/fuse is no device that every container may use.
        script = "mknod /tmp/d c 10 229 && (: </tmp/d) 2>&1; echo opened $?"
        self.resources["devices"] = [{"allow": False, "access": "rwm"}]
        denied = self.run_shell(script).stdout
        self.assertIn("Operation not permitted", denied)
        self.assertIn("opened 1", denied)
        self.resources["devices"].append({"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"})
        allowed = self.run_shell(script.replace("/tmp/d", "/tmp/e")).stdout
        self.assertNotIn("Operation not permitted", allowed)

    def test_the_weight_of_block_devices_arrives(self):
        names = ("blkio.bfq.weight", "blkio.weight", "io.bfq.weight", "io.weight")
        self.detached("run", "sleep 100")
        path = cgroup_file(self.id, *names)
        if path is None:
            print("SKIPPED: no I/O scheduler here has weights")
            return
        before = read(path)
        self.assertEqual(self.cradle("update", "--blkio-weight", "123", self.id).returncode, 0)
        self.assertNotEqual(read(path), before)

    def test_pause_freezes(self):
        self.bundle.config["root"]["readonly"] = False
        count = os.path.join(self.rootfs, "tmp/count")
        self.detached("run", "while :; do echo x >> /tmp/count; sleep 0.001; done")
        self.wait_until(lambda: os.path.exists(count) and os.path.getsize(count) > 20)
        self.assertEqual(self.cradle("pause", self.id).returncode, 0)
        size, begin = os.path.getsize(count), time.monotonic()
        self.wait_until(lambda: time.monotonic() - begin > 0.5)
        self.assertEqual(os.path.getsize(count), size)
        self.assertEqual(self.cradle("resume", self.id).returncode, 0)
        self.wait_until(lambda: os.path.getsize(count) > size + 20)

    def test_a_cpuset_holds(self):
        if os.cpu_count() < 2:
            print("SKIPPED: needs two processors")
            return
        self.resources["cpu"] = {"cpus": "1"}
        self.assertEqual(self.run_shell("grep Cpus_allowed_list /proc/self/status").stdout.split()[-1], "1")

    def test_an_oom_notice_is_given(self):
        self.resources["memory"] = {"limit": 32 * MIB, "swap": 32 * MIB}
        self.bundle.config["root"]["readonly"] = False
        self.detached("run", "while ! test -e /tmp/go; do sleep 0.01; done; head -c 100m /dev/zero | tail >/dev/null; sleep 100")
        events = subprocess.Popen([*self.cradle.command, "events", "--interval", "1000s", self.id],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            # The watch is in place when the command waits in poll.
            self.wait_until(lambda: "poll" in read(f"/proc/{events.pid}/wchan") or "poll" in read(
                f"/proc/{events.pid}/stack"))
            open(os.path.join(self.rootfs, "tmp/go"), "w").close()
            entry = json.loads(events.stdout.readline())
            self.assertEqual((entry["type"], entry["id"]), ("oom", self.id))
        finally:
            self.cradle("delete", "--force", self.id)
            self.assertEqual(events.wait(30), 0)
            events.stdout.close()


if __name__ == "__main__":
    unittest.main()
