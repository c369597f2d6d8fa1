"""`slotctl uki make` against objcopy, the recipe of systemd's manual, on Debian's own stub, and as objdump reads it."""

import json
import os
import re
import shutil
import subprocess
import unittest

TMP = os.environ.get("TEST_TMPDIR", "/tmp")
SLOTCTL = os.path.abspath("partition/cmd/slotctl")
STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
LOADER = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"

MISSING = ([] if shutil.which("objcopy") else ["binutils"]) + ([] if os.path.exists(STUB) else ["systemd-boot-efi"])
if MISSING:
    print(f"SKIPPED ALL: needs the packages {', '.join(MISSING)}")


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def write(name, contents):
    path = os.path.join(TMP, name)
    with open(path, "wb") as file:
        file.write(contents)
    return path


def read(path):
    with open(path, "rb") as file:
        return file.read()


def sections(image):
    """(name, size, address, file offset, flags) of each section, as objdump sees them."""
    rows = re.findall(r"^ *\d+ (\S+) +([0-9a-f]+) +([0-9a-f]+) +[0-9a-f]+ +([0-9a-f]+) .*\n +(.*)$",
                      run("objdump", "-h", image), re.MULTILINE)
    return [(name, int(size, 16), int(address, 16), int(offset, 16), flags) for name, size, address, offset, flags in rows]


def headers(image):
    """The fields of the optional header that speak of sizes."""
    return dict(re.findall(r"^(SizeOf\w+|SectionAlignment|FileAlignment|AddressOfEntryPoint)\s+([0-9a-f]+)$",
                           run("objdump", "-p", image), re.MULTILINE))


@unittest.skipIf(MISSING, "peers are missing")
class UkiPeersTest(unittest.TestCase):
    def test_objcopy_makes_the_same_sections(self):
        parts = {".osrel": b"ID=keelson\nVERSION_ID=1\n", ".cmdline": b"quiet root=/dev/vda",
                 ".initrd": os.urandom(100001), ".linux": read(LOADER)}
        files = {name: write(name[1:], contents) for name, contents in parts.items()}
        ours, theirs = os.path.join(TMP, "ours.efi"), os.path.join(TMP, "theirs.efi")
        run(SLOTCTL, "uki", "make", f"--linux={files['.linux']}", f"--initrd={files['.initrd']}",
            f"--cmdline=@{files['.cmdline']}", f"--os-release={files['.osrel']}", f"--stub={STUB}", f"--to={ours}")
        # Places as UAPI.5 asks for: behind the stub, each on a page of its own.
        address = max(start + size for _, size, start, _, _ in sections(STUB))
        command = ["objcopy"]
        for name, contents in parts.items():
            address = -(-address // 4096) * 4096
            command += ["--add-section", f"{name}={files[name]}", "--change-section-vma", f"{name}={address:#x}"]
            address += len(contents)
        run(*command, STUB, theirs)

        self.assertEqual(sections(ours), sections(theirs))
        self.assertEqual(headers(ours), headers(theirs))
        for image in (ours, theirs):
            for name, contents in parts.items():
                out = os.path.join(TMP, "section")
                run("objcopy", "--dump-section", f"{name}={out}", image, os.path.join(TMP, "copy.efi"))
                self.assertEqual(read(out), contents, name)
        shown = {image: json.loads(run(SLOTCTL, "uki", "show", image, "--output=json")) for image in (ours, theirs)}
        self.assertEqual(shown[ours]["sections"], shown[theirs]["sections"])
        self.assertEqual(shown[ours]["version"], "1")

    def test_all_seven_parts_fit_behind_debians_stub(self):
        part = write("part", b"part")
        out = os.path.join(TMP, "full.efi")
        run(SLOTCTL, "uki", "make", f"--linux={LOADER}", f"--initrd={part}", "--cmdline=quiet", f"--os-release={part}",
            "--uname=6.1.0", f"--splash={part}", f"--devicetree={part}", f"--stub={STUB}", f"--to={out}")
        self.assertEqual([name for name, *_ in sections(out)][8:],
                         [".osrel", ".cmdline", ".uname", ".splash", ".dtb", ".initrd", ".linux"])

    def test_the_same_parts_give_the_same_bytes(self):
        part = write("part", b"part")
        images = []
        for name in ("one.efi", "two.efi"):
            out = os.path.join(TMP, name)
            run(SLOTCTL, "uki", "make", f"--linux={LOADER}", f"--os-release={part}", f"--stub={STUB}", f"--to={out}")
            images.append(read(out))
        self.assertEqual(*images)


if __name__ == "__main__":
    unittest.main()
