"""The whole chain of a machine with two slots: UEFI firmware with Secure Boot, systemd-boot, a signed image of a slot,
an initial file system that opens dm-verity by root hash, the system in it; updated, rolled back by itself, kept.

    python3 tests/vm/ab_firmware_vm_test.py --slotctl=PATH

systemd-boot counts the tries of an image by its name; the slot's bits say what is in the slot. A boot takes some
fifteen seconds.
"""

import argparse
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ab_world  # noqa: E402

OPTIONS = None
LEDGER = "--failed-versions=/state/failed.json"
STARTED = f"slotctl boot started --esp=/efi --record=/state/cold {LEDGER}\n"


class FirmwareTest(unittest.TestCase):
    def expect(self, boot, version, slot):
        self.assertEqual((boot.version, boot.slot, boot.result.exit_status), (version, slot, 0), boot.text())

    def test_from_firmware_to_a_verified_system_and_back_when_the_new_one_does_not_prove_itself(self):
        with tempfile.TemporaryDirectory(prefix="keelson-firmware-") as folder:
            world = ab_world.World(folder, OPTIONS.slotctl, firmware=True)
            world.add_version("1", install=True)
            world.add_version("2")
            world.add_version("3")
            world.put_on_esp(world.make_uki("1", world.signer), "EFI/Linux/keelson_1.efi")
            for version in ("2", "3"):
                world.make_uki(version, world.signer)
            world.pack()

            # The store of variables is empty: systemd-boot enrols our keys and resets.
            self.assertIsNone(world.boot().version)
            update = (f"{world.install_command('2', LEDGER)} &&"
                      f" slotctl boot commit /payload/keelson_2.efi --tries=1 --esp=/efi {LEDGER}\n"
                      "dmesg 2>/dev/null | grep -i secureboot")
            boot = world.boot(STARTED + update)
            self.assertEqual((boot.version, boot.slot), ("1", 3), boot.text())
            self.assertIn("slot 4 has '2' and boots next", boot.result.output)
            self.assertEqual(world.entries(), ["keelson_1.efi", "keelson_2+1.efi"])

            # It runs, and nobody calls it good.
            self.expect(world.boot(STARTED + "slotctl boot list --esp=/efi"), "2", 4)
            self.assertEqual(world.entries(), ["keelson_1.efi", "keelson_2+0-1.efi"])

            with_image = world.install_command("3", LEDGER + " --tries=2 --boot-image=/payload/keelson_3.efi --esp=/efi")
            # With --boot-image, installation and image are one call.
            boot = world.boot(f"{STARTED}{world.install_command('2', LEDGER)}; echo install $?\n"
                              f"slotctl boot commit /payload/keelson_2.efi --esp=/efi {LEDGER}; echo commit $?\n"
                              "slotctl boot remove keelson_2.efi --esp=/efi\n"
                              "slotctl slots list /dev/vda >/run/before; dd if=/dev/zero of=/efi/full bs=1M 2>/dev/null\n"
                              f"{with_image}; echo full $?\nrm /efi/full\n"
                              "slotctl slots list /dev/vda >/run/after; cmp /run/before /run/after && echo untouched\n"
                              + with_image)
            self.expect(boot, "1", 3)
            for text in ("version '2' was rolled back", "install 6", "commit 6", "full 1", "untouched", "slot 4 has '3' and boots next"):
                self.assertIn(text, boot.result.output)
            self.assertEqual(world.entries(), ["keelson_1.efi", "keelson_3+2.efi"])

            boot = world.boot(STARTED + "slotctl boot mark good --esp=/efi && slotctl slots mark-good /dev/vda 4")
            self.expect(boot, "3", 4)
            self.assertEqual(world.entries(), ["keelson_1.efi", "keelson_3.efi"])
            self.assertEqual(world.slots()[4]["state"], "good")
            self.expect(world.boot(STARTED), "3", 4)
            self.assertEqual(world.entries(), ["keelson_1.efi", "keelson_3.efi"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--slotctl", required=True)
    OPTIONS, rest = parser.parse_known_args()
    OPTIONS.slotctl = os.path.abspath(OPTIONS.slotctl)
    missing = ab_world.missing(firmware=True)
    if missing:
        print(f"SKIPPED ALL: a virtual machine: this machine {missing}")
        sys.exit(0)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
