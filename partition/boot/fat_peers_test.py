"""slotctl reads boot partitions that mtools made: FAT12, FAT16 and FAT32, with long names, many entries and gaps."""

import json
import os
import random
import shutil
import subprocess
import unittest

TMP = os.environ.get("TEST_TMPDIR", "/tmp")
SLOTCTL = os.path.abspath("partition/cmd/slotctl")
STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
MISSING = [package for package, there in (("mtools", shutil.which("mformat")), ("systemd-boot-efi", os.path.exists(STUB)))
           if not there]
if MISSING:
    print(f"SKIPPED ALL: needs the packages {', '.join(MISSING)}")


def run(*command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit code {result.returncode}\n{result.stdout}")
    return result.stdout


@unittest.skipIf(MISSING, "peers are missing")
class FatPeersTest(unittest.TestCase):
    def expect_entries(self, mib, *mformat):
        disk, image, release = (os.path.join(TMP, name) for name in ("disk", "image.efi", "os-release"))
        layout = os.path.join(TMP, "layout.json")
        with open(layout, "w") as file:
            json.dump({"partitions": [{"number": 7, "type": "esp", "size": f"{mib}MiB"}]}, file)
        if os.path.exists(disk):
            os.remove(disk)
        run(SLOTCTL, "create", disk, f"--layout={layout}", f"--size={mib + 2}MiB")
        esp = f"{disk}@@1M"
        run("mformat", "-i", esp, "-T", str(mib * 2048), "-h", "16", "-s", "63", *mformat, "::")
        run("mmd", "-i", esp, "::/EFI", "::/EFI/Linux", "::/loader", "::/loader/entries")
        dice = random.Random(mib)
        expected = {}
        for i in range(12):
            version = f"{dice.randrange(10)}.{i}"
            with open(release, "w") as file:
                file.write(f"ID=keelson\nNAME=Keelson\nVERSION_ID={version}\n")
            run(SLOTCTL, "uki", "make", f"--linux={STUB}", f"--os-release={release}", "--cmdline=quiet", f"--to={image}")
            name = f"keelson of a long name_{version}" + dice.choice(["", "+3", "+0-2", "+2-1"]) + ".efi"
            run("mcopy", "-i", esp, image, f"::/EFI/Linux/{name}")
            expected[name] = version
            if dice.random() < 0.4:  # Leaves a gap that later files fill in pieces.
                gone = dice.choice(sorted(expected))
                run("mdel", "-i", esp, f"::/EFI/Linux/{gone}")
                del expected[gone]
        answer = json.loads(run(SLOTCTL, "boot", "list", f"--disk={disk}", "--output=json"))
        self.assertEqual(answer["left_out"], [])
        listed = {entry["id"]: entry["version"] for entry in answer["entries"]}
        self.assertEqual(listed, {name.split("+")[0].removesuffix(".efi") + ".efi": version
                                  for name, version in expected.items()})
        self.assertEqual(sum(entry["state"] == "bad" for entry in answer["entries"]),
                         sum("+0-" in name for name in expected))

    def test_fat12(self):
        self.expect_entries(15, "-c", "16")

    def test_fat16(self):
        self.expect_entries(30, "-c", "4")

    def test_fat32(self):
        self.expect_entries(64, "-F", "-c", "1")


if __name__ == "__main__":
    unittest.main()
