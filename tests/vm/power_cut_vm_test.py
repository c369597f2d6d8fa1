"""Power cuts at random moments of an update: the machine always boots the old system or the new one.

    python3 tests/vm/power_cut_vm_test.py --slotctl=PATH                   a few cuts, for the tests
    python3 tests/vm/power_cut_vm_test.py --slotctl=PATH --cuts=50 --seed=7   the campaign

At each boot the system that came up says its version when all of it has been read and verified, calls itself good,
and installs the other version; then QEMU is killed. Most cuts fall into the installation, some anywhere in the boot.
"""

import argparse
import os
import random
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ab_world  # noqa: E402

OPTIONS = None


class PowerCutTest(unittest.TestCase):
    def test_always_the_old_or_the_new_system_boots(self):
        with tempfile.TemporaryDirectory(prefix="keelson-cut-") as folder:
            world = ab_world.World(folder, OPTIONS.slotctl)
            world.add_version("1", install=True)
            world.add_version("2")
            world.pack()
            self.cut(world, random.Random(OPTIONS.seed))

    def step(self, world):
        install = {v: world.install_command(v, "--running=$SLOT --failed-versions=/state/failed.json")
                   for v in ("1", "2")}
        return f"""
slotctl slots booted /dev/vda --running=$SLOT --failed-versions=/state/failed.json
slotctl slots mark-good /dev/vda $SLOT --running=$SLOT
echo INSTALLING
if [ "$(cat /etc/version)" = 1 ]; then {install['2']}; else {install['1']}; fi && echo INSTALLED
"""

    def cut(self, world, dice):
        print(f"seed {OPTIONS.seed}, {OPTIONS.cuts} cuts", flush=True)
        step = self.step(world)
        start = time.monotonic()
        with world.start(step) as running:  # How long it takes here and now, and the first update.
            running.wait_for_output("INSTALLING")
            until_installing = time.monotonic() - start
            running.wait_for_output("INSTALLED")
            installing = time.monotonic() - start - until_installing
            boot = ab_world.Boot.of(running.wait())
        self.assertEqual((boot.version, boot.result.exit_status), ("1", 0), boot.text())
        print(f"a boot takes {until_installing:.1f} s, an installation {installing:.1f} s", flush=True)
        may_boot, boots_cut = {"2"}, 0
        counts = {"in the boot": 0, "in the installation": 0, "behind it": 0}
        for number in range(1, OPTIONS.cuts + 1):
            # Three in a row would be three tries, and a rollback that is meant.
            in_boot = dice.random() < 0.2 and boots_cut < 2
            boots_cut = boots_cut + 1 if in_boot else 0
            after = dice.uniform(0, until_installing if in_boot else installing * 1.1)
            with world.start(step) as running:
                if not in_boot:
                    running.wait_for_output("INSTALLING")
                boot = ab_world.Boot.of(running.cut_after(after))
            output = boot.result.output
            if boot.version is None:
                self.assertTrue(in_boot, boot.text())
                where = "in the boot"
            else:
                self.assertIn(boot.version, may_boot, f"cut {number}: {boot.text()}")
                where = ("behind it" if "INSTALLED" in output else
                         "in the installation" if "INSTALLING" in output else "in the boot")
                other = "2" if boot.version == "1" else "1"
                may_boot = {"in the boot": may_boot, "in the installation": {boot.version, other},
                            "behind it": {other}}[where]
            counts[where] += 1
            print(f"cut {number}: {after:.2f} s, version {boot.version}, {where}", flush=True)
        boot = world.boot("slotctl slots why /dev/vda --running=$SLOT")
        self.assertIn(boot.version, may_boot, boot.text())
        print(f"{OPTIONS.cuts} cuts ({', '.join(f'{n} {where}' for where, n in counts.items())}): each next boot had a "
              f"whole system, the old one or the new one; the last was {boot.version}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--slotctl", required=True)
    parser.add_argument("--cuts", type=int, default=int(os.environ.get("KEELSON_CUTS", "5")))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("KEELSON_SEED", "1")))
    OPTIONS, rest = parser.parse_known_args()
    OPTIONS.slotctl = os.path.abspath(OPTIONS.slotctl)
    missing = ab_world.missing()
    if missing:
        print(f"SKIPPED ALL: a virtual machine: this machine {missing}")
        sys.exit(0)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
