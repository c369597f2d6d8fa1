"""`./keelson demo --exit` runs its story on free ports, and Ctrl-C ends the one that stays."""

import os
import signal
import subprocess
import unittest

DEMO = ["tools/demo", "--any-ports", "--kvstored=kvstore/daemon/kvstored",
        "--kvctl=kvstore/cmd/kvctl"]


def members_left(folder):
    """Processes that still run with a data directory under `folder`."""
    left = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as f:
                if f"--data-dir={folder}" in f.read():
                    left.append(pid)
        except OSError:
            pass  # It has just ended.
    return left


class DemoTest(unittest.TestCase):
    def setUp(self):
        self.folder = os.environ["TEST_TMPDIR"]

    def check_clean(self):
        self.assertEqual(members_left(self.folder), [])
        self.assertEqual([n for n in os.listdir(self.folder) if n.startswith("keelson-cluster-")], [])

    def test_the_story_ends_well_and_leaves_nothing(self):
        done = subprocess.run(DEMO + ["--exit"], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for step in ("leader", "watch saw: PUT demo/hello = world", "watch saw: DELETE demo/count",
                     "s after the kill", "is still there", "has caught up", "removed their data"):
            self.assertIn(step, done.stdout)
        self.check_clean()

    def test_an_interrupt_cleans_up(self):
        demo = subprocess.Popen(DEMO, stdout=subprocess.PIPE, text=True)
        shown = ""
        for line in demo.stdout:
            shown += line
            if "Kill a member" in line:
                demo.send_signal(signal.SIGINT)
        self.assertEqual(demo.wait(timeout=60), 0, shown)
        self.assertIn("curl http://127.0.0.1:", shown)
        self.check_clean()


if __name__ == "__main__":
    unittest.main()
