"""slotctl against Debian's own tools: sgdisk, sfdisk, cgpt and blkid read what it wrote, and the other way.

100 random layouts; the campaign has more, and a seed repeats a run:

    bazel run //partition/cmd:peers_test -- --layouts=1000 --seed=7
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import unittest
import uuid

TMP = os.environ.get("TEST_TMPDIR", "/tmp")
SLOTCTL = os.path.abspath("partition/cmd/slotctl")
LAYOUTS, SEED = 100, 1  # or what the options say
TYPES = ["esp", "coreos-usr", "coreos-resize", "linux", "swap", "chromeos-kernel", "usr-verity"]
PEERS = {"sgdisk": "gdisk", "sfdisk": "fdisk", "cgpt": "cgpt", "blkid": "util-linux"}
os.environ["PATH"] += ":/usr/sbin:/sbin"

MISSING = sorted({package for program, package in PEERS.items() if not shutil.which(program)})
if MISSING:
    print(f"SKIPPED ALL: needs the packages {', '.join(MISSING)}")


def run(*command, code=0):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != code:
        raise AssertionError(f"{' '.join(command)}: exit code {result.returncode}, wanted {code}\n{result.stdout}")
    return result.stdout


def slotctl(*arguments, code=0):
    return run(SLOTCTL, *arguments, code=code)


def show(disk):
    return json.loads(slotctl("show", disk, "--output=json"))


def new_file(name, size):
    path = os.path.join(TMP, name)
    with open(path, "wb") as file:
        file.truncate(size)
    return path


def damage(path, offset, length=16):
    with open(path, "r+b") as file:
        file.seek(offset if offset >= 0 else os.path.getsize(path) + offset)
        file.write(b"\xa5" * length)


def random_layout(dice):
    """A layout of up to 20 partitions, and the bytes that it needs."""
    alignment = dice.choice(["512B", "4KiB", "1MiB"])
    count = dice.randrange(0, 20)
    numbers = dice.sample(range(1, 129), count)
    partitions = []
    for number in numbers:
        partition = {"number": number, "type": dice.choice(TYPES), "size": f"{dice.randrange(1, 5000)}KiB",
                     "label": "".join(dice.choices("aZ09 _-+äß€🚢", k=dice.randrange(0, 18)))}
        if dice.random() < 0.5:
            partition["guid"] = str(uuid.UUID(int=dice.getrandbits(128), version=4))
        bits = dice.sample([0, 1, 2, 48, 49, 52, 55, 56, 60, 63], dice.randrange(0, 4))
        if bits:
            partition["attributes"] = bits
        partitions.append(partition)
    if partitions and dice.random() < 0.3:
        partitions[-1]["size"] = "rest"
    size = (count + 2) * 6 * 1024 * 1024 + dice.randrange(0, 2000) * 512
    return {"alignment": alignment, "partitions": partitions}, size


def bits_of(attributes):
    """The set bits of sfdisk's attribute text: "RequiredPartition GUID:48,56"."""
    names = {"RequiredPartition": 0, "NoBlockIOProtocol": 1, "LegacyBIOSBootable": 2}
    bits = 0
    for word in (attributes or "").replace("GUID:", "").replace(",", " ").split():
        bits |= 1 << (names[word] if word in names else int(word))
    return bits


@unittest.skipIf(MISSING, "peers are missing")
class PeersTest(unittest.TestCase):
    def expect_agreement(self, disk):
        """All four read the disk as slotctl does, and find nothing wrong."""
        ours = show(disk)
        self.assertTrue(ours["sound"], ours["faults"])
        self.assertIn("No problems found", run("sgdisk", "-v", disk))
        self.assertIn("No errors detected", run("sfdisk", "--verify", disk))
        table = json.loads(run("sfdisk", "--json", disk))["partitiontable"]
        self.assertEqual(table["id"].lower(), ours["disk_guid"])
        self.assertEqual(table["lastlba"], ours["last_usable_lba"])
        theirs = [(int(p["node"][len(disk):].lstrip("p")), p["start"], p["size"], p["type"].lower(), p["uuid"].lower(),
                   p.get("name", ""), bits_of(p.get("attrs"))) for p in table.get("partitions", [])]
        expected = [(p["number"], p["first_lba"], p["last_lba"] - p["first_lba"] + 1, p["type_guid"], p["guid"],
                     p["label"], int(p["attributes"], 16)) for p in ours["partitions"]]
        self.assertEqual(sorted(theirs), expected)
        rows = re.findall(r"^ +(\d+) +(\d+) +(\d+)  ", run("cgpt", "show", disk), re.MULTILINE)
        self.assertEqual(sorted((int(n), int(start), int(size)) for start, size, n in rows),
                         [row[:3] for row in expected])
        self.assertIn(f"PTUUID={ours['disk_guid']}\nPTTYPE=gpt", run("blkid", "-p", "-o", "export", disk))
        return ours

    def create(self, name, layout, size, *options):
        disk = os.path.join(TMP, name)
        if os.path.exists(disk):
            os.remove(disk)
        path = disk + ".json"
        with open(path, "w") as file:
            json.dump(layout, file)
        slotctl("create", disk, f"--layout={path}", f"--size={size}B", *options)
        return disk

    def test_random_layouts_read_the_same_everywhere_and_after_every_operation(self):
        print(f"seed {SEED}, {LAYOUTS} layouts")
        for i in range(LAYOUTS):
            dice = random.Random(SEED * 1000003 + i)
            layout, size = random_layout(dice)
            with self.subTest(seed=SEED, layout=i):
                disk = self.create("random.img", layout, size)
                before = self.expect_agreement(disk)

                step = dice.randrange(3)
                if step == 0:  # The disk grows, and its last partition with it.
                    os.truncate(disk, size + dice.randrange(1, 5000) * 512)
                    slotctl("repair", disk)
                    if before["partitions"]:
                        last = max(before["partitions"], key=lambda p: p["first_lba"])
                        slotctl("grow", disk, str(last["number"]))
                elif step == 1:
                    damage(disk, dice.choice([512, 1024, 5000]))
                    slotctl("verify", disk, code=1)
                    slotctl("repair", disk)
                else:
                    damage(disk, dice.choice([-512, -5000, -16896]))
                    slotctl("verify", disk, code=1)
                    slotctl("repair", disk)
                after = self.expect_agreement(disk)
                if step != 0:
                    self.assertEqual(after, before)
            if (i + 1) % 100 == 0:
                print(f"{i + 1} layouts, before and after an operation", flush=True)

    def test_what_sgdisk_made_is_read_as_it_was_meant(self):
        dice = random.Random(SEED)
        for i in range(10):
            disk = new_file("sgdisk.img", 64 << 20)
            start = 2048
            for number in dice.sample(range(1, 129), 6):
                size = dice.randrange(1, 8000)
                run("sgdisk", "-a1", f"-n{number}:{start}:{start + size - 1}", f"-c{number}:part {number}",
                    f"-A{number}:set:{dice.choice([0, 2, 48, 63])}", disk)
                start += size + dice.randrange(0, 3000)
            with self.subTest(seed=SEED, table=i):
                self.expect_agreement(disk)

    def test_fdisk_agrees_on_sectors_of_4096_bytes(self):
        layout = {"partitions": [{"number": 2, "type": "linux", "size": "3MiB", "label": "four"},
                                 {"number": 1, "type": "esp", "size": "rest"}]}
        disk = self.create("4k.img", layout, 64 << 20, "--sector-size=4096")

        listing = run("fdisk", "-b", "4096", "-o", "Device,Start,Sectors,UUID", "-l", disk)
        self.assertNotIn("corrupt", listing)
        rows = re.findall(r"^\S+\.img(\d+) +(\d+) +(\d+) +(\S+)$", listing, re.MULTILINE)
        self.assertEqual(sorted((int(n), int(start), int(count), guid.lower()) for n, start, count, guid in rows),
                         [(p["number"], p["first_lba"], p["last_lba"] - p["first_lba"] + 1, p["guid"])
                          for p in show(disk)["partitions"]])

    def test_slot_bits_are_cgpts_and_prioritize_does_what_cgpt_does(self):
        for i in range(max(20, LAYOUTS // 5)):
            dice = random.Random(SEED * 7919 + i)
            count = dice.randrange(1, 18)
            partitions = [{"number": n + 1, "type": "chromeos-kernel", "size": "4KiB", "label": f"v{n + 1}"}
                          for n in range(count)]
            disk = self.create("slots.img", {"alignment": "4KiB", "partitions": partitions}, 4 << 20)
            for n in range(1, count + 1):
                run("cgpt", "add", "-i", str(n), "-P", str(dice.randrange(dice.choice([2, 4, 16]))),
                    "-T", str(dice.randrange(16)), "-S", str(dice.randrange(2)), disk)
            chosen = dice.choice([None, dice.randrange(1, count + 1)])
            friends = chosen is not None and dice.random() < 0.3
            highest = dice.choice([None, None, dice.randrange(1, 16)])
            twin = disk + ".cgpt"
            shutil.copyfile(disk, twin)
            ours = ([str(chosen)] if chosen else []) + (["--friends"] if friends else []) \
                + ([f"--highest={highest}"] if highest else [])
            theirs = (["-i", str(chosen)] if chosen else []) + (["-f"] if friends else []) \
                + (["-P", str(highest)] if highest else [])
            with self.subTest(seed=SEED, disk=i, options=ours):
                slotctl("slots", "prioritize", disk, *ours)
                run("cgpt", "prioritize", *theirs, twin)
                slots = json.loads(slotctl("slots", "list", disk, "--output=json"))["slots"]
                for slot in slots:
                    bits = [int(run("cgpt", "show", "-i", str(slot["number"]), flag, twin)) for flag in ("-P", "-T", "-S")]
                    self.assertEqual([slot["priority"], slot["tries"], int(slot["successful"])], bits)
                self.expect_agreement(disk)

    def test_a_boot_loader_in_the_mbr_stays(self):
        disk = self.create("mbr.img", {"partitions": []}, 8 << 20)
        damage(disk, 0, 440)
        os.truncate(disk, 9 << 20)
        slotctl("repair", disk)
        with open(disk, "rb") as file:
            self.assertEqual(file.read(440), b"\xa5" * 440)
        self.expect_agreement(disk)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--layouts", type=int, default=LAYOUTS)
    parser.add_argument("--seed", type=int, default=SEED)
    options, rest = parser.parse_known_args()
    LAYOUTS, SEED = options.layouts, options.seed
    unittest.main(argv=[sys.argv[0], *rest])
