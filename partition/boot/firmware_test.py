"""UEFI firmware (OVMF in QEMU, no KVM) judges our images: it enrols our keys, boots what we signed and refuses the rest.

Builds unified kernel images of Debian's cloud kernel and an init that prints its command line, puts them with
systemd-boot on the EFI system partition of a disk that slotctl made, and reads the console. A boot takes 5 to 30 s.
"""

import os
import sys
import unittest

sys.path.insert(0, os.getcwd())
from partition.boot.testing import vm  # noqa: E402

TMP = os.environ.get("TEST_TMPDIR", "/tmp")
SLOTCTL = os.path.abspath("partition/cmd/slotctl")
INIT = os.path.abspath("partition/boot/testing/init")

# What the firmware says when it has tried all there is.
REFUSED = "No bootable option or device was found"

MISSING = vm.missing()
if MISSING:
    print(f"SKIPPED ALL: needs the packages {', '.join(MISSING)}")
KERNEL = None if MISSING else vm.kernel()


def slotctl(*arguments):
    return vm.run(SLOTCTL, *arguments)


def make_uki(version, cmdline=""):
    """An image that prints its version when it has started."""
    os_release = os.path.join(TMP, f"os-release-{version}")
    with open(os_release, "w") as file:
        file.write(f"ID=keelson\nNAME=Keelson\nVERSION_ID={version}\n")
    initrd = vm.initramfs(INIT, os.path.join(TMP, "initrd"))
    out = os.path.join(TMP, f"keelson_{version}.efi")
    slotctl("uki", "make", f"--linux={KERNEL}", f"--initrd={initrd}", f"--os-release={os_release}",
            f"--cmdline=console=ttyS0 panic=-1 version={version} {cmdline}".strip(), f"--to={out}")
    return out


@unittest.skipIf(KERNEL is None, "something is missing")
class FirmwareTest(unittest.TestCase):
    def test_systemd_boot_starts_our_image(self):
        machine = vm.Machine(os.path.join(TMP, "plain"), SLOTCTL)
        machine.put(vm.LOADER, "EFI/BOOT/BOOTX64.EFI")
        machine.put(make_uki("1"), "EFI/Linux/keelson_1.efi")
        machine.write("loader/loader.conf", "timeout 0\n")

        console = machine.boot()
        self.assertEqual([line.split()[2] for line in vm.started(console)], ["version=1"], console[-3000:])

    def test_the_firmware_boots_the_image_without_a_loader(self):
        machine = vm.Machine(os.path.join(TMP, "bare"), SLOTCTL)
        machine.put(make_uki("2"), "EFI/BOOT/BOOTX64.EFI")
        self.assertEqual(len(vm.started(machine.boot())), 1)

    def test_secure_boot_accepts_what_we_signed_and_refuses_one_altered_bit(self):
        keys = os.path.join(TMP, "keys")
        slotctl("keys", keys)
        signer = (f"--key={keys}/db.key", f"--certificate={keys}/db.crt")
        loader, good = os.path.join(TMP, "loader.efi"), os.path.join(TMP, "good.efi")
        slotctl("sign", "pe", vm.LOADER, *signer, f"--to={loader}")
        slotctl("sign", "pe", make_uki("3"), *signer, f"--to={good}")

        # An empty store of variables is in setup mode: systemd-boot enrols our three .auth files and resets.
        machine = vm.Machine(os.path.join(TMP, "secure"), SLOTCTL, secure_boot=True)
        machine.put(loader, "EFI/BOOT/BOOTX64.EFI")
        vm.run("mmd", "-i", machine.image, "::/loader/keys", "::/loader/keys/auto")
        for name in ("PK", "KEK", "db"):
            machine.put(f"{keys}/{name}.auth", f"loader/keys/auto/{name}.auth")
        machine.write("loader/loader.conf", "timeout 0\nsecure-boot-enroll force\n")
        machine.put(good, "EFI/Linux/keelson_3.efi")
        enrolment = machine.boot()
        self.assertEqual(vm.started(enrolment), [], "the kernel ran before the keys were enrolled")

        console = machine.boot()
        self.assertEqual(len(vm.started(console)), 1, console[-3000:])
        self.assertIn("Secure boot enabled", console)

        # One bit of the kernel, of the initrd or of the command line: it must not run. The loader is refused likewise.
        for section in (b".linux", b".initrd", b".cmdline"):
            with self.subTest(section=section):
                altered = vm.alter(good, os.path.join(TMP, "altered.efi"), section)
                machine.put(altered, "EFI/Linux/keelson_3.efi")
                console = machine.boot(until=REFUSED)
                self.assertEqual(vm.started(console), [])
                self.assertRegex(console, r"Error loading .*keelson_3\.efi: Access Denied")
        machine.put(good, "EFI/Linux/keelson_3.efi")
        machine.put(vm.alter(loader, os.path.join(TMP, "altered.efi"), b".text"), "EFI/BOOT/BOOTX64.EFI")
        console = machine.boot(until=REFUSED)
        self.assertEqual(vm.started(console), [])
        self.assertRegex(console, r"failed to load Boot.*Access Denied")


if __name__ == "__main__":
    unittest.main()
