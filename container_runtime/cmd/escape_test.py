"""Ways out of a container that other runtimes had, tried on cradle.

Each test names the CVE. Where an attack was a race, a second process swaps files under the runtime's hands the whole
time, at least 100,000 times in all; what counts is that nothing of the host was reached.
"""

import ctypes
import hashlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "testing"))
from bundles import TMP, Bundle, Runtime, make_rootfs  # noqa: E402

CRADLE = os.environ.get("KEELSON_CRADLE", os.path.abspath("container_runtime/cmd/cradle"))
SWAPS = int(os.environ.get("KEELSON_SWAPS", "100000"))
REASON = None
if os.geteuid() != 0:
    REASON = "needs root"
elif not os.path.exists("/bin/busybox"):
    REASON = "needs the package busybox-static"
if REASON:
    print(f"SKIPPED ALL: {REASON}")


def exchange(first, second, counter, stop):
    """Swaps two names until told to stop."""
    libc = ctypes.CDLL(None, use_errno=True)
    at_here, exchange_flag = -100, 2
    a, b = first.encode(), second.encode()
    while not stop.value:
        for _ in range(100):
            libc.renameat2(at_here, a, at_here, b, exchange_flag)
        counter.value += 100


class Racer:
    """Swaps `first` and `second` while it is entered."""

    def __init__(self, first, second):
        self.counter = multiprocessing.Value("Q", 0, lock=False)
        self.stop = multiprocessing.Value("b", 0, lock=False)
        self.process = multiprocessing.Process(target=exchange, args=(first, second, self.counter, self.stop))

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.stop.value = 1
        self.process.join()


@unittest.skipIf(REASON, REASON)
class Escapes(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.mkdtemp(prefix="escape", dir=TMP)
        self.rootfs = os.path.join(self.tmp, "rootfs")
        make_rootfs(self.rootfs)
        self.canary = os.path.join(self.tmp, "canary")
        os.mkdir(self.canary)
        with open(os.path.join(self.canary, "secret"), "w") as file:
            file.write("of the host")
        self.before = self.look()
        self.run_ = Runtime(CRADLE, os.path.join(self.tmp, "state"))
        self.bundle = Bundle(self.rootfs)
        self.bundle.config["root"]["readonly"] = False
        self.count = 0

    def tearDown(self):
        self.assertEqual(self.look(), self.before, "the host's folder was changed")
        with open("/proc/self/mountinfo") as mounts:
            self.assertNotIn(self.tmp, mounts.read())
        self.bundle.remove()
        shutil.rmtree(self.tmp, ignore_errors=True)

    def look(self):
        with open(os.path.join(self.canary, "secret")) as file:
            return sorted(os.listdir(self.canary)), file.read()

    def run_once(self):
        self.count += 1
        self.bundle.write()
        return self.run_("run", "--bundle", self.bundle.path, f"escape-{os.getpid()}-{self.count}")

    def refused(self, words):
        reply = self.run_once()
        self.assertNotEqual(reply.returncode, 0, reply.stdout)
        self.assertIn(words, reply.stderr)

    def replace(self, path, target):
        """Makes `path` of the image a symlink."""
        full = os.path.join(self.rootfs, path)
        shutil.rmtree(full, ignore_errors=True)
        os.symlink(target, full)

    def mount(self, destination, **fields):
        self.bundle.config["mounts"].append({"destination": destination, **fields})

    def test_cve_2019_5736_the_runtime_cannot_be_run_inside(self):
        with open(CRADLE, "rb") as file:
            digest = hashlib.sha256(file.read()).digest()
        with open(os.path.join(self.rootfs, "bin/script"), "w") as file:
            file.write("#!/proc/self/exe\n--version\n")
        os.chmod(os.path.join(self.rootfs, "bin/script"), 0o755)
        for args in (["/proc/self/exe", "--version"], ["/proc/1/exe", "--version"], ["/bin/script"]):
            self.bundle.config["process"]["args"] = args
            self.assertNotIn("version", self.run_once().stdout)
        with open(CRADLE, "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).digest(), digest)

    def test_cve_2019_5736_the_program_before_ours_is_sealed(self):
        # A program that opens what is executed before it, while it still is that.
        self.bundle.config["process"]["args"] = ["/proc/self/exe", "/bin/sh", "-c", "readlink /proc/self/exe"]
        self.assertNotIn(CRADLE, self.run_once().stdout)

    def test_cve_2024_21626_the_working_directory_is_inside(self):
        for fd in range(3, 40):
            self.bundle.config["process"]["cwd"] = f"/proc/self/fd/{fd}"
            self.bundle.config["process"]["args"] = ["/bin/cat", "../../../../../../" + self.canary + "/secret"]
            reply = self.run_once()
            self.assertNotIn("of the host", reply.stdout, fd)
            self.assertNotEqual(reply.returncode, 0, fd)

    def test_cve_2016_9962_no_descriptor_of_the_host_is_left(self):
        self.bundle.shell("for f in /proc/self/fd/*; do readlink $f; done")
        for line in self.run_once().stdout.splitlines():
            self.assertNotIn(self.tmp, line)
            self.assertNotIn("socket", line)

    def test_cve_2023_27561_proc_and_sys_are_not_symlinks(self):
        for name in ("proc", "sys"):
            self.replace(name, "/tmp")
            self.refused("symlink")
            os.unlink(os.path.join(self.rootfs, name))
            os.mkdir(os.path.join(self.rootfs, name))

    def test_cve_2026_41579_dev_is_not_a_symlink_out(self):
        self.replace("dev", self.canary)
        self.assertNotEqual(self.run_once().returncode, 0)

    def test_cve_2019_19921_nothing_is_mounted_over_proc(self):
        for destination in ("/proc/self", "/proc/../proc/self/attr", "/proc/sys/kernel"):
            mounts = list(self.bundle.config["mounts"])
            self.mount(destination, type="bind", source=self.canary, options=["bind"])
            self.refused("inside /proc")
            self.bundle.config["mounts"] = mounts

    def test_cve_2019_16884_a_volume_is_not_proc(self):
        self.bundle.config["mounts"][0] = {"destination": "/proc", "type": "bind", "source": self.canary,
                                           "options": ["bind"]}
        self.refused("not of type proc")

    def test_cve_2021_30465_targets_stay_inside(self):
        self.replace("data", "../../../../../../../.." + self.canary)
        self.mount("/data/sub", type="tmpfs", source="tmpfs")
        self.bundle.config["process"]["args"] = ["/bin/true"]
        self.run_once()

    def test_cve_2024_45310_folders_are_made_inside(self):
        self.replace("data", self.canary)
        self.mount("/data/new/deep", type="bind", source=self.canary, options=["bind", "ro"])
        self.run_once()

    def test_cve_2025_31133_masks_are_the_null_device(self):
        fake = os.path.join(self.tmp, "fake-dev")
        os.makedirs(os.path.join(fake, "pts"))
        for attack in (lambda p: os.symlink("/proc/sys/kernel/core_pattern", p), lambda p: open(p, "w").close(),
                       lambda p: os.mknod(p, 0o20666, os.makedev(1, 5))):
            attack(os.path.join(fake, "null"))
            self.bundle.config["mounts"] = [
                self.bundle.config["mounts"][0],
                {"destination": "/dev", "type": "bind", "source": fake, "options": ["bind"]}]
            self.refused("maskedPaths")
            os.unlink(os.path.join(fake, "null"))

    def test_cve_2025_52565_the_console_is_of_a_devpts(self):
        fake = os.path.join(self.tmp, "fake-pts")
        os.makedirs(fake)
        open(os.path.join(fake, "ptmx"), "w").close()
        self.bundle.config["mounts"][2] = {"destination": "/dev/pts", "type": "bind", "source": fake,
                                           "options": ["bind"]}
        self.bundle.config["process"]["terminal"] = True
        self.refused("ptmx")

    def test_cve_2022_0811_names_of_sysctls_are_names(self):
        for name in ("kernel.shm_rmid_forced=1+kernel.core_pattern", "net.ipv4/../../kernel/core_pattern",
                     "net/../kernel/core_pattern", "kernel.core_pattern", "net.\nx"):
            self.bundle.config["linux"]["sysctl"] = {name: "1"}
            self.refused("sysctl")

    def test_cve_2022_29162_exec_gives_no_inheritable_capabilities(self):
        self.bundle.shell("sleep 100").write()
        name = f"escape-exec-{os.getpid()}"
        with open(os.devnull, "r+") as null:
            subprocess.run([*self.run_.command, "run", "-d", "--bundle", self.bundle.path, name], stdin=null,
                           stdout=null, stderr=null, check=True)
        reply = self.run_("exec", "--cap", "CAP_NET_RAW", name, "grep", "CapInh", "/proc/self/status")
        self.run_("delete", "--force", name)
        self.assertEqual(reply.stdout.split(), ["CapInh:", "0" * 16])

    def race(self, change, attempts=30):
        """Runs containers while the image's /data turns from a folder into a symlink to the host and back."""
        first, second = (os.path.join(self.rootfs, name) for name in ("data", "other"))
        os.symlink(self.canary, second)
        change()
        self.bundle.config["process"]["args"] = ["/bin/true"]
        with Racer(first, second) as racer:
            for _ in range(attempts):
                self.run_once()
            while racer.counter.value < SWAPS:
                self.run_once()
        self.assertGreaterEqual(racer.counter.value, SWAPS)

    def test_races_over_the_target_of_a_tmpfs(self):
        self.race(lambda: self.mount("/data/a/b", type="tmpfs", source="tmpfs", options=["mode=777"]))

    def test_races_over_the_target_of_a_bind(self):
        self.race(lambda: self.mount("/data/a/b", type="bind", source=self.rootfs + "/tmp", options=["bind", "ro"]))

    def test_races_over_a_device(self):
        self.race(lambda: self.bundle.config["linux"].update(devices=[
            {"type": "c", "path": "/data/device", "major": 1, "minor": 3, "fileMode": 0o666}]))

    def test_races_over_masked_and_read_only_paths(self):
        self.race(lambda: self.bundle.config["linux"].update(maskedPaths=["/data"], readonlyPaths=["/data"]))


if __name__ == "__main__":
    unittest.main()
