"""examples/sandbox and examples/job_runner do what they say.

    python3 containers_test.py SANDBOX JOB_RUNNER
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

JOB_RUNNER = os.path.abspath(sys.argv.pop())
SANDBOX = os.path.abspath(sys.argv.pop())


def sandbox(command):
    return subprocess.run([SANDBOX, "/bin/sh", "-c", command], capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, check=False)


class SandboxTest(unittest.TestCase):
    def test_output_and_status_are_those_of_the_command(self):
        done = sandbox("echo out; echo err >&2; exit 7")
        self.assertEqual((done.stdout, done.stderr, done.returncode), ("out\n", "err\n", 7))

    def test_files_of_the_machine_cannot_be_written_and_tmp_is_its_own(self):
        with tempfile.NamedTemporaryFile(prefix="keelson-outside-") as outside:
            done = sandbox(f"touch /usr/x 2>/dev/null || echo refused; test -e {outside.name} || echo hidden;"
                           " echo a >/tmp/f; cat /tmp/f")
        self.assertEqual(done.stdout, "refused\nhidden\na\n", done.stderr)

    def test_there_is_no_network_and_no_other_process_and_no_capability(self):
        done = sandbox("ls /sys/class/net; ls -d /proc/[0-9]* | wc -l; grep CapEff /proc/self/status")
        lines = done.stdout.split("\n")
        self.assertEqual(lines[0], "lo", done.stderr)
        self.assertLess(int(lines[1]), 6)
        self.assertIn("0000000000000000", lines[2])

    def test_nothing_is_left(self):
        before = set(os.listdir("/run"))
        sandbox("true")
        self.assertFalse({name for name in os.listdir("/run") if name.startswith("sandbox-")} - before)

    def test_a_command_that_is_not_there_is_an_error(self):
        done = subprocess.run([SANDBOX, "/no/such/program"], capture_output=True, text=True, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("/no/such/program", done.stderr)


class JobRunnerTest(unittest.TestCase):
    def run_jobs(self, text):
        with tempfile.NamedTemporaryFile("w", prefix="keelson-jobs-") as file:
            file.write(text)
            file.flush()
            done = subprocess.run([JOB_RUNNER, file.name], capture_output=True, text=True, timeout=300, check=False)
        rows = {}
        for line in done.stdout.splitlines():
            row = re.fullmatch(r"(\w+) +(\d+) +([\d.]+) +([\d.]+) +(\d+) (\d+)", line)
            if row:
                rows[row[1]] = {"status": int(row[2]), "cpu": float(row[3]), "peak": float(row[4]),
                                "throttled": int(row[5]), "oom": int(row[6])}
        return done, rows

    def test_jobs_are_limited_and_accounted_for(self):
        done, rows = self.run_jobs(
            "# name MiB percent command\n"
            "good 64 100 exit 0\n"
            "bad 64 100 exit 3\n"
            "busy 64 5 i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done\n"
            "greedy 16 100 head -c 64m /dev/zero | tail\n")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertEqual(set(rows), {"good", "bad", "busy", "greedy"}, done.stdout + done.stderr)
        self.assertEqual(rows["good"]["status"], 0)
        self.assertEqual(rows["bad"]["status"], 3)
        self.assertEqual(rows["busy"]["status"], 0)
        self.assertGreater(rows["busy"]["throttled"], 0)
        self.assertGreater(rows["greedy"]["oom"], 0)
        self.assertNotEqual(rows["greedy"]["status"], 0)
        self.assertLessEqual(rows["greedy"]["peak"], 16.1)
        self.assertIn("out of memory", done.stdout)

    def test_all_good_is_zero(self):
        done, _ = self.run_jobs("a 64 100 true\nb 64 100 true\n")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_what_is_no_job_is_refused(self):
        for text in ("", "name\n", "name 0 1 true\n", "name x 1 true\n"):
            done, _ = self.run_jobs(text)
            self.assertEqual(done.returncode, 1, text)
            self.assertTrue(done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
