"""With --dry-run no verb of slotctl writes anything: each is run beside everything that it could write.

Every verb of the program is here, by its own --help: a new one fails the test until it has its place.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import unittest

TMP = os.path.join(os.environ.get("TEST_TMPDIR", "/tmp"), "dry")
SLOTCTL = os.path.abspath("partition/cmd/slotctl")
UKI_STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
READING = {"show", "verify", "slots list", "slots why", "uki show", "boot list", "verity verify", "verity dump",
           "verity status", "verify-signature root-hash", "verify-signature pe", "verify-signature variable",
           "verify-signature manifest"}
# They look at mounts and mappings; tests/vm/growth_vm_test.py and verity_vm_test.py run them with --dry-run.
NEED_A_KERNEL = {"grow-root", "verity close"}


def slotctl(*arguments):
    result = subprocess.run([SLOTCTL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return result.returncode, result.stdout, result.stderr


def path(name):
    return os.path.join(TMP, name)


def subcommands(*verb):
    code, text, error = slotctl(*verb, "--help")
    assert code == 0, error
    listed = re.search(r"^Subcommands:\n((?:  .*\n)+)", text, re.M)
    return re.findall(r"^  ([a-z][a-z-]*)\b", listed[1], re.M) if listed else []


def all_verbs(*prefix):
    found = []
    for name in subcommands(*prefix):
        below = all_verbs(*prefix, name)
        found += below or [" ".join((*prefix, name))]
    return found


def state():
    """Every file below TMP: its content, or that it is a folder."""
    found = {}
    for folder, _, files in os.walk(TMP):
        found[folder] = "folder"
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                found[os.path.join(folder, name)] = hashlib.sha256(file.read()).hexdigest()
    return found


def make(*arguments):
    code, out, error = slotctl(*arguments)
    assert code == 0, f"{arguments}: {out}{error}"
    return out


class DryRunTest(unittest.TestCase):
    def setUp(self):
        shutil.rmtree(TMP, ignore_errors=True)
        os.makedirs(TMP)
        layout = {"alignment": "4KiB", "partitions": [
            {"number": 3, "label": "1", "type": "coreos-usr", "size": "300KiB", "attributes": [48, 56]},
            {"number": 4, "label": "2", "type": "coreos-usr", "size": "300KiB", "attributes": [49, 52]},
            {"number": 5, "label": "0", "type": "coreos-usr", "size": "300KiB", "attributes": [51]}]}
        with open(path("layout.json"), "w") as file:
            json.dump(layout, file)
        make("create", path("disk"), f"--layout={path('layout.json')}", "--size=4MiB")
        os.truncate(path("disk"), 8 << 20)
        for name, byte in (("old", b"o"), ("new", b"n")):
            with open(path(name), "wb") as file:
                file.write(byte * 40960)
        self.root = json.loads(make("verity", "format", path("new"), path("new.hash"), f"--fec-device={path('fec')}",
                                   "--output=json"))["root_hash"]
        shutil.copy(path("new"), path("damaged"))
        with open(path("damaged"), "r+b") as file:
            file.write(b"damage")
        make("keys", path("keys"))
        make("manifest", "--product=p", "--release=1", "--expires=2040-01-01T00:00:00Z", f"--artifact=usr={path('new')}",
             f"--to={path('release.json')}")
        self.has_uki = os.path.exists(UKI_STUB)
        os.makedirs(path("esp/EFI/Linux"))
        os.makedirs(path("esp/loader/entries"))
        for version in ("1", "2"):
            with open(path("os-release"), "w") as file:
                file.write(f"ID=k\nNAME=K\nVERSION_ID={version}\n")
            if self.has_uki:
                make("uki", "make", f"--linux={UKI_STUB}", f"--os-release={path('os-release')}",
                     f"--to={path(f'k_{version}.efi')}")
        if self.has_uki:
            make("boot", "commit", path("k_1.efi"), "--good", f"--esp={path('esp')}")
            make("boot", "commit", path("k_2.efi"), f"--esp={path('esp')}")
        with open(path("esp/EFI/Linux/.0.keelson-tmp"), "w") as file:
            file.write("left over")

    def verbs(self):
        """Arguments by verb: for each a call that would write."""
        disk, new, hashes = path("disk"), path("new"), path("new.hash")
        signer = (f"--key={path('keys/db.key')}", f"--certificate={path('keys/db.crt')}")
        slot = (disk, f"--failed-versions={path('failed.json')}", "--running=3")
        esp = (f"--esp={path('esp')}",)
        verbs = {
            "create": (disk, f"--layout={path('layout.json')}", "--force"), "repair": (disk,), "grow": (disk, "5"),
            "slots next": (disk, "--take"), "slots mark-good": (*slot, "4"), "slots mark-bad": (*slot, "4"),
            "slots prioritize": (disk, "3"), "slots booted": slot,
            "verity format": (new, path("made.hash"), f"--root-hash-file={path('root')}"),
            "verity repair": (path("damaged"), hashes, self.root, f"--fec-device={path('fec')}"),
            "verity open": (new, "dry", hashes, self.root),
            "install": (*slot, f"--image={new}", f"--hash-file={hashes}", f"--root-hash={self.root}", "--image-version=9"),
            "delta": (path("old"), new, hashes, path("delta"), f"--root-hash={self.root}", "--image-version=9"),
            "keys": (path("more_keys"),),
            "sign root-hash": (self.root, *signer, f"--to={path('signature')}"),
            "sign variable": ("db", path("keys/db.esl"), *signer, f"--to={path('db.auth')}"),
            "sign manifest": (path("release.json"), f"--key={path('keys/db.key')}"),
            "manifest": ("--product=p", "--release=1", "--expires=2040-01-01T00:00:00Z", f"--artifact=usr={new}",
                         f"--to={path('made.json')}"),
        }
        if self.has_uki:
            verbs |= {
                "sign pe": (path("k_1.efi"), *signer, f"--to={path('signed.efi')}"),
                "kexec": ("k_2.efi", *esp, f"--record={path('record')}"),
                "uki make": (f"--linux={UKI_STUB}", f"--os-release={path('os-release')}", f"--to={path('made.efi')}"),
                "boot started": (*esp, f"--record={path('record')}"),
                "boot commit": (path("k_2.efi"), "--id=k_3.efi", *esp),
                "boot mark": ("good", "k_2.efi", *esp),
                "boot remove": ("k_2.efi", *esp),
                "boot tidy": esp,
            }
        return verbs

    def test_nothing_is_written_by_any_verb(self):
        with open(path("record"), "w") as file:
            file.write("k_2.efi\n")  # `boot started` would remove it.
        verbs = self.verbs()
        if self.has_uki:
            self.assertEqual(set(all_verbs()) - READING - NEED_A_KERNEL, set(verbs), "each verb has its place in this test")
        else:
            print(f"SKIPPED: verbs of boot images need {UKI_STUB}, of the package systemd-boot-efi")
        before = state()
        for verb, arguments in verbs.items():
            with self.subTest(verb=verb):
                code, out, error = slotctl(*verb.split(), *arguments, "--dry-run")
                self.assertEqual(code, 0, out + error)
                self.assertEqual(state(), before)
                # It says what it would do, or the mapping that it would make.
                self.assertRegex(out + error, r"0 80 verity 1 " if verb == "verity open" else r"would|could be")

    def test_every_verb_answers_programs_with_one_document(self):
        """With --output=json: one document on standard output and nothing beside it, in a dry run and when it acts."""
        reading = {
            "show": (path("disk"),), "verify": (path("disk"),), "slots list": (path("disk"),), "slots why": (path("disk"),),
            "verity verify": (path("new"), path("new.hash"), self.root), "verity dump": (path("new.hash"),),
            "verify-signature root-hash": (self.root, path("signature"), f"--trusted={path('keys/db.crt')}"),
            "verify-signature variable": ("db", path("keys/db.auth"), f"--trusted={path('keys/KEK.crt')}"),
            "verify-signature manifest": (path("signed.json"), f"--trusted={path('keys/manifest-keys.json')}", "--product=p"),
        }
        if self.has_uki:
            reading |= {"uki show": (path("k_1.efi"),), "boot list": (f"--esp={path('esp')}",),
                        "verify-signature pe": (path("signed.efi"), f"--trusted={path('keys/db.crt')}")}
        with open(path("record"), "w") as file:
            file.write("k_2.efi\n")
        make("sign", "root-hash", self.root, f"--key={path('keys/db.key')}", f"--certificate={path('keys/db.crt')}",
             f"--to={path('signature')}")
        make("sign", "manifest", path("release.json"), f"--key={path('keys/release-1.key')}", f"--to={path('signed.json')}")
        make("sign", "manifest", path("signed.json"), f"--key={path('keys/release-2.key')}", f"--to={path('signed.json')}")
        if self.has_uki:
            make("sign", "pe", path("k_1.efi"), f"--key={path('keys/db.key')}", f"--certificate={path('keys/db.crt')}",
                 f"--to={path('signed.efi')}")
        calls = [(verb, (*arguments, "--dry-run")) for verb, arguments in self.verbs().items()] + list(reading.items())
        # Those that need a kernel of their own act in tests/vm.
        calls += [(verb, arguments) for verb, arguments in self.verbs().items() if verb not in ("verity open", "kexec")]
        kept = TMP + ".kept"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(TMP, kept)
        for verb, arguments in calls:
            shutil.rmtree(TMP)
            shutil.copytree(kept, TMP)
            with self.subTest(verb=verb, dry_run="--dry-run" in arguments):
                code, out, error = slotctl(*verb.split(), *arguments, "--output=json")
                self.assertIn(code, (0, 1), out + error)
                self.assertIsInstance(json.loads(out), dict)
                self.assertEqual(error, "")
                if "--dry-run" in arguments:
                    self.assertIs(json.loads(out)["dry_run"], True)


if __name__ == "__main__":
    unittest.main()
