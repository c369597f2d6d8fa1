"""slotctl as people and scripts meet it: answers, refusals, exit codes, and that a dry run writes nothing."""

import fcntl
import json
import os
import re
import shlex
import subprocess
import tempfile
import unittest

TMP = os.environ.get("TEST_TMPDIR", "/tmp")
SLOTCTL = os.path.abspath("partition/cmd/slotctl")
LAYOUT = os.path.abspath("partition/layouts/container_linux.json")


def slotctl(*arguments):
    """(exit code, stdout, stderr)"""
    result = subprocess.run([SLOTCTL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return result.returncode, result.stdout, result.stderr


def new_disk(name, size="4GiB"):
    path = os.path.join(TMP, name)
    if os.path.exists(path):
        os.remove(path)
    code, _, error = slotctl("create", path, f"--layout={LAYOUT}", f"--size={size}")
    assert code == 0, error
    return path


def damage(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xa5" * 16)


def ends(path):
    with open(path, "rb") as file:
        start = file.read(1 << 20)
        file.seek(-(1 << 20), os.SEEK_END)
        return start + file.read()


class SlotctlTest(unittest.TestCase):
    def test_every_write_is_said_before_it_happens(self):
        path = os.path.join(TMP, "said.img")
        code, out, error = slotctl("create", path, f"--layout={LAYOUT}", "--size=4GiB")
        self.assertEqual((code, out), (0, ""))
        self.assertEqual([line.split(": ")[1].split(",")[0] for line in error.splitlines()],
                         ["backup entry array", "backup header", "primary entry array", "primary header",
                          "protective MBR"])

    def test_show_and_verify_for_people_and_for_programs(self):
        disk = new_disk("show.img")
        code, out, error = slotctl("show", disk)
        self.assertEqual((code, error), (0, ""))
        self.assertIn("  3  USR-A             coreos-usr              270336          1GiB  "
                      "7130c94a-213a-4e5a-8e26-6cce9662f132  48, 56\n", out)
        answer = json.loads(slotctl("show", disk, "--output=json")[1])
        self.assertEqual([p["label"] for p in answer["partitions"]],
                         ["EFI-SYSTEM", "BIOS-BOOT", "USR-A", "USR-B", "OEM", "OEM-CONFIG", "ROOT"])
        self.assertEqual(slotctl("verify", disk), (0, f"'{disk}' is sound: 7 partitions\n", ""))

    def test_a_fault_is_named_with_place_expectation_and_finding(self):
        disk = new_disk("fault.img")
        damage(disk, 1024 + 2 * 128)
        code, out, _ = slotctl("verify", disk)
        self.assertEqual(code, 1)
        self.assertRegex(out, r"^fault: primary entry array at byte 1024: CRC-32: expected 0x[0-9a-f]+, found 0x")
        self.assertIn("`slotctl repair` mends it", out)
        answer = json.loads(slotctl("verify", disk, "--output=json")[1])
        self.assertEqual((answer["sound"], answer["faults"][0]["where"], answer["faults"][0]["offset"]),
                         (False, "primary", 512))

    def test_a_dry_run_writes_nothing_and_says_the_same(self):
        disk = new_disk("dry.img")
        os.truncate(disk, 5 << 30)
        for verb in (["repair", disk], ["grow", disk, "9"], ["create", disk, f"--layout={LAYOUT}", "--force"]):
            with self.subTest(verb[0]):
                before = ends(disk)
                code, _, dry = slotctl(*verb, "--dry-run")
                self.assertEqual((code, ends(disk)), (0, before))
                code, _, wet = slotctl(*verb)
                self.assertEqual((code, dry.replace("would write", "writing")), (0, wet))
                self.assertNotEqual(ends(disk), before)

    def test_a_dry_run_makes_no_file(self):
        path = os.path.join(TMP, "not_made.img")
        code, out, error = slotctl("create", path, f"--layout={LAYOUT}", "--size=4GiB", "--dry-run")
        first, *writes = error.splitlines()
        self.assertEqual((code, out, first), (0, "", f"would make '{path}': 4294967296 bytes"))
        self.assertEqual(len(writes), 5)
        for write in writes:
            self.assertTrue(write.startswith(f"would write '{path}': "), write)
        self.assertFalse(os.path.exists(path))

    def test_a_new_disk_is_as_large_as_its_layout_says(self):
        path = os.path.join(TMP, "by_layout.img")
        self.assertEqual(slotctl("create", path, f"--layout={LAYOUT}")[0], 0)
        self.assertEqual(os.path.getsize(path), 4536 << 20)
        os.truncate(path, 5 << 30)  # What is there keeps its size.
        self.assertEqual(slotctl("create", path, f"--layout={LAYOUT}", "--force")[0], 0)
        self.assertEqual(os.path.getsize(path), 5 << 30)

    def test_writes_for_programs(self):
        disk = new_disk("json.img")
        damage(disk, 512)
        answer = json.loads(slotctl("repair", disk, "--output=json")[1])
        self.assertEqual(answer["writes"], [{"what": "primary entry array", "offset": 1024, "bytes": 16384},
                                            {"what": "primary header", "offset": 512, "bytes": 512}])
        self.assertEqual(json.loads(slotctl("repair", disk, "--output=json")[1])["writes"], [])

    def test_what_is_not_empty_is_not_overwritten(self):
        disk = new_disk("full.img")
        code, _, error = slotctl("create", disk, f"--layout={LAYOUT}")
        self.assertEqual(code, 6)
        self.assertIn("expected zeros in its first MiB, found data at byte 448", error)
        self.assertEqual(slotctl("create", disk, f"--layout={LAYOUT}", "--size=4GiB")[0], 1)
        self.assertEqual(slotctl("create", disk, f"--layout={LAYOUT}", "--force")[0], 0)

    def test_a_table_beyond_repair_is_left_alone(self):
        disk = new_disk("lost.img")
        damage(disk, 512)
        damage(disk, os.path.getsize(disk) - 512)
        before = ends(disk)
        for verb in (["repair", disk], ["grow", disk, "9"], ["show", disk], ["verify", disk]):
            code, _, error = slotctl(*verb)
            self.assertEqual(code, 1, verb)
            self.assertIn("primary header at byte 512", error)
        self.assertEqual(ends(disk), before)

    def test_the_holder_is_named(self):
        disk = new_disk("held.img")
        with open(disk, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            code, _, error = slotctl("repair", disk)
        self.assertEqual(code, 6)
        self.assertIn(f"in use by process {os.getpid()} (python3", error)

    def test_bad_arguments_are_named(self):
        disk = new_disk("args.img")
        for arguments, text in (([], "subcommand"), (["sing"], "subcommand"), (["show"], "DISK"),
                                (["show", disk, "--output=xml"], "xml"), (["grow", disk, "two"], "two"),
                                (["grow", disk, "9", "--size=huge"], "'huge' is no size"),
                                (["show", disk, "--sector-size=1024"], "expected 512 or 4096")):
            code, out, error = slotctl(*arguments)
            self.assertEqual((code, out), (2, ""), arguments)
            self.assertIn(text, error)
        self.assertEqual(slotctl("show", "/nowhere")[0], 1)
        self.assertEqual(slotctl("grow", disk, "5")[0], 1)

    def test_help_tells_exit_codes_and_examples(self):
        code, out, _ = slotctl("--help")
        self.assertEqual(code, 0)
        for text in ("EXIT CODES", "EXAMPLES", "--dry-run", "create", "repair"):
            self.assertIn(text, out)
        self.assertIn("layout file", slotctl("create", "--help")[1])

    def test_every_verb_has_examples_that_its_parser_takes(self):
        folder = tempfile.mkdtemp(dir=TMP)

        def look(*verb):
            out = slotctl(*verb, "--help")[1]
            examples = re.findall(r"^  slotctl (.*)$", out[out.index("EXAMPLES"):], re.M)
            self.assertTrue(examples, verb)
            for example in examples:
                self.assertTrue(example.startswith(" ".join(verb)), (verb, example))
                arguments = shlex.split(example.split(" && ")[0])
                done = subprocess.run([SLOTCTL, *arguments, "--dry-run"], cwd=folder, capture_output=True, text=True)
                self.assertNotEqual(done.returncode, 2, (example, done.stderr))
            self.assertEqual(os.listdir(folder), [], verb)
            inner = re.search(r"^Subcommands:\n((?:  .*\n)+)", out, re.M)
            for name in re.findall(r"^  (\S+)", inner[1] if inner else "", re.M):
                look(*verb, name)

        look()

    def test_the_life_of_two_slots(self):
        disk, ledger = new_disk("slots.img"), os.path.join(TMP, "failed.json")
        options = ["--failed-versions", ledger]

        def slots(*arguments, code=0):
            result = slotctl("slots", *arguments)
            self.assertEqual(result[0], code, result)
            return result[1] + result[2]

        self.assertIn("does not boot: its priority is 0", slots("why", disk))
        self.assertIn("neither running nor bootable", slots("mark-good", disk, "4", code=6))
        self.assertEqual(slots("next", disk), "3\n")
        slots("prioritize", disk, "4")
        slots("mark-good", disk, "4", "--running=4")
        self.assertEqual(slots("next", disk, "--take").splitlines()[0], "4")
        before = ends(disk)
        self.assertIn("would be: slot 4 is bad", slots("mark-bad", disk, "4", *options, "--dry-run"))
        self.assertEqual(ends(disk), before)
        self.assertFalse(os.path.exists(ledger))
        slots("mark-bad", disk, "4", "--reason=it hangs", *options)
        self.assertIn("failed: it hangs", slots("why", disk, *options))
        self.assertIn("boots next: priority 1", slots("why", disk))
        self.assertIn("no other slot is marked good", slots("mark-bad", disk, "3", code=6))
        self.assertIn("partition 1 is not a slot; slots are: 3, 4", slots("mark-good", disk, "1", code=1))
        listing = json.loads(slots("list", disk, "--output=json"))
        self.assertEqual([(s["number"], s["state"], s["next"]) for s in listing["slots"]],
                         [(3, "good", True), (4, "failed", False)])


if __name__ == "__main__":
    unittest.main()
