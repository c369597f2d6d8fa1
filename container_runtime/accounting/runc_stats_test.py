"""Our statistics of a container that runc runs are runc's own.

    python3 runc_stats_test.py PRINT_STATS

Compares the JSON of `runc events --stats` and ours: the same fields, and the same values where nothing moves.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

PRINT_STATS = os.path.abspath(sys.argv.pop(1))


def flat(value, prefix=""):
    """{"a": {"b": 1}} as {"a.b": 1}; lists as they are."""
    if isinstance(value, dict) and value:
        result = {}
        for key, inner in value.items():
            result.update(flat(inner, f"{prefix}.{key}" if prefix else key))
        return result
    return {prefix: value}


# Fields that come and go with what the container does meanwhile: zero, or not there.
MOVING = ("cpu.usage.", "cpu.throttling", "memory.cache", "memory.usage.usage", "memory.usage.max",
          "memory.swap.usage", "memory.swap.max", "memory.kernel.usage", "memory.kernel.max",
          "memory.kernelTCP.", "memory.raw.", "blkio", "pids.current")


class RuncStatsTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="keelson-runc-")
        self.addCleanup(self.folder.cleanup)
        self.root = os.path.join(self.folder.name, "state")
        self.id = f"keelson-stats-{os.getpid()}"
        bundle = os.path.join(self.folder.name, "bundle")
        os.makedirs(os.path.join(bundle, "rootfs/bin"))
        shutil.copy(shutil.which("busybox"), os.path.join(bundle, "rootfs/bin/sleep"))
        subprocess.run(["runc", "spec"], cwd=bundle, check=True)
        path = os.path.join(bundle, "config.json")
        with open(path, encoding="ascii") as f:
            config = json.load(f)
        config["process"].update(terminal=False, args=["/bin/sleep", "1000"],
                                 rlimits=[{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}])
        config["linux"]["cgroupsPath"] = f"/{self.id}"
        config["linux"]["resources"].update(
            memory={"limit": 64 << 20, "swap": 96 << 20}, pids={"limit": 9},
            cpu={"quota": 50000, "period": 100000})
        with open(path, "w", encoding="ascii") as f:
            json.dump(config, f)
        subprocess.run(["runc", "--root", self.root, "run", "--detach", "--bundle", bundle, self.id], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(subprocess.run, ["runc", "--root", self.root, "delete", "--force", self.id], check=True)

    def test_fields_and_values_are_those_of_runc(self):
        theirs = json.loads(subprocess.run(["runc", "--root", self.root, "events", "--stats", self.id],
                                           capture_output=True, check=True).stdout)
        ours = json.loads(subprocess.run([PRINT_STATS, self.id, f"/{self.id}"], capture_output=True, check=True).stdout)
        self.assertEqual(list(ours), list(theirs))
        self.assertEqual(list(ours["data"]), list(theirs["data"]))
        self.assertEqual(ours["data"]["memory"]["usage"]["limit"], 64 << 20)
        self.assertEqual(ours["data"]["pids"], {"current": 1, "limit": 9})
        ours, theirs = flat(ours), flat(theirs)
        hybrid = os.path.exists("/sys/fs/cgroup/unified/cgroup.controllers")

        def still(fields):
            # Pressure came with runc 1.2; of a hybrid host runc does not see what the unified hierarchy controls.
            return {key: value for key, value in fields.items() if not key.replace("data.", "", 1).startswith(MOVING)
                    and ".psi." not in key and not (hybrid and ".hugetlb" in key)}

        self.assertEqual(still(ours), still(theirs))
        raw = {key for key in theirs if ".memory.raw." in key}
        self.assertEqual({key for key in ours if ".memory.raw." in key}, raw)
        self.assertGreater(len(raw), 10)
        # Moving, but never backwards, and ours was read later.
        self.assertGreaterEqual(ours["data.cpu.usage.total"], theirs["data.cpu.usage.total"])


if __name__ == "__main__":
    if shutil.which("runc") is None or shutil.which("busybox") is None:
        print("SKIPPED ALL: runc's statistics: needs the packages runc and busybox-static")
        sys.exit(0)
    unittest.main(verbosity=2)
