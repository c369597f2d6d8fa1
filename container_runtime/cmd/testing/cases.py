"""What tests of cradle have in common: the program, what the machine must have, and a bundle with its container."""

import os
import shutil
import subprocess
import tempfile
import time
import unittest

from bundles import BUSYBOX, TMP, Bundle, Runtime, make_rootfs

CRADLE = os.environ.get("KEELSON_CRADLE", os.path.abspath("container_runtime/cmd/cradle"))


def reason_to_skip(**programs):
    """Why nothing can be tested here, said aloud; None if all can. `programs`: names with their Debian packages."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    reason = None
    if os.geteuid() != 0:
        reason = "needs root"
    elif not os.path.exists(BUSYBOX):
        reason = "needs the package busybox-static"
    for program, package in programs.items():
        if reason is None and not shutil.which(program.replace("_", "-")):
            reason = f"needs the package {package}"
    if reason:
        print(f"SKIPPED ALL: {reason}")
    return reason


def read(path):
    with open(path) as file:
        return file.read()


class CradleTest(unittest.TestCase):
    """A folder of its own, in it a root file system and a state folder; a bundle; the id of its container."""

    def setUp(self):
        name = type(self).__name__.lower()
        self.tmp = tempfile.mkdtemp(prefix=name, dir=TMP)
        os.chmod(self.tmp, 0o755)
        self.rootfs = os.path.join(self.tmp, "rootfs")
        make_rootfs(self.rootfs)
        self.state = os.path.join(self.tmp, "state")
        self.cradle = Runtime(CRADLE, self.state)
        self.bundle = Bundle(self.rootfs)
        self.id = f"{name}-{os.getpid()}-{self._testMethodName[5:25]}"

    def tearDown(self):
        self.cradle("delete", "--force", self.id)
        self.bundle.remove()
        self.assertNotIn(self.tmp, read("/proc/self/mountinfo"))
        shutil.rmtree(self.tmp, ignore_errors=True)

    def quiet(self, *arguments, before=(), runtime=None, timeout=60):
        """The status alone: a container keeps the streams it is given, so they are no pipes that would be waited for."""
        with open(os.devnull, "r+") as null:
            return subprocess.run([*before, *(runtime or self.cradle).command, *arguments], stdin=null, stdout=null,
                                  stderr=null, timeout=timeout).returncode

    def run_shell(self, script, *flags):
        self.bundle.shell(script).write()
        return self.cradle("run", "--bundle", self.bundle.path, *flags, self.id)

    def detached(self, command="run", script="sleep 100", runtime=None):
        self.bundle.shell(script).write()
        flags = ["--detach"] if command == "run" else []
        self.assertEqual(self.quiet(command, *flags, "--bundle", self.bundle.path, self.id, runtime=runtime), 0)

    def pid(self):
        return self.cradle.state(self.id)["pid"]

    def wait_until(self, what, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if what():
                return
            time.sleep(0.01)
        self.fail("it did not happen in time")

    def wait_for_status(self, wanted):
        self.wait_until(lambda: (self.cradle.state(self.id) or {}).get("status") == wanted)
