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
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "testing"))
from cases import CRADLE, CradleTest, read, reason_to_skip  # noqa: E402

SWAPS = int(os.environ.get("KEELSON_SWAPS", "100000"))
REASON = reason_to_skip()


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
class Escapes(CradleTest):
    def setUp(self):
        super().setUp()
        self.canary = os.path.join(self.tmp, "canary")
        os.mkdir(self.canary)
        with open(os.path.join(self.canary, "secret"), "w") as file:
            file.write("of the host")
        self.before = self.look()
        self.bundle.config["root"]["readonly"] = False
        self.count = 0

    def tearDown(self):
        self.assertEqual(self.look(), self.before, "the host's folder was changed")
        super().tearDown()

    def look(self):
        return sorted(os.listdir(self.canary)), read(os.path.join(self.canary, "secret"))

    def run_once(self):
        self.count += 1
        self.bundle.write()
        return self.cradle("run", "--bundle", self.bundle.path, f"escape-{os.getpid()}-{self.count}")

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
            subprocess.run([*self.cradle.command, "run", "-d", "--bundle", self.bundle.path, name], stdin=null,
                           stdout=null, stderr=null, check=True)
        reply = self.cradle("exec", "--cap", "CAP_NET_RAW", name, "grep", "CapInh", "/proc/self/status")
        self.cradle("delete", "--force", name)
        self.assertEqual(reply.stdout.split(), ["CapInh:", "0" * 16])

    def in_background(self, script):
        """A container of that script, running; its name."""
        self.bundle.shell(script).write()
        self.count += 1
        name = f"escape-{os.getpid()}-{self.count}"
        with open(os.devnull, "r+") as null:
            subprocess.run([*self.cradle.command, "run", "-d", "--bundle", self.bundle.path, name], stdin=null,
                           stdout=null, stderr=null, check=True, timeout=60)
        self.addCleanup(self.cradle, "delete", "--force", name)
        return name

    def user_namespace(self):
        self.bundle.config["linux"]["namespaces"].append({"type": "user"})
        for field in ("uidMappings", "gidMappings"):
            self.bundle.config["linux"][field] = [{"containerID": 0, "hostID": 100000, "size": 65536}]

    def test_cve_2024_21626_the_working_directory_of_exec_is_inside(self):
        name = self.in_background("sleep 100")
        for fd in range(3, 40):
            reply = self.cradle("exec", "--cwd", f"/proc/self/fd/{fd}", name, "cat",
                              "../../../../../.." + self.canary + "/secret")
            self.assertNotIn("of the host", reply.stdout, fd)
            self.assertNotEqual(reply.returncode, 0, fd)
        self.cradle("delete", "--force", name)

    def test_cve_2019_5736_who_execs_is_never_our_program(self):
        seen = os.path.join(self.rootfs, "tmp/seen")
        name = self.in_background("while :; do for p in /proc/[0-9]*; do readlink $p/exe; done >> /tmp/seen; done")
        for _ in range(40):
            self.cradle("exec", name, "/proc/self/exe", "--version")
            self.cradle("exec", name, "true")
        self.cradle("delete", "--force", name)
        with open(seen) as file:
            programs = set(file.read().split("\n"))
        self.assertIn("/bin/busybox", programs)
        self.assertFalse({p for p in programs if "cmd/cradle" in p}, programs)

    def test_cve_2016_9962_descriptors_of_exec_cannot_be_looked_at(self):
        seen = os.path.join(self.rootfs, "tmp/seen")
        name = self.in_background("while :; do for f in /proc/[0-9]*/fd/*; do readlink $f; done >> /tmp/seen; done")
        for _ in range(40):
            self.cradle("exec", name, "true")
        self.cradle("delete", "--force", name)
        with open(seen) as file:
            text = file.read()
        for words in (self.tmp + "/state", "/sys/fs/cgroup", "exec.fifo"):
            self.assertNotIn(words, text)

    def test_cve_2022_29162_a_container_has_no_inheritable_capabilities(self):
        self.bundle.shell("grep CapInh /proc/self/status")
        self.assertEqual(self.run_once().stdout.split(), ["CapInh:", "0" * 16])

    def test_cve_2023_25809_a_read_only_cgroup_mount_is_so_in_a_user_namespace(self):
        self.user_namespace()
        self.mount("/sys/fs/cgroup", type="cgroup", source="cgroup", options=["ro", "nosuid", "noexec", "nodev"])
        self.bundle.shell("for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/x && echo made; done; echo end")
        reply = self.run_once()
        self.assertEqual(reply.stdout, "end\n", reply.stderr)
        self.assertIn("Read-only file system", reply.stderr)

    def test_cve_2022_0492_there_is_no_release_agent(self):
        for own in (False, True):
            self.mount("/sys/fs/cgroup", type="cgroup", source="cgroup", options=["rw"])
            if own:
                self.bundle.config["linux"]["namespaces"].append({"type": "cgroup"})
            self.bundle.shell("find /sys/fs/cgroup -name release_agent; echo end")
            self.assertEqual(self.run_once().stdout, "end\n")

    def test_cve_2021_43784_lists_of_mappings_have_an_end(self):
        self.bundle.config["linux"]["namespaces"].append({"type": "user"})
        lines = [{"containerID": i, "hostID": 100000 + i, "size": 1} for i in range(20000)]
        self.bundle.config["linux"].update(uidMappings=lines, gidMappings=lines[:1])
        self.refused("more than 340 lines")

    def test_cve_2025_52881_settings_go_to_procfs_and_not_to_the_image(self):
        fake = os.path.join(self.rootfs, "proc/sys/net/ipv4")
        os.makedirs(fake)
        path = os.path.join(fake, "ip_forward")
        with open(path, "w") as file:
            file.write("of the image")
        del self.bundle.config["mounts"][0]
        self.bundle.config["linux"].update(maskedPaths=[], readonlyPaths=[], sysctl={"net.ipv4.ip_forward": "1"})
        self.bundle.config["process"]["args"] = ["/bin/true"]
        self.assertEqual(self.run_once().returncode, 0)
        with open(path) as file:
            self.assertEqual(file.read(), "of the image")

    def test_a_password_file_of_the_image_is_only_read_inside(self):
        path = os.path.join(self.rootfs, "etc/passwd")
        secret = os.path.join(self.canary, "passwd")
        for attack in (lambda: os.symlink("../../../../../../.." + secret, path), lambda: os.mkfifo(path),
                       lambda: os.mknod(path, 0o20666, os.makedev(1, 5)), lambda: os.mkdir(path)):
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            attack()
            self.bundle.shell("echo $HOME")
            self.assertEqual(self.run_once().stdout, "/\n")

    def test_a_working_directory_that_is_a_symlink_stays_inside(self):
        self.replace("data", self.canary)
        self.bundle.config["process"]["cwd"] = "/data"
        self.bundle.shell("cat secret; pwd")
        self.assertNotIn("of the host", self.run_once().stdout)

    def test_masked_and_read_only_symlinks_change_nothing_outside(self):
        self.replace("data", self.canary)
        self.bundle.config["linux"].update(maskedPaths=["/data"], readonlyPaths=["/data"])
        self.bundle.config["process"]["args"] = ["/bin/true"]
        self.run_once()
        with open(os.path.join(self.canary, "probe"), "w") as file:
            file.write("x")
        os.unlink(os.path.join(self.canary, "probe"))

    def test_a_source_in_the_image_is_found_inside(self):
        os.symlink("../../../../../../.." + self.canary, os.path.join(self.rootfs, "link"))
        self.mount("/data", type="bind", source=self.rootfs + "/link", options=["rbind"])
        self.bundle.shell("cat /data/secret")
        reply = self.run_once()
        self.assertNotIn("of the host", reply.stdout)
        self.assertNotEqual(reply.returncode, 0)

    def test_a_copied_up_folder_has_symlinks_as_symlinks(self):
        os.symlink(self.canary + "/secret", os.path.join(self.rootfs, "data/link"))
        os.symlink(self.canary, os.path.join(self.rootfs, "data/folder"))
        self.mount("/data", type="tmpfs", source="tmpfs", options=["tmpcopyup"])
        self.bundle.shell("readlink /data/link; cat /data/link /data/folder/secret")
        reply = self.run_once()
        self.assertEqual(reply.stdout, self.canary + "/secret\n")

    def test_a_device_does_not_follow_a_symlink(self):
        os.symlink("../../../../../../.." + self.canary + "/secret", os.path.join(self.rootfs, "data/device"))
        self.bundle.config["linux"]["devices"] = [{"type": "c", "path": "/data/device", "major": 1, "minor": 3,
                                                   "uid": 5, "gid": 5, "fileMode": 0o666}]
        self.refused("a file of another kind is there")

    def test_root_of_a_user_namespace_is_not_the_hosts(self):
        self.user_namespace()
        folder = os.path.join(self.tmp, "shared")
        os.mkdir(folder)
        os.chmod(folder, 0o777)
        os.chmod(self.tmp, 0o755)
        self.mount("/data", type="bind", source=folder, options=["bind"])
        self.bundle.shell("touch /data/made; cat /proc/self/uid_map")
        self.run_once()
        self.assertEqual(os.stat(os.path.join(folder, "made")).st_uid, 100000)

    def test_a_process_with_the_same_number_is_not_the_container(self):
        name = self.in_background("sleep 100")
        pid = self.cradle.state(name)["pid"]
        path = os.path.join(self.tmp, "state", name, "state.json")
        with open(path) as file:
            text = file.read()
        with open(f"/proc/{pid}/stat") as file:
            start = file.read().rsplit(")", 1)[1].split()[19]
        self.assertIn(start, text)
        with open(path, "w") as file:
            file.write(text.replace(start, "1"))
        self.assertEqual(self.cradle.state(name)["status"], "stopped")
        self.assertIn("container not running", self.cradle("kill", name, "KILL").stderr)
        os.kill(pid, 0)
        with open(path, "w") as file:
            file.write(text)
        self.cradle("delete", "--force", name)

    def race(self, change, attempts=30):
        """Runs containers while the image's /data turns from a folder into a symlink to the host and back."""
        os.symlink(self.canary, os.path.join(self.rootfs, "other"))
        change()
        self.bundle.config["process"]["args"] = ["/bin/true"]
        self.race_of("data", "other", attempts=attempts)

    def race_of(self, first, second, check=lambda reply: None, attempts=30):
        """Runs containers while two names of the image are swapped."""
        with Racer(os.path.join(self.rootfs, first), os.path.join(self.rootfs, second)) as racer:
            for _ in range(attempts):
                check(self.run_once())
            while racer.counter.value < SWAPS:
                check(self.run_once())
        self.assertGreaterEqual(racer.counter.value, SWAPS)

    def test_races_over_the_target_of_a_tmpfs(self):
        self.race(lambda: self.mount("/data/a/b", type="tmpfs", source="tmpfs", options=["mode=777"]))

    def test_races_over_the_target_of_a_bind(self):
        self.race(lambda: self.mount("/data/a/b", type="bind", source=self.rootfs + "/tmp", options=["bind", "ro"]))

    def test_races_over_a_device(self):
        self.race(lambda: self.bundle.config["linux"].update(devices=[
            {"type": "c", "path": "/data/device", "major": 1, "minor": 3, "fileMode": 0o666}]))

    def test_cve_2021_30465_races_over_the_target_of_a_proc(self):
        self.race(lambda: self.mount("/data/a", type="proc", source="proc"))

    def test_cve_2024_45310_races_over_a_file_that_is_made(self):
        self.race(lambda: self.mount("/data/a/b/file", type="bind", source=self.rootfs + "/etc/passwd",
                                     options=["bind", "ro"]))

    def test_races_over_the_source_of_a_bind_in_the_image(self):
        self.race(lambda: self.mount("/tmp", type="bind", source=self.rootfs + "/data", options=["rbind", "ro"]))

    def test_races_over_the_working_directory(self):
        self.race(lambda: self.bundle.config["process"].update(cwd="/data/a/b"))

    def test_races_over_a_copied_up_folder(self):
        os.mkdir(os.path.join(self.rootfs, "data/inner"))
        self.race(lambda: self.mount("/data", type="tmpfs", source="tmpfs", options=["tmpcopyup"]))

    def test_cve_2026_41579_races_over_dev(self):
        """The image's /dev, with no file system of its own on it, is swapped for a symlink to the host."""
        del self.bundle.config["mounts"][1:5]
        os.symlink(self.canary, os.path.join(self.rootfs, "other"))
        self.race_of("dev", "other")

    def test_cve_2025_31133_races_over_the_null_device(self):
        """/dev/null of the image is swapped for a symlink to a file of the host that would be bound over a mask."""
        del self.bundle.config["mounts"][1:5]
        self.bundle.config["linux"]["maskedPaths"] = ["/etc/passwd"]
        os.mknod(os.path.join(self.rootfs, "dev/null"), 0o20666, os.makedev(1, 3))
        os.symlink("../../../../../../.." + self.canary + "/secret", os.path.join(self.rootfs, "dev/other"))
        self.bundle.config["process"]["args"] = ["/bin/cat", "/etc/passwd"]
        self.race_of("dev/null", "dev/other", lambda reply: self.assertNotIn("of the host", reply.stdout))

    def test_cve_2025_52565_races_over_the_console(self):
        """/dev/console of the image is swapped for a symlink to a file of the host, over which the terminal goes."""
        del self.bundle.config["mounts"][1]
        os.makedirs(os.path.join(self.rootfs, "dev/pts"))
        open(os.path.join(self.rootfs, "dev/console"), "w").close()
        os.symlink("../../../../../../.." + self.canary + "/secret", os.path.join(self.rootfs, "dev/other"))
        self.bundle.config["process"]["terminal"] = True
        self.bundle.config["process"]["args"] = ["/bin/true"]
        self.race_of("dev/console", "dev/other")

    def test_races_over_masked_and_read_only_paths(self):
        self.race(lambda: self.bundle.config["linux"].update(maskedPaths=["/data"], readonlyPaths=["/data"]))


if __name__ == "__main__":
    unittest.main()
