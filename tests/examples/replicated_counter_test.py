"""The example program: three members count together, also over the loss of one."""

import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
from cluster import free_ports  # noqa: E402

PROGRAM = os.path.abspath("examples/replicated_counter/replicated_counter")


class Member:
    def __init__(self, number, folder, peers):
        self.command = [PROGRAM, f"--id={number}", f"--data={folder}/{number}", f"--peers={peers}"]
        self.start()

    def start(self):
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        return self.process.stdout.readline().strip()

    def kill(self):
        self.process.kill()
        self.close()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(30)


class ReplicatedCounter(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        peers = ",".join(f"{i + 1}=127.0.0.1:{port}" for i, port in enumerate(free_ports(3)))
        self.members = [Member(i, self.folder.name, peers) for i in (1, 2, 3)]

    def tearDown(self):
        for member in self.members:
            if member.process.poll() is None:
                member.kill()
        self.folder.cleanup()

    def test_counts_over_the_loss_of_each_member(self):
        total = 0
        for lost in range(3):
            for member in self.members:
                total += 5
                self.assertEqual(member.ask("add 5"), str(total))
            self.members[lost].kill()
            rest = [m for i, m in enumerate(self.members) if i != lost]
            # What was on its way to it may be lost with it.
            answer = rest[0].ask("add 1")
            seen = int(rest[1].ask("get"))
            self.assertIn(answer, (str(total + 1), "no answer in time"))
            self.assertIn(seen, (total + 1,) if answer.isdigit() else (total, total + 1))
            total = seen
            self.members[lost].start()
            self.assertEqual(self.members[lost].ask("get"), str(total))

    def test_ends_with_its_input_and_starts_where_it_was(self):
        self.assertEqual(self.members[0].ask("add 7"), "7")
        for member in self.members:
            member.close()
            self.assertEqual(member.process.returncode, 0)
        for member in self.members:
            member.start()
        self.assertEqual(self.members[1].ask("get"), "7")


class Arguments(unittest.TestCase):
    def test_bad_peers_are_named(self):
        for arguments, said in ((["--id=1", "--peers=x"], "'x' is not ID=HOST:PORT"),
                                (["--id=4", "--peers=1=127.0.0.1:1"], "4 is not in --peers")):
            done = subprocess.run([PROGRAM, "--data=/nowhere", *arguments], capture_output=True,
                                  text=True, check=False)
            self.assertEqual(done.returncode, 2)
            self.assertIn(said, done.stderr)


if __name__ == "__main__":
    unittest.main()
