"""cradle killed at every system call of create, start, exec and delete: `delete --force` clears up.

Afterwards the mount table, the cgroup trees, the state folder and the processes are as before. Every fourth call is taken,
beginning with another one each time; KEELSON_CALL_STEP=1 takes all, in some four minutes.
"""

import ctypes
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "testing"))
from cases import CradleTest, reason_to_skip  # noqa: E402

KILL_AT = os.environ.get("KEELSON_KILL_AT", os.path.abspath("container_runtime/cmd/kill_at"))
STEP = int(os.environ.get("KEELSON_CALL_STEP", "4"))
REASON = reason_to_skip()
KILLED, ENDED = 0, 3


def mounts():
    with open("/proc/self/mountinfo") as file:
        return sorted(line.split(" ", 2)[2] for line in file)


def processes_of(mark):
    """Processes with `mark` in their command line: the program's, and the runtime's before it becomes that."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read()
        except OSError:
            continue
        if mark.encode() in command:
            found.append((int(pid), command))
    return found


def cgroups_of(mark):
    return [os.path.join(folder, name) for folder, names, _ in os.walk("/sys/fs/cgroup") for name in names
            if mark in name]


@unittest.skipIf(REASON, REASON)
class Crashes(CradleTest):
    @classmethod
    def setUpClass(cls):
        # What others mount meanwhile is not to be seen.
        new_mount_namespace = 0x20000
        if ctypes.CDLL(None, use_errno=True).unshare(new_mount_namespace) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)

    def setUp(self):
        super().setUp()
        os.mkdir(self.state)
        self.id = f"crash-{os.getpid()}-{self._testMethodName[5:12]}"
        # The mark is in the command line of whatever the container runs.
        self.bundle.config["process"]["args"] = ["/bin/sh", "-c", f": {self.id}; sleep 1000 & sleep 1000; true"]
        self.bundle.config["linux"]["namespaces"].append({"type": "cgroup"})
        self.bundle.config["linux"]["resources"]["pids"] = {"limit": 50}
        self.bundle.write()
        self.mounts = mounts()

    def check_clean(self, where):
        reply = self.cradle("delete", "--force", self.id)
        self.assertEqual((reply.returncode, reply.stderr), (0, ""), where)
        self.assertEqual(mounts(), self.mounts, where)
        self.assertEqual(cgroups_of(self.id), [], where)
        self.assertEqual(os.listdir(self.state), [], where)
        end = time.monotonic() + 20
        while processes_of(self.id) and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual(processes_of(self.id), [], where)

    def matrix(self, prepare, command):
        call = 1 + os.getpid() % STEP
        kills = 0
        while True:
            prepare()
            result = self.quiet(*command, before=(KILL_AT, str(call)))
            self.assertIn(result, (KILLED, ENDED))
            self.check_clean(f"{command[0]} killed at call {call}")
            if result == ENDED:
                break
            kills += 1
            call += STEP
        print(f"{command[0]}: killed at {kills} system calls")
        self.assertGreater(kills * STEP, 20)

    def create(self):
        self.assertEqual(self.quiet("create", "--bundle", self.bundle.path, self.id), 0)

    def run_detached(self):
        self.assertEqual(self.quiet("run", "--detach", "--bundle", self.bundle.path, self.id), 0)

    def test_create(self):
        self.matrix(lambda: None, ("create", "--bundle", self.bundle.path, self.id))

    def test_run(self):
        self.matrix(lambda: None, ("run", "--detach", "--bundle", self.bundle.path, self.id))

    def test_start(self):
        self.matrix(self.create, ("start", self.id))

    def test_exec(self):
        self.matrix(self.run_detached, ("exec", "--detach", self.id, "/bin/sh", "-c", f": {self.id}; sleep 1000; true"))

    def test_delete(self):
        self.matrix(self.create, ("delete", self.id))


if __name__ == "__main__":
    unittest.main()
