"""The life of a machine with two slots, in machines of their own: updated, tried, kept or rolled back by itself.

    python3 tests/vm/ab_update_vm_test.py --slotctl=PATH

Without firmware: the slot is chosen by the bits of the partition table, as gptprio does. A boot takes some seconds.
ab_firmware_vm_test.py has the whole chain from UEFI firmware on, power_cut_vm_test.py the power cuts.
"""

import argparse
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ab_world  # noqa: E402
import vm  # noqa: E402

OPTIONS = None
LEDGER = "--failed-versions=/state/failed.json"


class AbTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="keelson-ab-")
        self.addCleanup(folder.cleanup)
        self.world = ab_world.World(folder.name, OPTIONS.slotctl)
        self.world.add_version("1", install=True)

    def expect(self, boot, version, slot, status=0):
        self.assertEqual((boot.version, boot.slot, boot.result.exit_status), (version, slot, status), boot.text())

    def test_a_version_that_nobody_marks_good_goes_by_itself_and_does_not_come_back_and_a_good_one_stays(self):
        world = self.world
        world.add_version("2")
        world.add_version("3")
        world.pack()
        install = "--running=$SLOT " + LEDGER
        boot = world.boot(world.install_command("2", install + " --tries=2"))
        self.expect(boot, "1", 3)
        self.assertIn("slot 4 has '2' and boots next", boot.result.output)
        for tries in (1, 0):
            self.expect(world.boot(), "2", 4)
            self.assertEqual(world.slots()[4]["tries"], tries)

        boot = world.boot(f"slotctl slots booted /dev/vda --running=$SLOT {LEDGER}\n"
                          f"{world.install_command('2', install)}; echo refused $?\n"
                          f"{world.install_command('3', install)}")
        self.expect(boot, "1", 3)
        self.assertIn("version '2' was rolled back", boot.result.output)
        self.assertIn("version '2' failed here before, in partition 4", boot.result.output)
        self.assertIn("refused 6", boot.result.output)
        self.assertIn("slot 4 has '3' and boots next", boot.result.output)

        self.expect(world.boot("slotctl slots mark-good /dev/vda $SLOT --running=$SLOT"), "3", 4)
        self.assertEqual([world.slots()[4][key] for key in ("state", "tries", "successful")], ["good", 0, True])
        self.expect(world.boot(), "3", 4)

    def test_a_damaged_slot_falls_back_although_the_loader_chose_it(self):
        world = self.world
        world.add_version("2")
        world.pack()
        self.expect(world.boot(world.install_command("2", "--running=$SLOT --tries=1")), "1", 3)
        slot = next(p for p in world.partitions() if p["number"] == 4)
        with open(world.disk, "r+b") as file:
            file.seek(slot["offset"] + 1024 + 56)  # the magic number of the file system
            file.write(b"\xff\xff")
        self.assertIsNone(world.boot().version)  # dm-verity does not give it out.
        self.expect(world.boot(), "1", 3)

    def test_kexec_goes_into_the_other_slot_and_takes_a_try(self):
        world = self.world
        world.add_version("2")
        world.make_uki("2")
        world.pack()
        boot = world.boot(f"""
if [ "$(cat /etc/version)" = 1 ]; then
  {world.install_command('2', '--running=$SLOT --tries=2')}
  exec slotctl kexec slot-4 --disk=/dev/vda --image=/payload/keelson_2.efi --record=/state/cold --now
fi
slotctl slots list /dev/vda
slotctl boot started --record=/state/cold
slotctl slots mark-good /dev/vda 4
""")
        self.expect(boot, "2", 4)
        self.assertRegex(boot.result.output, r"4  2 +trying +2 +1 +no +running next")
        self.assertIn("'slot-4' was started by kexec: a start from cold is owed", boot.result.output)
        boot = world.boot("slotctl boot started --record=/state/cold")
        self.expect(boot, "2", 4)
        self.assertIn("no start from cold is owed", boot.result.output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--slotctl", required=True)
    OPTIONS, rest = parser.parse_known_args()
    OPTIONS.slotctl = os.path.abspath(OPTIONS.slotctl)
    missing = ab_world.missing()
    if missing:
        print(f"SKIPPED ALL: a virtual machine: this machine {missing}")
        sys.exit(0)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
