"""kexec on a real kernel (QEMU, no KVM): a system loads a unified image by our code and jumps into it.

The machine is started with its kernel and initramfs given to QEMU, so that no firmware could start the second system.
"""

import os
import sys
import unittest

sys.path.insert(0, os.getcwd())
from partition.boot.testing import vm  # noqa: E402

TMP = os.environ.get("TEST_TMPDIR", "/tmp")
SLOTCTL = os.path.abspath("partition/cmd/slotctl")
INIT = os.path.abspath("partition/boot/testing/kexec_init")

MISSING = vm.missing()
if MISSING:
    print(f"SKIPPED ALL: needs the packages {', '.join(MISSING)}")
KERNEL = None if MISSING else vm.kernel()


@unittest.skipIf(KERNEL is None, "something is missing")
class KexecTest(unittest.TestCase):
    def test_the_second_system_runs_with_its_own_command_line_and_a_try_less(self):
        initrd, second = os.path.join(TMP, "initrd"), os.path.join(TMP, "second.efi")
        vm.initramfs(INIT, initrd)
        os_release = os.path.join(TMP, "os-release")
        with open(os_release, "w") as file:
            file.write("ID=keelson\nVERSION_ID=2\n")
        vm.run(SLOTCTL, "uki", "make", f"--linux={KERNEL}", f"--initrd={initrd}", f"--os-release={os_release}",
               "--cmdline=console=ttyS0 panic=-1 system=second", f"--to={second}")
        first = vm.initramfs(INIT, os.path.join(TMP, "first"), {"next.efi": second})

        console = vm.direct_boot(TMP, KERNEL, first, "console=ttyS0 panic=-1 system=first")
        lines = vm.started(console)
        self.assertEqual(len(lines), 2, console[-3000:])
        self.assertIn("system=first", lines[0])
        self.assertEqual(lines[1].split(), ["console=ttyS0", "panic=-1", "system=second", "keelson.kexec=1"])
        self.assertIn("KEELSON-TRIES 2 owed by 'next.efi'", console)


if __name__ == "__main__":
    unittest.main()
