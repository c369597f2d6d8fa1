"""`slotctl boot` and `slotctl uki` as people and scripts meet them: answers, refusals, exit codes, dry runs."""

import json
import os
import struct
import subprocess
import unittest

TMP = os.environ.get("TEST_TMPDIR", "/tmp")
SLOTCTL = os.path.abspath("partition/cmd/slotctl")


def slotctl(*arguments):
    """(exit code, stdout, stderr)"""
    result = subprocess.run([SLOTCTL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return result.returncode, result.stdout, result.stderr


def write(name, contents):
    path = os.path.join(TMP, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(contents)
    return path


def program():
    """The least that is a UEFI program."""
    pe = bytearray(0x400)
    pe[0:2], pe[0x40:0x42] = b"MZ", b"PE"
    struct.pack_into("<I", pe, 0x3c, 0x40)
    struct.pack_into("<HH", pe, 0x44, 0x8664, 1)
    struct.pack_into("<H", pe, 0x54, 240)
    struct.pack_into("<H", pe, 0x58, 0x20b)
    struct.pack_into("<II", pe, 0x58 + 32, 512, 512)
    struct.pack_into("<I", pe, 0x58 + 60, 0x400)
    struct.pack_into("<I", pe, 0x58 + 108, 16)
    pe[0x148:0x14d] = b".text"
    struct.pack_into("<IIII", pe, 0x150, 4, 0x1000, 512, 0x400)
    return bytes(pe) + b"code" + bytes(508)


def image(version):
    out = os.path.join(TMP, f"os_{version}.efi")
    stub = write("stub.efi", program())
    code, _, error = slotctl("uki", "make", f"--stub={stub}", f"--linux={stub}", "--cmdline=quiet",
                             f"--os-release={write('os-release', f'ID=os{chr(10)}VERSION_ID={version}{chr(10)}'.encode())}",
                             f"--to={out}")
    assert code == 0, error
    return out


class BootVerbsTest(unittest.TestCase):
    def setUp(self):
        self.root = os.path.join(TMP, self.id())
        os.makedirs(self.root)
        self.esp = (f"--esp={self.root}", f"--efi-variables={self.root}")

    def boot(self, *arguments):
        # --efi-variables belongs to `boot`, before its verb.
        return slotctl("boot", self.esp[1], arguments[0], self.esp[0], *arguments[1:])

    def names(self):
        return sorted(os.listdir(os.path.join(self.root, "EFI/Linux")))

    def test_an_image_is_committed_marked_and_removed(self):
        self.assertEqual(self.boot("commit", image("1"), "--good")[0], 0)
        self.assertEqual(self.boot("commit", image("2"), "--tries=2")[0], 0)
        self.assertEqual(self.names(), ["os_1.efi", "os_2+2.efi"])
        code, out, _ = self.boot("list")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"->    os_2\.efi +2 +trial +2-0  the first of the entries, on trial with 2 tries left\n")
        self.assertEqual(self.boot("mark", "good", "os_2.efi")[0], 0)
        self.assertEqual(self.boot("remove", "os_1.efi")[0], 0)
        self.assertEqual(self.names(), ["os_2.efi"])

    def test_every_change_is_said_and_a_dry_run_makes_none(self):
        self.boot("commit", image("1"), "--good")
        code, out, error = self.boot("commit", image("2"), "--dry-run")
        self.assertEqual((code, out), (0, ""))
        self.assertIn("would write ", error)
        self.assertIn("/EFI/Linux/os_2+3.efi'", error)
        self.assertEqual(self.names(), ["os_1.efi"])
        answer = json.loads(self.boot("commit", image("2"), "--output=json")[1])
        self.assertEqual(len(answer["changes"]), 2)
        self.assertFalse(answer["dry_run"])
        answer = json.loads(self.boot("commit", image("2"), "--output=json")[1])
        self.assertEqual(answer["changes"], [])

    def test_what_would_leave_nothing_that_boots_is_refused(self):
        self.boot("commit", image("1"), "--good")
        for arguments in (("mark", "bad", "os_1.efi"), ("remove", "os_1.efi")):
            code, _, error = self.boot(*arguments)
            self.assertEqual(code, 6)
            self.assertIn("no other entry is known to boot", error)
        self.assertEqual(self.names(), ["os_1.efi"])

    def test_errors_name_what_was_asked_for(self):
        self.boot("commit", image("1"), "--good")
        for arguments, code, text in ((("mark", "good", "none.efi"), 1, "no boot entry 'none.efi'; there are: os_1.efi"),
                                      (("mark", "fine", "os_1.efi"), 2, "fine"),
                                      (("mark", "good"), 1, "no EFI variable"),
                                      (("commit", "/nowhere"), 1, "/nowhere"),
                                      (("commit", write("junk.efi", b"junk")), 1, "junk.efi"),
                                      (("commit", image("2"), "--id=a+1.efi"), 2, "it has a counter")):
            found, _, error = self.boot(*arguments)
            self.assertEqual(found, code, arguments)
            self.assertIn(text, error)
        self.assertEqual(self.names(), ["os_1.efi"])

    def test_leftovers_are_tidied(self):
        self.boot("commit", image("1"), "--good")
        write(os.path.join(self.root, "EFI/Linux/.0.keelson-tmp"), b"half")
        with open(image("1"), "rb") as file:
            write(os.path.join(self.root, "EFI/Linux/.1.keelson-tmp"), file.read())
        code, _, error = self.boot("tidy")
        self.assertEqual(code, 0)
        self.assertIn(".0.keelson-tmp' is removed", error)
        self.assertIn("it may share clusters with 'os_1.efi'", error)
        self.assertEqual(self.names(), [".1.keelson-tmp", "os_1.efi"])

    def test_a_cold_start_is_owed_after_kexec(self):
        record = write(os.path.join(self.root, "record"), b"os_2.efi\n")
        owed = write(os.path.join(self.root, "owed"), b"quiet keelson.kexec=1\n")
        cold = write(os.path.join(self.root, "cold"), b"quiet\n")
        _, out, _ = self.boot("started", f"--record={record}", f"--cmdline={owed}", "--output=json")
        self.assertEqual(json.loads(out), {"dry_run": False, "cold_boot_owed": True, "entry": "os_2.efi"})
        _, out, _ = self.boot("started", f"--record={record}", f"--cmdline={cold}")
        self.assertEqual(out, "no start from cold is owed\n")
        self.assertFalse(os.path.exists(record))

    def test_an_image_shows_what_it_holds(self):
        answer = json.loads(slotctl("uki", "show", image("7"), "--output=json")[1])
        self.assertEqual((answer["version"], answer["cmdline"], answer["signed"]), ("7", "quiet", False))
        self.assertEqual([section["name"] for section in answer["sections"]], [".text", ".osrel", ".cmdline", ".linux"])
        self.assertEqual(slotctl("uki", "show", write("junk", b"junk"))[0], 1)


if __name__ == "__main__":
    unittest.main()
