"""systemd-boot itself (OVMF in QEMU) counts our entries down, falls back, and stays with what we mark good.

Each boot runs the loader on the EFI system partition; between boots `slotctl boot` works on a copy of the partition's
files, as it does on a mounted one, and reads what the loader made of the names.
"""

import json
import os
import sys
import unittest

sys.path.insert(0, os.getcwd())
from partition.boot.testing import vm  # noqa: E402

TMP = os.environ.get("TEST_TMPDIR", "/tmp")
SLOTCTL = os.path.abspath("partition/cmd/slotctl")
INIT = os.path.abspath("partition/boot/testing/init")

MISSING = vm.missing()
if MISSING:
    print(f"SKIPPED ALL: needs the packages {', '.join(MISSING)}")
KERNEL = None if MISSING else vm.kernel()


def slotctl(*arguments):
    return vm.run(SLOTCTL, *arguments)


def make_uki(version):
    os_release = os.path.join(TMP, "os-release")
    with open(os_release, "w") as file:
        file.write(f"ID=keelson\nNAME=Keelson\nVERSION_ID={version}\n")
    initrd = vm.initramfs(INIT, os.path.join(TMP, "initrd"))
    out = os.path.join(TMP, f"keelson_{version}.efi")
    slotctl("uki", "make", f"--linux={KERNEL}", f"--initrd={initrd}", f"--os-release={os_release}",
            f"--cmdline=console=ttyS0 quiet panic=-1 version={version}", f"--to={out}")
    return out


class Disk:
    """A machine whose EFI system partition is taken out, changed by slotctl and put back."""

    def __init__(self, name):
        self.machine = vm.Machine(os.path.join(TMP, name), SLOTCTL)
        self.machine.put(vm.LOADER, "EFI/BOOT/BOOTX64.EFI")
        self.machine.write("loader/loader.conf", "timeout 0\n")
        self.esp = os.path.join(TMP, name, "esp")

    def boot(self):
        """The version that ran."""
        console = self.machine.boot()
        lines = vm.started(console)
        if len(lines) != 1:
            raise AssertionError(f"expected one start, found {lines}\n{console[-2000:]}")
        return next(word.split("=")[1] for word in lines[0].split() if word.startswith("version="))

    def boot_verb(self, *arguments):
        """`slotctl boot` on the files of the partition; what it says."""
        self.machine.take_out("EFI/Linux", os.path.join(self.esp, "EFI"))
        before = set(os.listdir(os.path.join(self.esp, "EFI/Linux")))
        out = slotctl("boot", *arguments, f"--esp={self.esp}")
        after = set(os.listdir(os.path.join(self.esp, "EFI/Linux")))
        for name in before - after:
            vm.run("mdel", "-i", self.machine.image, f"::/EFI/Linux/{name}")
        for name in after - before:
            self.machine.put(os.path.join(self.esp, "EFI/Linux", name), f"EFI/Linux/{name}")
        return out

    def listed(self):
        return [(entry["id"], entry["state"], entry["tries_left"], entry["tries_done"], entry["next"])
                for entry in json.loads(self.boot_verb("list", "--output=json"))["entries"]]


@unittest.skipIf(KERNEL is None, "something is missing")
class CountdownTest(unittest.TestCase):
    def test_an_image_that_nobody_marks_good_falls_back_by_itself(self):
        disk = Disk("fallback")
        disk.boot_verb("commit", make_uki("1.9"), "--good")
        disk.boot_verb("commit", make_uki("1.10"), "--tries=2")
        self.assertEqual(disk.listed(), [("keelson_1.10.efi", "trial", 2, 0, True), ("keelson_1.9.efi", "good", 0, 0, False)])

        self.assertEqual(disk.boot(), "1.10")
        self.assertEqual(disk.machine.names(), ["keelson_1.10+1-1.efi", "keelson_1.9.efi"])
        self.assertEqual(disk.boot(), "1.10")
        self.assertEqual(disk.machine.names(), ["keelson_1.10+0-2.efi", "keelson_1.9.efi"])
        # slotctl says what the loader then does.
        self.assertEqual(disk.listed(), [("keelson_1.9.efi", "good", 0, 0, True), ("keelson_1.10.efi", "bad", 0, 2, False)])
        self.assertEqual(disk.boot(), "1.9")
        self.assertEqual(disk.machine.names(), ["keelson_1.10+0-2.efi", "keelson_1.9.efi"])

    def test_an_image_that_is_marked_good_stays_and_one_that_is_marked_bad_goes(self):
        disk = Disk("verdicts")
        disk.boot_verb("commit", make_uki("1"), "--good")
        disk.boot_verb("commit", make_uki("2"), "--tries=1")
        self.assertEqual(disk.boot(), "2")
        disk.boot_verb("mark", "good", "keelson_2.efi")
        self.assertEqual(disk.machine.names(), ["keelson_1.efi", "keelson_2.efi"])
        self.assertEqual(disk.boot(), "2")
        disk.boot_verb("mark", "bad", "keelson_2.efi")
        self.assertEqual(disk.boot(), "1")

    def test_the_loader_starts_the_entry_that_slotctl_says(self):
        """Order: versions, a candidate before its release, sort keys, bad entries last."""
        disk = Disk("order")
        for version, tries in (("3~rc1", None), ("3", 1), ("2", None)):
            disk.boot_verb("commit", make_uki(version), *(["--good"] if tries is None else [f"--tries={tries}"]))
        for expected in ("3", "3~rc1"):
            says = next(entry[0] for entry in disk.listed() if entry[4])
            self.assertEqual(says, f"keelson_{expected}.efi")
            self.assertEqual(disk.boot(), expected)


if __name__ == "__main__":
    unittest.main()
