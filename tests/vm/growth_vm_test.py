"""A root partition and the file system in it grow online, on a real kernel: ext4, btrfs and xfs, with power cuts, and
as the unit that each start runs.

    python3 tests/vm/growth_vm_test.py --slotctl=PATH --unit=PATH [--cuts=N] [--seed=N]
"""

import argparse
import json
import os
import random
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm  # noqa: E402
from ab_world import MIB, run  # noqa: E402

OPTIONS = None
FIRST_MIB, LATER_MIB = 330, 520
# What makes a file system, what checks it, and the modules that mount it.
KINDS = {"ext4": (["mkfs.ext4", "-q"], ["e2fsck", "-fn"], []),
         "btrfs": (["mkfs.btrfs", "-q", "-f"], ["btrfs", "check", "--readonly"], ["btrfs"]),
         "xfs": (["mkfs.xfs", "-q", "-f"], ["xfs_repair", "-n"], ["xfs"])}
MOUNT = "mkdir -p /grown && mount -t {kind} /dev/vda2 /grown\n"
GROW = "slotctl grow-root --mount=/grown --output=json\n"


class GrowthTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="keelson-growth-")
        self.addCleanup(folder.cleanup)
        self.disk, self.part, self.layout = (os.path.join(folder.name, n) for n in ("disk", "part", "layout.json"))

    def make_disk(self, kind):
        """A disk whose second partition has a file system, and that has since become larger."""
        with open(self.layout, "w", encoding="utf-8") as file:
            json.dump({"partitions": [{"number": 1, "label": "one", "type": "esp", "size": "4MiB"},
                                      {"number": 2, "label": "root", "type": "linux", "size": "rest"}]}, file)
        if os.path.exists(self.disk):
            os.remove(self.disk)
        run(OPTIONS.slotctl, "create", self.disk, f"--layout={self.layout}", f"--size={FIRST_MIB}MiB")
        partition = self.partition()
        with open(self.part, "wb") as file:
            file.truncate(partition["bytes"])
        make, *options = KINDS[kind][0]
        run(vm.which(make), *options, self.part)
        run("dd", f"if={self.part}", f"of={self.disk}", "bs=1M", f"seek={partition['offset']}", "oflag=seek_bytes",
            "conv=notrunc,sparse")
        os.truncate(self.disk, LATER_MIB * MIB)

    def partition(self):
        shown = json.loads(run(OPTIONS.slotctl, "show", self.disk, "--output=json"))
        return next(p for p in shown["partitions"] if p["number"] == 2)

    def check_file_system(self, kind):
        partition = self.partition()
        self.assertGreater(partition["bytes"], (LATER_MIB - 10) * MIB)
        run("dd", f"if={self.disk}", f"of={self.part}", "bs=1M", f"skip={partition['offset']}", "iflag=skip_bytes",
            "conv=sparse")
        os.truncate(self.part, partition["bytes"])
        check, *options = KINDS[kind][1]
        run(vm.which(check), *options, self.part)

    def machine(self, kind, **options):
        machine = vm.Machine(disks=[self.disk], modules=KINDS[kind][2], timeout=600, **options)
        machine.image.add_program(OPTIONS.slotctl, "/usr/bin/slotctl")
        return machine

    def grow(self, kind):
        if vm.which(KINDS[kind][0][0]) is None:
            self.skipTest(f"needs {KINDS[kind][0][0]}")
        self.make_disk(kind)
        script = (MOUNT.format(kind=kind) + "head -c 4000000 /dev/urandom >/grown/data; sum=$(md5sum </grown/data)\n"
                  "slotctl grow-root --mount=/grown --dry-run\n"
                  f"echo ANSWERS; {GROW}echo ,; {GROW}"
                  '[ "$sum" = "$(md5sum </grown/data)" ] && umount /grown')
        result = self.machine(kind).run(script)
        self.assertEqual(result.exit_status, 0, result.output + result.console)
        said, answers = result.output.split("ANSWERS")
        self.assertIn(f"would grow {kind} at '/grown'", said)
        first, second = json.loads(f"[{answers}]")
        self.assertEqual((first["disk"], first["partition"]), ("/dev/vda", 2))
        self.assertLess(first["partition_bytes_before"], FIRST_MIB * MIB)
        # Kinds differ in how much of the end they can use.
        self.assertLess(first["partition_bytes"] - first["file_system_bytes"], 9 * MIB)
        self.assertGreater(first["file_system_bytes"], first["file_system_bytes_before"])
        self.assertEqual(second["partition_bytes_before"], second["partition_bytes"])
        self.assertEqual(second["file_system_bytes_before"], first["file_system_bytes"])
        self.check_file_system(kind)

    def test_ext4_grows_while_it_is_mounted(self):
        self.grow("ext4")

    def test_btrfs_grows_while_it_is_mounted(self):
        self.grow("btrfs")

    def test_xfs_grows_while_it_is_mounted(self):
        self.grow("xfs")

    def test_power_cuts_at_random_moments_are_made_good_by_the_next_start(self):
        print(f"seed {OPTIONS.seed}, {OPTIONS.cuts} cuts", flush=True)
        dice = random.Random(OPTIONS.seed)
        script = MOUNT.format(kind="ext4") + f"echo GROWING\n{GROW}echo GROWN\n umount /grown"
        # The work takes some tenths of a second here; most cuts fall into it.
        for number in range(OPTIONS.cuts):
            self.make_disk("ext4")
            with self.machine("ext4").start(script) as running:
                running.wait_for_output("GROWING")
                after = dice.uniform(0, 0.6)
                cut = running.cut_after(after)
            result = self.machine("ext4").run(script)
            self.assertEqual(result.exit_status, 0, f"cut {number} after {after} s\n{result.output}{result.console}")
            print(f"cut {number}: {after:.2f} s, {'behind' if 'GROWN' in cut.output else 'in'} the growth", flush=True)
            self.check_file_system("ext4")

    def test_the_unit_of_each_start_grows_a_partition_and_leaves_a_root_in_memory_alone(self):
        self.make_disk("ext4")
        machine = self.machine("ext4", systemd=True)
        with open(OPTIONS.unit, encoding="utf-8") as file:
            machine.image.add_text("/etc/systemd/system/keelson-grow-root.service", file.read())
        show = "systemctl show -p Result -p ExecMainStatus keelson-grow-root.service\n"
        result = machine.run(
            "systemctl start keelson-grow-root.service; " + show + MOUNT.format(kind="ext4") +
            "mkdir -p /run/systemd/system/keelson-grow-root.service.d\n"
            "printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/slotctl grow-root --mount=/grown\\n'"
            " >/run/systemd/system/keelson-grow-root.service.d/place.conf\n"
            "systemctl daemon-reload; systemctl restart keelson-grow-root.service; " + show + "umount /grown")
        self.assertEqual(result.exit_status, 0, result.output + result.console)
        self.assertEqual(result.output.count("Result=success"), 2, result.output + result.console)
        self.assertIn("ExecMainStatus=6", result.output)
        self.assertIn("ExecMainStatus=0", result.output)
        self.check_file_system("ext4")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--slotctl", required=True)
    parser.add_argument("--unit", required=True, help="keelson-grow-root.service")
    parser.add_argument("--cuts", type=int, default=int(os.environ.get("KEELSON_CUTS", "3")))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("KEELSON_SEED", "1")))
    OPTIONS, rest = parser.parse_known_args()
    OPTIONS.slotctl = os.path.abspath(OPTIONS.slotctl)
    missing = vm.missing()
    if missing:
        print(f"SKIPPED ALL: a virtual machine: this machine {missing}")
        sys.exit(0)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
