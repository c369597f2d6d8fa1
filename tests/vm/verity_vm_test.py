"""dm-verity devices that slotctl makes, in the kernel: good data, damaged data, and what a restart brings.

    python3 tests/vm/verity_vm_test.py --slotctl=PATH

The disks are made on this machine: data, hash tree, parity. /dev/vda is the data, vdb the tree, vdc the parity.
"""

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ab_world  # noqa: E402
import vm  # noqa: E402

BLOCK = 4096
BLOCKS = 1024  # 4 MiB of data
OPTIONS = None


class VerityTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="keelson-verity-")
        self.addCleanup(self.folder.cleanup)
        self.data, self.tree, self.parity = (os.path.join(self.folder.name, name)
                                             for name in ("data", "tree", "parity"))
        with open(self.data, "wb") as f:
            f.write(random.Random(7).randbytes(BLOCK * BLOCKS))
        with open(self.data, "rb") as f:
            self.sum = hashlib.sha256(f.read()).hexdigest()
        root = os.path.join(self.folder.name, "root")
        subprocess.run([OPTIONS.slotctl, "verity", "format", self.data, self.tree, "--fec-device", self.parity,
                        "--root-hash-file", root], check=True, capture_output=True)
        with open(root, encoding="ascii") as f:
            self.root = f.read().strip()
        # A disk has whole sectors.
        for path in (self.tree, self.parity):
            os.truncate(path, (os.path.getsize(path) + BLOCK - 1) // BLOCK * BLOCK)

    def damage(self, block, path=None):
        with open(path or self.data, "r+b") as f:
            f.seek(block * BLOCK + 100)
            f.write(b"damaged!")

    def run_in_vm(self, command, disks):
        machine = vm.Machine(disks=disks, modules=["dm_verity"])
        machine.image.add_program(OPTIONS.slotctl, "/bin/slotctl")
        machine.image.add_text("/keelson/work/root", self.root + "\n")
        return machine.run(command)

    def test_files_are_opened_without_losetup_and_let_go_with_the_device(self):
        """Data, tree and parity are files of the machine; a device that does not come up holds none of them."""
        machine = vm.Machine(modules=["dm_verity"])
        machine.image.add_program(OPTIONS.slotctl, "/bin/slotctl")
        self.damage(500)
        for path in (self.data, self.tree, self.parity):
            machine.image.add_file(f"/keelson/work/{os.path.basename(path)}", path)
        machine.image.add_text("/keelson/work/root", self.root + "\n")
        machine.image.add_text("/keelson/work/wrong", "0" * len(self.root) + "\n")
        open_files = "slotctl verity open data usr tree --fec-device parity --root-hash-file"
        count = "grep -l . /sys/block/loop*/loop/backing_file 2>/dev/null | wc -l"
        result = machine.run(
            f"{open_files} wrong; echo wrong $? $({count}); {open_files} root && sha256sum </dev/mapper/usr;"
            f" echo open $({count}); slotctl verity close usr --dry-run; echo kept $({count});"
            f" slotctl verity close usr; echo closed $({count})")
        self.assertIn(self.sum, result.output, result.console)
        self.assertIn("wrong 1 0", result.output)
        self.assertIn("open 3", result.output)
        self.assertIn("kept 3", result.output)
        self.assertIn("closed 0", result.output)

    def test_the_kernel_judges_the_signature_of_a_root_hash(self):
        """Started without firmware, Debian's kernel trusts its own keys alone: a sound signature by ours has no key, and
        a broken one is none."""
        keys, signature = (os.path.join(self.folder.name, name) for name in ("keys", "signature"))
        subprocess.run([OPTIONS.slotctl, "keys", keys], check=True, capture_output=True)
        subprocess.run([OPTIONS.slotctl, "sign", "root-hash", self.root, f"--key={keys}/db.key",
                        f"--certificate={keys}/db.crt", f"--to={signature}"], check=True, capture_output=True)
        with open(signature, "rb") as f:
            sound = f.read()
        machine = vm.Machine(disks=[self.data, self.tree], modules=["dm_verity"])
        machine.image.add_program(OPTIONS.slotctl, "/bin/slotctl")
        machine.image.add_text("/keelson/work/root", self.root + "\n")
        machine.image.add_text("/keelson/work/sound", sound)
        machine.image.add_text("/keelson/work/broken", b"no signature")
        result = machine.run(
            f"for s in sound broken; do {self.OPEN} --root-hash-signature $s; echo $s $?; done\n"
            "rmmod dm_verity && insmod /keelson/modules/dm-verity.ko require_signatures=1\n"
            f"{self.OPEN}; echo unsigned $?; ls /dev/mapper")
        self.assertRegex(result.output, r"(?s)Required key not available.*sound 4.*Bad message.*broken 1.*"
                                        r"Required key not available.*unsigned 4", result.console)
        self.assertEqual(result.output.splitlines()[-1], "control")

    def test_the_kernel_accepts_the_signature_of_a_key_that_its_owner_enrolled(self):
        """Firmware with Secure Boot starts shim, shim our image; keys that shim has from the owner count for the kernel,
        those of the firmware's db do not."""
        reason = ab_world.missing(firmware=True) or (None if os.path.exists(ab_world.SHIM) else "needs the package shim-unsigned")
        if reason:
            print(f"SKIPPED: signatures that the kernel accepts: this machine {reason}")
            return
        world = ab_world.World(self.folder.name, OPTIONS.slotctl, firmware=True)
        machine = vm.Machine(disks=[world.disk, self.data, self.tree], modules=["dm_verity"], memory_mib=768,
                             firmware=world.firmware, timeout=600)
        machine.image.add_program(OPTIONS.slotctl, "/bin/slotctl")
        machine.image.add_text("/keelson/work/root", self.root + "\n")
        for name, key, root in (("sound", "verity", self.root), ("db", "db", self.root), ("other", "verity", "0" * len(self.root))):
            signature = world.path(name)
            world.slotctl("sign", "root-hash", root, f"--key={world.path('keys')}/{key}.key",
                          f"--certificate={world.path('keys')}/{key}.crt", f"--to={signature}")
            machine.image.add_file(f"/keelson/work/{name}", signature)
        opens = self.OPEN.replace("vdb", "vdc").replace("vda", "vdb")
        world.write_uki(world.path("image.efi"), machine, signer=world.signer, command=(
            f"for s in db other sound; do {opens} --root-hash-signature $s; echo $s $?; done\n"
            "sha256sum </dev/mapper/usr; slotctl verity close usr\n"
            "rmmod dm_verity && insmod /keelson/modules/dm-verity.ko require_signatures=1\n"
            f"{opens}; echo unsigned $?; ls /dev/mapper\n"
            f"{opens} --root-hash-signature sound && sha256sum </dev/mapper/usr\n"))
        machine.run(None)  # The store of variables is empty: systemd-boot enrols our keys and resets.
        world.put_shim_first(world.path("image.efi"), world.path("keys/verity.esl"))
        result = machine.run(None)
        self.assertRegex(result.output, r"(?s)Required key not available.*\ndb 4\n.*other [^0]\n.*sound 0\n.*"
                                        r"Required key not available.*\nunsigned 4\ncontrol\n", result.console)
        self.assertEqual(result.output.count(self.sum), 2, result.output)
        self.assertEqual(result.exit_status, 0, result.output)

    OPEN = "slotctl verity open /dev/vda usr /dev/vdb --root-hash-file root "
    READ = "dd if=/dev/mapper/usr bs=4096 skip=500 count=1 2>&1 >/dev/null | tail -1"

    def test_good_data_is_read_and_cannot_be_written(self):
        result = self.run_in_vm(
            f"{self.OPEN} && sha256sum </dev/mapper/usr && slotctl verity status usr;"
            " echo x 2>&1 >/dev/mapper/usr || echo refused; slotctl verity close usr && ls /dev/mapper",
            [self.data, self.tree])
        self.assertEqual(result.exit_status, 0, result.output + result.console)
        self.assertIn(self.sum, result.output)
        self.assertIn("refused", result.output)
        self.assertNotIn("usr\n", result.output.splitlines()[-1] + "\n")

    def test_damage_is_an_error_where_it_is_and_nowhere_else(self):
        self.damage(500)
        result = self.run_in_vm(
            f"{self.OPEN} && {self.READ};"
            " dd if=/dev/mapper/usr bs=4096 count=499 2>/dev/null | wc -c; slotctl verity status usr; echo status $?",
            [self.data, self.tree])
        self.assertIn("Input/output error", result.output, result.console)
        self.assertIn(str(499 * BLOCK), result.output)
        self.assertIn("status 1", result.output)
        self.assertIn("data block 500 is corrupted", result.console)

    def test_damage_at_the_ends_is_found_when_the_device_is_made(self):
        for block in (0, BLOCKS - 1):
            with self.subTest(block=block):
                self.damage(block)
                result = self.run_in_vm(f"{self.OPEN}; echo open $?; ls /dev/mapper", [self.data, self.tree])
                self.assertIn("open 1", result.output, result.console)
                self.assertNotIn("usr", result.output.splitlines()[-1])

    def test_another_root_hash_is_refused(self):
        self.root = "0" * len(self.root)
        result = self.run_in_vm(f"{self.OPEN}; echo open $?", [self.data, self.tree])
        self.assertIn("open 1", result.output, result.console)

    def test_a_damaged_tree_is_found(self):
        self.damage(1, self.tree)  # the block after the superblock: the top of the tree
        result = self.run_in_vm(f"{self.OPEN}; echo open $?", [self.data, self.tree])
        self.assertIn("open 1", result.output, result.console)

    def test_parity_corrects_what_is_read(self):
        for block in (0, 3, 500, BLOCKS - 1):
            self.damage(block)
        result = self.run_in_vm(f"{self.OPEN} --fec-device /dev/vdc && sha256sum </dev/mapper/usr && dmesg | grep corrected",
                                [self.data, self.tree, self.parity])
        self.assertEqual(result.exit_status, 0, result.output + result.console)
        self.assertIn(self.sum, result.output)
        self.assertRegex(result.output, r"verity-fec: .*corrected \d+ errors")

    def test_damage_restarts_the_machine_if_asked(self):
        self.damage(500)
        result = self.run_in_vm(f"{self.OPEN} --restart-on-corruption && echo opened && {self.READ}; echo survived",
                                [self.data, self.tree])
        self.assertIn("opened", result.output, result.console)
        self.assertNotIn("survived", result.output)
        self.assertEqual((result.exit_status, result.reason), (None, "stopped"))
        self.assertIn("estarting system", result.console)

    def test_damage_panics_if_asked(self):
        self.damage(500)
        result = self.run_in_vm(f"{self.OPEN} --panic-on-corruption && echo opened && {self.READ}; echo survived",
                                [self.data, self.tree])
        self.assertIn("opened", result.output, result.console)
        self.assertNotIn("survived", result.output)
        self.assertIn("Kernel panic", result.console)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--slotctl", required=True)
    OPTIONS, rest = parser.parse_known_args()
    missing = vm.missing()
    if missing:
        print(f"SKIPPED ALL: a virtual machine: this machine {missing}")
        sys.exit(0)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
