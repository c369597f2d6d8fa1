"""slotctl install and delta on plain files, with veritysetup as the judge where it is installed: full and delta
payloads, kills at random moments, refusals."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
import unittest

TMP = os.environ.get("TEST_TMPDIR", "/tmp")
SLOTCTL = os.path.abspath("partition/cmd/slotctl")
STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
SEED = int(os.environ.get("KEELSON_SEED", "1"))
MIB = 1 << 20
IMAGE_BYTES = 24 * MIB
os.environ["PATH"] += ":/usr/sbin:/sbin"


def slotctl(*arguments, code=0):
    result = subprocess.run([SLOTCTL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode != code:
        raise AssertionError(f"slotctl {' '.join(arguments)}: exit code {result.returncode}, wanted {code}\n"
                             f"{result.stdout}{result.stderr}")
    return result.stdout if code == 0 else result.stderr


def path(name):
    return os.path.join(TMP, name)


def write(name, data):
    with open(path(name), "wb") as file:
        file.write(data)


def new_image(name, data):
    """Writes an image and its hash area; returns the root hash."""
    write(name, data)
    if os.path.exists(path(name + ".hash")):
        os.remove(path(name + ".hash"))
    return json.loads(slotctl("verity", "format", path(name), path(name + ".hash"), "--output=json"))["root_hash"]


class InstallTest(unittest.TestCase):
    def setUp(self):
        dice = random.Random(SEED)
        self.old = dice.randbytes(IMAGE_BYTES)
        changed = bytearray(self.old)
        for _ in range(20):
            at = dice.randrange(IMAGE_BYTES - 20000)
            changed[at:at + 20000] = dice.randbytes(20000)
        self.new = bytes(changed)
        layout = {"alignment": "1MiB", "partitions": [
            {"number": 3, "label": "1.0", "type": "coreos-usr", "size": "26MiB", "attributes": [48, 56]},
            {"number": 4, "label": "", "type": "coreos-usr", "size": "26MiB"}]}
        self.disk = path("install.img")
        for name in (self.disk, path("layout.json")):
            if os.path.exists(name):
                os.remove(name)
        write("layout.json", json.dumps(layout).encode())
        slotctl("create", self.disk, f"--layout={path('layout.json')}", "--size=64MiB")
        self.root_old = new_image("old", self.old)
        self.root = new_image("new", self.new)
        with open(self.disk, "r+b") as file:
            file.seek(MIB)
            file.write(self.old)

    def install(self, *options, code=0):
        return slotctl("install", self.disk, "--running=3", "--image-version=2.0", "--output=json", *options, code=code)

    def full(self):
        return ["--image", path("new"), "--hash-file", path("new.hash"), "--root-hash", self.root]

    def slot_bytes(self):
        with open(self.disk, "rb") as file:
            file.seek(27 * MIB)
            return file.read(26 * MIB)

    def expect_installed(self):
        slots = json.loads(slotctl("slots", "list", self.disk, "--output=json"))["slots"]
        self.assertEqual([(s["number"], s["label"], s["next"]) for s in slots], [(3, "1.0", False), (4, "2.0", True)])
        self.assertEqual(slots[1]["guid"].replace("-", ""), self.root[:32])
        self.assertEqual(slots[1]["tries"], 3)
        content = self.slot_bytes()
        self.assertEqual(content[:IMAGE_BYTES], self.new)
        write("slot", content)
        verify = [path("slot"), path("slot"), self.root, f"--hash-offset={IMAGE_BYTES}"]
        slotctl("verity", "verify", *verify)
        if shutil.which("veritysetup"):
            subprocess.run(["veritysetup", "verify", *verify], check=True)

    def test_a_full_image_and_what_the_running_system_has_of_it(self):
        plan = json.loads(self.install(*self.full(), "--dry-run"))
        before = self.slot_bytes()
        result = json.loads(self.install(*self.full()))
        self.assertEqual(before, bytes(len(before)))
        self.assertEqual(result["slot"], 4)
        self.assertEqual(result["fetched_blocks"], plan["fetched_blocks"])
        self.assertLess(result["fetched_blocks"], 130)
        self.assertEqual(result["fetched_blocks"] + result["copied_blocks"], IMAGE_BYTES // 4096)
        self.expect_installed()

    def test_a_delta_gives_the_same_system(self):
        made = json.loads(slotctl("delta", path("old"), path("new"), path("new.hash"), path("delta"),
                                  f"--root-hash={self.root}", "--image-version=2.0", "--output=json"))
        self.assertEqual(made["bytes"], os.path.getsize(path("delta")))
        self.assertLess(made["bytes"], MIB)
        result = json.loads(self.install("--delta", path("delta"), "--root-hash", self.root))
        self.assertEqual(result["fetched_blocks"], made["changed_blocks"])
        self.expect_installed()

    def test_killed_at_random_moments_it_goes_on_where_it_stopped(self):
        dice = random.Random(SEED)
        print(f"seed {SEED}")
        with open(self.disk, "r+b") as file:  # Nothing to copy: all comes from the image.
            file.seek(MIB)
            file.write(bytes(IMAGE_BYTES))
        killed = 0
        for _ in range(20):
            process = subprocess.Popen([SLOTCTL, "install", self.disk, "--running=3", "--image-version=2.0",
                                        *self.full()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(dice.random() * 0.05)
            process.send_signal(signal.SIGKILL)
            if process.wait() == 0:
                break
            killed += 1
            next_slot = slotctl("slots", "next", self.disk).strip()
            if next_slot == "4":
                break
            self.assertEqual(next_slot, "3")
        print(f"killed {killed} times")
        if slotctl("slots", "next", self.disk).strip() == "3":
            self.install(*self.full())
        self.expect_installed()

    def test_refusals(self):
        before = self.slot_bytes()
        self.assertIn("expected the root hash", self.install(
            "--delta", self.make_delta(), "--root-hash", self.root_old, code=4))
        self.assertIn("hash tree: level", self.install(
            "--image", path("new"), "--hash-file", path("old.hash"), "--root-hash", self.root, code=1))
        self.assertIn("slot 3 is running", self.install(*self.full(), "--slot=3", code=6))
        self.assertIn("--image and --hash-file, or --delta", self.install("--root-hash", self.root, code=2))
        ledger = path("failed.json")
        write("failed.json", json.dumps({"failed_versions": [
            {"version": "2.0", "partition": 4, "reason": "it hangs", "time": 1}]}).encode())
        self.assertIn("it hangs", self.install(*self.full(), "--failed-versions", ledger, code=6))
        self.assertEqual(self.slot_bytes(), before)

    @unittest.skipUnless(os.path.exists(STUB), "needs the package systemd-boot-efi")
    def test_the_image_that_boots_the_slot_is_judged_first_and_put_there_last(self):
        esp, image = path("esp"), path("keelson_2.efi")
        shutil.rmtree(esp, ignore_errors=True)
        os.makedirs(os.path.join(esp, "EFI/Linux"))
        write("os-release", b"ID=keelson\nVERSION_ID=2.0\n")
        slotctl("uki", "make", f"--linux={STUB}", f"--os-release={path('os-release')}", f"--to={image}")
        before = self.slot_bytes()
        slots = slotctl("slots", "list", self.disk, "--output=json")
        self.assertIn("PE", self.install(*self.full(), f"--boot-image={path('new')}", f"--esp={esp}", code=1))
        self.assertEqual(self.slot_bytes(), before)
        self.assertEqual(slotctl("slots", "list", self.disk, "--output=json"), slots)

        self.install(*self.full(), f"--boot-image={image}", f"--esp={esp}")
        self.expect_installed()
        self.assertEqual(os.listdir(os.path.join(esp, "EFI/Linux")), ["keelson_2+3.efi"])

    def make_delta(self):
        slotctl("delta", path("old"), path("new"), path("new.hash"), path("delta"), f"--root-hash={self.root}",
                "--image-version=2.0")
        return path("delta")


if __name__ == "__main__":
    unittest.main()
