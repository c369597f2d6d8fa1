"""cradle as a user without privileges: alone, and with the ids that newuidmap(1) allows.

The user is nobody. /etc/subuid and /etc/subgid are replaced in a mount namespace of the test's own.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "testing"))
from bundles import TMP, make_rootfs  # noqa: E402
from cases import CRADLE, reason_to_skip  # noqa: E402

NOBODY = 65534
REASON = reason_to_skip(setpriv="util-linux")


@unittest.skipIf(REASON, REASON)
class Rootless(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.mkdtemp(prefix="rootless", dir=TMP)
        os.chmod(self.tmp, 0o755)
        # The user may have no way to the build's folder.
        self.cradle = os.path.join(self.tmp, "cradle")
        shutil.copy(CRADLE, self.cradle)
        os.chmod(self.cradle, 0o755)
        self.bundle = os.path.join(self.tmp, "bundle")
        os.mkdir(self.bundle)
        make_rootfs(os.path.join(self.bundle, "rootfs"))
        os.mkdir(os.path.join(self.tmp, "run"))
        for folder in ("bundle", "run"):
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", os.path.join(self.tmp, folder)], check=True)
        with open(os.path.join(self.tmp, "ids"), "w") as file:
            file.write("nobody:200000:65536\n")

    def tearDown(self):
        shutil.rmtree(self.tmp, ignore_errors=True)

    def as_nobody(self, *arguments):
        ids = os.path.join(self.tmp, "ids")
        script = 'mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && exec "$@"'
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, ids, "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
             "--clear-groups", "env", f"XDG_RUNTIME_DIR={self.tmp}/run", self.cradle, *arguments],
            cwd=self.bundle, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    def config(self, script, **maps):
        self.assertEqual(self.as_nobody("spec", "--rootless").returncode, 0)
        path = os.path.join(self.bundle, "config.json")
        with open(path) as file:
            config = json.load(file)
        config["process"].update(terminal=False, args=["/bin/sh", "-c", script])
        config["linux"].update(maps)
        with open(path, "w") as file:
            json.dump(config, file)

    def check(self, wanted):
        reply = self.as_nobody("run", "box")
        self.assertEqual((reply.returncode, reply.stdout.split("\n")), (0, wanted + [""]), reply.stderr)
        self.assertEqual(os.listdir(os.path.join(self.tmp, "run/cradle")), [])

    def test_a_user_alone_is_root_inside(self):
        self.config("id -u; tr -s ' ' </proc/self/uid_map; touch /tmp/made 2>&1 | grep -o Read-only; hostname")
        self.check(["0", f" 0 {NOBODY} 1", "Read-only", "cradle"])

    def test_more_ids_come_from_newuidmap(self):
        if not shutil.which("newuidmap"):
            print("SKIPPED: needs the package uidmap")
            return
        maps = [{"containerID": 0, "hostID": NOBODY, "size": 1}, {"containerID": 1, "hostID": 200000, "size": 65535}]
        self.config("tr -s ' ' </proc/self/uid_map; tr -s ' ' </proc/self/gid_map", uidMappings=maps, gidMappings=maps)
        self.check([f" 0 {NOBODY} 1", " 1 200000 65535"] * 2)

    def test_ids_that_are_not_the_users_are_refused(self):
        if not shutil.which("newuidmap"):
            print("SKIPPED: needs the package uidmap")
            return
        maps = [{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 200000, "size": 65535}]
        self.config("id", uidMappings=maps, gidMappings=maps)
        reply = self.as_nobody("run", "box")
        self.assertEqual((reply.returncode, reply.stdout), (1, ""))
        self.assertIn("newuidmap", reply.stderr)
        self.assertEqual(os.listdir(os.path.join(self.tmp, "run/cradle")), [])


if __name__ == "__main__":
    unittest.main()
