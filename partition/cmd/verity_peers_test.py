"""slotctl verity against veritysetup: equal bytes, equal words, and each repairs and accepts what the other made.

KEELSON_SEED=N repeats one run; KEELSON_TREES=N makes more of them:

    bazel test //partition/cmd:verity_peers_test --test_env=KEELSON_TREES=1000 --test_env=KEELSON_SEED=7
"""

import json
import os
import random
import re
import shutil
import subprocess
import unittest
import uuid

TMP = os.environ.get("TEST_TMPDIR", "/tmp")
SLOTCTL = os.path.abspath("partition/cmd/slotctl")
SEED = int(os.environ.get("KEELSON_SEED", "1"))
TREES = int(os.environ.get("KEELSON_TREES", "60"))
os.environ["PATH"] += ":/usr/sbin:/sbin"
MISSING = shutil.which("veritysetup") is None
if MISSING:
    print("SKIPPED ALL: needs the package cryptsetup-bin")


FAILS = "any but 0"  # veritysetup says 1 or 2 by what was damaged


def run(program, *arguments, code=0):
    result = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if (result.returncode == 0) if code == FAILS else (result.returncode != code):
        raise AssertionError(f"{program} {' '.join(arguments)}: exit code {result.returncode}, wanted {code}\n"
                             f"{result.stdout}")
    return result.stdout


def ours(*arguments, code=0):
    return run(SLOTCTL, "verity", *arguments, code=code)


def theirs(*arguments, code=0):
    return run("veritysetup", *arguments, code=code)


def path(name):
    return os.path.join(TMP, name)


def write(name, data):
    with open(path(name), "wb") as file:
        file.write(data)
    return path(name)


def read(name):
    with open(path(name), "rb") as file:
        return file.read()


def remove(*names):
    for name in names:
        if os.path.exists(path(name)):
            os.remove(path(name))


def damage(name, offset, length=1):
    with open(path(name), "r+b") as file:
        file.seek(offset)
        old = file.read(length)
        file.seek(offset)
        file.write(bytes(b ^ 0x5A for b in old))


def root_of(text):
    return re.search(r"^Root hash:\s+(\w+)$", text, re.MULTILINE).group(1)


def random_options(dice, fec):
    block = dice.choice([512, 1024, 4096, 4096, 4096])
    hash_block = block if fec else dice.choice([512, 1024, 4096, 65536])
    options = [f"--data-block-size={block}", f"--hash-block-size={hash_block}",
               f"--format={dice.randrange(2)}", f"--hash={dice.choice(['sha1', 'sha256', 'sha256', 'sha512'])}",
               f"--salt={dice.choice(['-', '00', 'aabb', os.urandom(32).hex(), os.urandom(256).hex()])}"]
    return block, hash_block, options


@unittest.skipIf(MISSING, "veritysetup is missing")
class VerityPeersTest(unittest.TestCase):
    def test_trees_are_equal_for_any_options(self):
        print(f"seed {SEED}, {TREES} trees")
        for i in range(TREES):
            dice = random.Random(SEED * 1000003 + i)
            block, hash_block, options = random_options(dice, fec=False)
            blocks = dice.choice([1, 2, 8, 9, 127, 128, 129, dice.randrange(1, 3000)])
            write("data", dice.randbytes(blocks * block + dice.randrange(0, block)))
            offset = dice.choice([0, 0, hash_block, 7 * hash_block])
            if dice.random() < 0.3:
                options.append("--no-superblock")
            else:
                offset = dice.choice([0, 0, 512, 8192])
                options.append(f"--uuid={uuid.UUID(int=dice.getrandbits(128))}")
            if dice.random() < 0.3:
                blocks = dice.randrange(1, blocks + 1)
                options.append(f"--data-blocks={blocks}")
            # Without a tree, veritysetup makes no room for a superblock at an offset, and fails.
            offset = 0 if blocks == 1 else offset
            options.append(f"--hash-offset={offset}")
            with self.subTest(seed=SEED, tree=i, options=options, blocks=blocks):
                remove("hash.ours", "hash.theirs")
                mine = ours("format", path("data"), path("hash.ours"), *options)
                other = theirs("format", path("data"), path("hash.theirs"), *options)
                self.assertEqual(mine.replace("hash.ours", "hash.theirs"), other)
                # Without a tree, its file ends behind the superblock's 4096 bytes.
                size = min(len(read("hash.ours")), len(read("hash.theirs"))) if blocks == 1 else None
                self.assertEqual(read("hash.ours")[:size], read("hash.theirs")[:size])
                ours("verify", path("data"), path("hash.theirs"), root_of(other), *options_of_verify(options))
                theirs("verify", path("data"), path("hash.ours"), root_of(mine), *options_of_verify(options))

    def test_parity_is_equal_for_any_number_of_roots(self):
        for roots in range(2, 25):
            dice = random.Random(SEED * 1009 + roots)
            block, _, options = random_options(dice, fec=True)
            blocks = dice.choice([1, 5, 253, 254, dice.randrange(1, 2000)])
            write("data", dice.randbytes(blocks * block))
            options += [f"--fec-roots={roots}", f"--uuid={uuid.UUID(int=dice.getrandbits(128))}"]
            if dice.random() < 0.3:
                options.append(f"--fec-offset={dice.choice([block, 3 * block])}")
            with self.subTest(seed=SEED, roots=roots, options=options, blocks=blocks):
                remove("hash.ours", "hash.theirs", "fec.ours", "fec.theirs")
                mine = ours("format", path("data"), path("hash.ours"), f"--fec-device={path('fec.ours')}", *options)
                other = theirs("format", path("data"), path("hash.theirs"), f"--fec-device={path('fec.theirs')}",
                               *options)
                self.assertEqual(root_of(mine), root_of(other))
                self.assertEqual(re.findall("FEC .*", mine)[:2], re.findall("FEC .*", other)[:2])
                self.assertEqual(read("fec.ours"), read("fec.theirs"))

    def test_one_file_holds_data_tree_and_parity(self):
        data = random.Random(SEED).randbytes(300 * 4096)
        options = ["--data-blocks=300", f"--hash-offset={300 * 4096}", f"--fec-offset={310 * 4096}", "--salt=aa",
                   "--uuid=11111111-2222-3333-4444-555555555555", "--fec-roots=3"]
        text = {}
        for name, program in (("one.ours", ours), ("one.theirs", theirs)):
            write(name, data + bytes(10 * 4096))
            text[name] = program("format", path(name), path(name), f"--fec-device={path(name)}", *options)
        self.assertEqual(text["one.ours"].replace("one.ours", "one.theirs"), text["one.theirs"])
        self.assertEqual(read("one.ours"), read("one.theirs"))

        damage("one.ours", 5 * 4096, 3000)
        options = [f"--hash-offset={300 * 4096}", f"--fec-offset={310 * 4096}", "--fec-roots=3"]
        ours("repair", path("one.ours"), path("one.ours"), root_of(text["one.theirs"]),
             f"--fec-device={path('one.ours')}", *options)
        self.assertEqual(read("one.ours"), read("one.theirs"))

    def test_dump_says_what_veritysetup_says(self):
        write("data", bytes(4096 * 200))
        remove("hash")
        theirs("format", path("data"), path("hash"), "--hash=sha512", "--data-block-size=1024")
        self.assertEqual(ours("dump", path("hash")), theirs("dump", path("hash")))

    def test_both_refuse_the_same_damage(self):
        data = random.Random(SEED).randbytes(600 * 4096)
        write("data", data)
        remove("hash")
        root = root_of(theirs("format", path("data"), path("hash")))
        sound = read("hash")
        for name, offset, says in (("data", 4 * 4096 + 17, "data block 4 at byte 16384"),
                                   ("data", 599 * 4096, "data block 599 at byte 2453504"),
                                   ("hash", 4096, "level 1 hash block 0 at byte 4096"),
                                   ("hash", 3 * 4096 + 9, "level 0 hash block 1 at byte 12288")):
            with self.subTest(file=name, offset=offset):
                damage(name, offset)
                theirs("verify", path("data"), path("hash"), root, code=FAILS)
                answer = ours("verify", path("data"), path("hash"), root, code=1)
                self.assertIn(says, answer)
                write("data", data)
                write("hash", sound)
        wrong = "0" * 64
        theirs("verify", path("data"), path("hash"), wrong, code=FAILS)
        ours("verify", path("data"), path("hash"), wrong, code=1)

    def test_damage_is_repaired_with_either_parity(self):
        data = random.Random(SEED).randbytes(1000 * 4096)
        for maker, roots in ((theirs, 2), (ours, 2), (theirs, 24)):
            with self.subTest(roots=roots):
                write("data", data)
                remove("hash", "fec")
                fec = [f"--fec-device={path('fec')}", f"--fec-roots={roots}"]
                root = root_of(maker("format", path("data"), path("hash"), *fec))
                hashes = read("hash")
                # With 2 roots, 1009 blocks of message are 4 rounds, to which adjacent blocks belong in turn: 1 and
                # the top of the tree, 2, 3 and 999, 4.
                damage("data", 4096, 3 * 4096)
                damage("data", 999 * 4096 + 5, 1)
                damage("hash", 4096 + 100, 50)
                before = read("data")
                report = json.loads(ours("repair", path("data"), path("hash"), root, *fec, "--dry-run",
                                         "--output=json"))
                self.assertEqual((len(report["repaired"]), report["beyond_repair"]), (5, []))
                self.assertEqual(read("data"), before)
                answer = json.loads(ours("verify", path("data"), path("hash"), root, *fec, "--output=json", code=1))
                self.assertTrue(answer["repairable"])

                ours("repair", path("data"), path("hash"), root, *fec)
                self.assertEqual((read("data"), read("hash")), (data, hashes))
                theirs("verify", path("data"), path("hash"), root)

    def test_what_is_beyond_repair_is_said_and_left(self):
        data = random.Random(SEED).randbytes(600 * 4096)
        write("data", data)
        remove("hash", "fec")
        fec = [f"--fec-device={path('fec')}"]
        root = root_of(ours("format", path("data"), path("hash"), *fec))
        damage("data", 0, 200 * 4096)
        before = read("data")
        answer = ours("repair", path("data"), path("hash"), root, *fec, code=1)
        self.assertIn("beyond repair: data block 0 at byte 0", answer)
        self.assertEqual(read("data"), before)

    def test_open_says_its_table_and_refuses_what_is_no_storage(self):
        write("data", random.Random(SEED).randbytes(300 * 4096))
        remove("hash", "fec")
        root = root_of(theirs("format", path("data"), path("hash"), "--salt=aabb", f"--fec-device={path('fec')}"))
        arguments = ["open", path("data"), "usr", path("hash"), root]
        self.assertEqual(ours(*arguments, f"--fec-device={path('fec')}", "--check-at-most-once", "--dry-run"),
                         f"0 2400 verity 1 {path('data')} {path('hash')} 4096 4096 300 1 sha256 {root} aabb 9 "
                         f"check_at_most_once use_fec_from_device {path('fec')} fec_start 0 fec_blocks 304 fec_roots 2\n")
        self.assertIn("at most one", ours(*arguments, "--ignore-corruption", "--panic-on-corruption", code=2))
        arguments[1] = "/dev/null"
        self.assertIn("'/dev/null'", ours(*arguments, code=2))

    def test_bad_arguments_are_refused_before_anything_is_written(self):
        write("data", bytes(40960))
        for options, says in ((["--salt=xyz"], "hexadecimal"), (["--uuid=1"], "UUID"), (["--hash=md4"], "md4"),
                              (["--data-block-size=1000"], "1000"), (["--format=2"], "hash type 2"),
                              (["--fec-device=" + path("f"), "--fec-roots=1"], "FEC roots 1"),
                              (["--hash-offset=100"], "hash offset 100"),
                              (["--no-superblock", "--uuid=11111111-2222-3333-4444-555555555555"], "--uuid")):
            remove("hash")
            with self.subTest(options=options):
                self.assertIn(says, ours("format", path("data"), path("hash"), *options, code=2))
        self.assertIn("the data ends", ours("format", path("data"), path("data"), code=2))
        self.assertEqual(read("data"), bytes(40960))
        remove("hash")
        self.assertIn("would write", ours("format", path("data"), path("hash"), "--dry-run"))
        self.assertFalse(os.path.exists(path("hash")))


def options_of_verify(options):
    """Those that verify needs: with a superblock, only where it is."""
    if "--no-superblock" in options:
        return options
    return [option for option in options if option.startswith("--hash-offset")]


if __name__ == "__main__":
    unittest.main()
