"""podman and containerd drive cradle, with state, sockets and cgroups of their own.

Every line of what engines are used for: run, -it, exec, logs, stop, kill, pause, update, stats, health checks, user
namespaces, read-only roots, capabilities, seccomp profiles, limits, volumes with propagation, --init. The image is
busybox; nothing is fetched. KEELSON_RUNTIME names another runtime, to see what the engines do with that.
"""

import contextlib
import glob
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "testing"))
from bundles import BUSYBOX, TMP, make_rootfs  # noqa: E402
from cases import CRADLE, read, reason_to_skip  # noqa: E402

REASON = reason_to_skip(podman="podman", conmon="conmon", containerd="containerd", ctr="containerd")
RUNTIME = os.environ.get("KEELSON_RUNTIME", CRADLE)
MIB = 1 << 20
# Podman gives containers more descriptors than root may have on some machines.
FEW = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")
UNIFIED = os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def in_terminal(command, typed, seconds=60):
    """What `command` says in a terminal in which `typed` is typed, and its status."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(TMP)
        os.execvp(command[0], command)
    os.write(master, typed.encode())
    said, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        if not select.select([master], [], [], 1)[0]:
            continue
        try:
            chunk = os.read(master, 4096)
        except OSError:  # The last user of the terminal is gone.
            break
        said += chunk
        if not chunk:
            break
    _, status = os.waitpid(pid, 0)
    os.close(master)
    return said.decode(errors="replace"), os.waitstatus_to_exitcode(status)


def remove_cgroups(*names):
    """Folders that engines make above those of containers, and leave; who still uses one keeps it."""
    for name in names:
        for folder in glob.glob(f"/sys/fs/cgroup/{name}") + glob.glob(f"/sys/fs/cgroup/*/{name}"):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


class EngineTest(unittest.TestCase):
    def call(self, *arguments, timeout=120, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        # conmon leaves a file where it is started.
        options.setdefault("cwd", self.tmp)
        return subprocess.run([*self.command, *arguments], capture_output=True, text=True, timeout=timeout, **options)

    def ok(self, *arguments, **options):
        reply = self.call(*arguments, **options)
        self.assertEqual(reply.returncode, 0, f"{arguments}: {reply.stdout}{reply.stderr}")
        return reply.stdout

    def wait_until(self, what, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if what():
                return
            time.sleep(0.05)
        self.fail("it did not happen in time")


@unittest.skipIf(REASON, REASON)
class Podman(EngineTest):
    @classmethod
    def setUpClass(cls):
        cls.tmp = tempfile.mkdtemp(prefix="podman", dir=TMP)
        rootfs = os.path.join(cls.tmp, "rootfs")
        make_rootfs(rootfs)
        with tarfile.open(os.path.join(cls.tmp, "image.tar"), "w") as archive:
            archive.add(rootfs, ".")
        cls.command = ["podman", f"--root={cls.tmp}/store", f"--runroot={cls.tmp}/run", f"--tmpdir={cls.tmp}/tmp",
                       "--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file",
                       f"--runtime={RUNTIME}"]
        subprocess.run([*cls.command, "import", os.path.join(cls.tmp, "image.tar"), "box:latest"], check=True,
                       capture_output=True, timeout=120)

    @classmethod
    def tearDownClass(cls):
        subprocess.run([*cls.command, "system", "reset", "--force"], capture_output=True, timeout=300, check=False)
        subprocess.run(["umount", "-l", f"{cls.tmp}/store/vfs"], capture_output=True, check=False)
        remove_cgroups("libpod_parent/conmon", "libpod_parent")
        shutil.rmtree(cls.tmp, ignore_errors=True)

    def setUp(self):
        self.name = f"engine-{os.getpid()}-{self._testMethodName[5:20]}"

    def tearDown(self):
        self.call("rm", "--force", "--time=0", self.name)

    def words(self, *flags, detach=False):
        # Without a network of the engine's making: its set-up is not the runtime's.
        return ["run", *(["--detach"] if detach else []), "--name", self.name, "--network=none", *FEW, *flags, "box"]

    def run_shell(self, script, *flags):
        return self.ok(*self.words("--rm", *flags), "sh", "-c", script)

    def detached(self, script, *flags):
        return self.ok(*self.words(*flags, detach=True), "sh", "-c", script).strip()

    def inspect(self, template):
        return self.ok("inspect", "--format", template, self.name).strip()

    def test_run_gives_output_and_status(self):
        reply = self.call(*self.words("--rm", "--hostname=inside", "--env=A=b", "--workdir=/tmp"), "sh", "-c",
                          "hostname; echo $A; pwd; echo error >&2; exit 7")
        self.assertEqual((reply.returncode, reply.stdout, reply.stderr), (7, "inside\nb\n/tmp\n", "error\n"))
        self.assertEqual(self.call(*self.words("--rm"), "/no/such/program").returncode, 127)
        self.assertEqual(self.call(*self.words("--rm"), "/etc/passwd").returncode, 126)

    def test_run_with_a_terminal(self):
        said, status = in_terminal([*self.command, *self.words("--rm", "-it"), "sh"],
                                   "tty; stty size; exit 5\n")
        self.assertEqual(status, 5, said)
        self.assertIn("/dev/pts/0", said)

    def test_exec_joins_and_logs_are_kept(self):
        self.detached("echo first; echo second >&2; sleep 1000", "--env=A=b")
        self.wait_until(lambda: "first" in self.ok("logs", self.name))
        reply = self.call("logs", self.name)
        self.assertEqual((reply.stdout, reply.stderr), ("first\n", "second\n"))
        self.assertEqual(self.ok("exec", "--env=C=d", "--workdir=/tmp", self.name, "sh", "-c", "echo $A$C; pwd"),
                         "bd\n/tmp\n")
        self.assertEqual(self.ok("exec", "--user=12:34", self.name, "sh", "-c", "id -u; id -g"), "12\n34\n")
        self.assertEqual(self.call("exec", self.name, "sh", "-c", "exit 9").returncode, 9)
        said, status = in_terminal([*self.command, "exec", "-it", self.name, "sh"], "tty; exit 4\n")
        self.assertEqual(status, 4, said)
        self.assertIn("/dev/pts/", said)
        self.ok("exec", "--detach", self.name, "touch", "/tmp/made")
        self.wait_until(lambda: self.call("exec", self.name, "test", "-e", "/tmp/made").returncode == 0)
        self.assertIn("sleep 1000", self.ok("top", self.name, "args"))

    def test_stop_asks_first_and_kill_takes_any_signal(self):
        self.detached("trap 'echo asked; exit 3' TERM; while :; do sleep 0.1; done")
        self.ok("stop", "--time=20", self.name)
        self.assertEqual(self.inspect("{{.State.ExitCode}}"), "3")
        self.assertIn("asked", self.ok("logs", self.name))
        self.ok("start", self.name)
        self.ok("kill", "--signal=KILL", self.name)
        self.wait_until(lambda: self.inspect("{{.State.Status}}") == "exited")
        self.assertEqual(self.inspect("{{.State.ExitCode}}"), "137")
        self.ok("start", self.name)
        self.ok("kill", "--signal=TERM", self.name)
        self.wait_until(lambda: self.inspect("{{.State.ExitCode}}") == "3")

    def test_pause_stops_and_unpause_goes_on(self):
        self.detached("i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done")
        self.ok("pause", self.name)
        self.assertEqual(self.inspect("{{.State.Status}}"), "paused")
        before = self.ok("logs", self.name)
        time.sleep(0.5)
        self.assertEqual(self.ok("logs", self.name), before)
        self.assertNotEqual(self.call("exec", self.name, "true").returncode, 0)
        self.ok("unpause", self.name)
        self.wait_until(lambda: len(self.ok("logs", self.name)) > len(before))

    def test_update_changes_limits(self):
        container = self.detached("sleep 1000", "--memory=64m")
        # The engine's own command came with version 4.4; what it calls is the runtime's.
        if self.call("update", "--help").returncode == 0:
            self.ok("update", "--memory=48m", "--memory-swap=96m", self.name)
        else:
            print("this podman has no update; the runtime's is called in its place")
            subprocess.run([RUNTIME, "update", "--memory", "48m", "--memory-swap", "96m", container], check=True, timeout=60)
        file = "memory.max" if UNIFIED else "memory/memory.limit_in_bytes"
        self.assertEqual(self.ok("exec", self.name, "cat", f"/sys/fs/cgroup/{file}"), f"{48 * MIB}\n")

    def test_stats_count(self):
        self.detached("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 1000", "--memory=64m")
        self.wait_until(lambda: json.loads(self.ok("stats", "--no-stream", "--format=json", self.name))[0]["pids"] != "0")
        stats = json.loads(self.ok("stats", "--no-stream", "--format=json", self.name))[0]
        self.assertTrue(stats["mem_usage"].endswith("/ 67.11MB"), stats)
        self.assertNotEqual(stats["cpu_time"], "0s")

    def test_health_checks_run_inside(self):
        self.detached("sleep 1000", "--health-cmd=test -e /tmp/well", "--health-interval=disable", "--health-retries=1")
        self.assertNotEqual(self.call("healthcheck", "run", self.name).returncode, 0)
        self.ok("exec", self.name, "touch", "/tmp/well")
        self.ok("healthcheck", "run", self.name)
        self.assertEqual(self.inspect("{{.State.Health.Status}}"), "healthy")

    def test_a_user_namespace(self):
        maps = ("--uidmap=0:200000:65536", "--gidmap=0:300000:65536")
        script = "id -u; tr -s ' ' </proc/self/uid_map; tr -s ' ' </proc/self/gid_map; touch /tmp/x && stat -c %u:%g /tmp/x"
        self.assertEqual(self.run_shell(script, *maps), "0\n 0 200000 65536\n 0 300000 65536\n0:0\n")

    def test_userns_auto(self):
        lines = {"/etc/subuid": "containers:400000:131072\n", "/etc/subgid": "containers:400000:131072\n"}
        files = {}
        for path, text in lines.items():
            files[path] = os.path.join(self.tmp, os.path.basename(path))
            with open(files[path], "w") as file:
                file.write(text)
        binds = "; ".join(f"mount --bind {mine} {theirs}" for theirs, mine in files.items())
        reply = subprocess.run(["unshare", "--mount", "sh", "-c", f'{binds}; exec "$@"', "sh", *self.command,
                                *self.words("--rm", "--userns=auto:size=1024"), "sh", "-c",
                                "id -u; tr -s ' ' </proc/self/uid_map"],
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, cwd=self.tmp)
        self.assertRegex(reply.stdout, r"^0\n 0 4\d{5} 1024\n$", reply.stderr)

    def test_a_read_only_root(self):
        script = "touch /x 2>&1; touch /etc/x 2>&1; echo a >/tmp/y && cat /tmp/y"
        said = self.run_shell(script, "--read-only", "--tmpfs=/tmp:rw,size=1m")
        self.assertEqual(said.count("Read-only file system"), 2)
        self.assertTrue(said.endswith("a\n"))

    def test_capabilities_are_added_and_dropped(self):
        def effective(*flags):
            return int(re.search(r"CapEff:\s+(\w+)", self.run_shell("cat /proc/self/status", *flags))[1], 16)
        chown, net_admin = 1 << 0, 1 << 12
        self.assertTrue(effective() & chown)
        self.assertFalse(effective() & net_admin)
        self.assertTrue(effective("--cap-add=NET_ADMIN") & net_admin)
        self.assertFalse(effective("--cap-drop=CHOWN") & chown)
        self.assertEqual(effective("--cap-drop=all"), 0)
        self.assertEqual(effective("--cap-drop=all", "--cap-add=CHOWN"), chown)

    def test_a_seccomp_profile(self):
        profile = os.path.join(self.tmp, "profile.json")
        with open(profile, "w") as file:
            json.dump({"defaultAction": "SCMP_ACT_ALLOW",
                       "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}, file)
        self.assertIn("not supported", self.run_shell("mkdir /tmp/d 2>&1 || true", f"--security-opt=seccomp={profile}"))
        status = "grep ^Seccomp: /proc/self/status"
        self.assertEqual(self.run_shell(status).split()[1], "2")
        self.assertEqual(self.run_shell(status, "--security-opt=seccomp=unconfined").split()[1], "0")
        self.assertEqual(self.run_shell("grep NoNewPrivs /proc/self/status", "--security-opt=no-new-privileges").split()[1],
                         "1")

    def test_limits_act(self):
        eat = "head -c 100m /dev/zero | tail >/dev/null; echo status $?"
        # The kernel may take the shell as well.
        reply = self.call(*self.words("--rm", "--memory=24m", "--memory-swap=24m"), "sh", "-c", eat)
        self.assertTrue("status 137" in reply.stdout or reply.returncode == 137, reply)
        self.assertIn("status 0", self.run_shell(eat, "--memory=320m"))
        fork = "for i in 1 2 3 4 5 6 7 8 9; do sleep 2 & done; echo all"
        reply = self.call(*self.words("--rm", "--pids-limit=5"), "sh", "-c", fork)
        self.assertIn("fork", reply.stderr)
        file = "cpu.max" if UNIFIED else "cpu.cfs_quota_us"
        folder = "/sys/fs/cgroup" if UNIFIED else "/sys/fs/cgroup/cpu"
        self.assertIn("50000", self.run_shell(f"cat {folder}/{file}", "--cpus=0.5"))

    def test_volumes_have_options_and_propagation(self):
        outside = tempfile.mkdtemp(dir=self.tmp)
        with open(os.path.join(outside, "file"), "w") as file:
            file.write("seen\n")
        self.assertEqual(self.run_shell("cat /v/file; echo new >/v/made", f"--volume={outside}:/v"), "seen\n")
        self.assertEqual(read(os.path.join(outside, "made")), "new\n")
        self.assertIn("Read-only", self.run_shell("touch /v/x 2>&1 || true", f"--volume={outside}:/v:ro"))
        self.ok("volume", "create", self.name)
        self.run_shell("echo kept >/v/f", f"--volume={self.name}:/v")
        self.assertEqual(self.run_shell("cat /v/f", f"--volume={self.name}:/v"), "kept\n")
        self.ok("volume", "rm", self.name)

    def test_mounts_of_the_host_arrive_in_a_slave_and_go_back_from_a_shared_one(self):
        # In a mount namespace of its own: what is mounted here is nobody else's business.
        outside = tempfile.mkdtemp(dir=self.tmp)
        for name in ("in", "out"):
            os.mkdir(os.path.join(outside, name))
        podman = " ".join(self.command)
        flags = f"--name {self.name} --network=none {' '.join(FEW)}"
        script = f"""
            mount --bind {outside} {outside} && mount --make-shared {outside}
            {podman} run -d {flags} --volume={outside}:/v:rslave box sleep 1000 >/dev/null
            mount -t tmpfs tmpfs {outside}/in && touch {outside}/in/arrived
            {podman} exec {self.name} ls /v/in
            {podman} rm -f -t 0 {self.name} >/dev/null
            umount {outside}/in
            {podman} run -d {flags} --cap-add=SYS_ADMIN --volume={outside}:/v:rshared box sleep 1000 >/dev/null
            {podman} exec {self.name} mount -t tmpfs tmpfs /v/out
            grep -c ' {outside}/out ' /proc/self/mountinfo
            {podman} rm -f -t 0 {self.name} >/dev/null"""
        reply = subprocess.run(["unshare", "--mount", "sh", "-c", script], stdin=subprocess.DEVNULL, capture_output=True,
                               text=True, timeout=120, cwd=self.tmp)
        self.assertEqual(reply.stdout, "arrived\n1\n", reply.stderr)

    def test_an_init_reaps(self):
        # Any program with the name of one is process 1 and gets the command.
        init = os.path.join(self.tmp, "init")
        with open(init, "w") as file:
            file.write("#!/bin/sh\nshift\nexec \"$@\"\n")
        os.chmod(init, 0o755)
        path = shutil.which("catatonit") or init
        said = self.run_shell("cat /proc/1/cmdline | tr '\\0' ' '", "--init", f"--init-path={path}")
        self.assertTrue("init" in said or path == init, said)

    def test_nothing_is_left(self):
        container = self.detached("sleep 1000")
        self.ok("rm", "--force", "--time=0", self.name)
        for folder, names, _ in os.walk("/sys/fs/cgroup"):
            self.assertFalse([name for name in names if container in name], folder)
        self.assertFalse(os.path.exists(f"/run/cradle/{container}"))


CONTAINERD = """version = 2
root = "{tmp}/root"
state = "{tmp}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{tmp}/sock"
"""


@unittest.skipIf(REASON, REASON)
class Containerd(EngineTest):
    @classmethod
    def setUpClass(cls):
        cls.tmp = tempfile.mkdtemp(prefix="ctrd", dir=TMP)
        os.chmod(cls.tmp, 0o711)
        cls.rootfs = os.path.join(cls.tmp, "rootfs")
        make_rootfs(cls.rootfs)
        with open(os.path.join(cls.tmp, "config.toml"), "w") as file:
            file.write(CONTAINERD.format(tmp=cls.tmp))
        with open(os.path.join(cls.tmp, "log"), "w") as log:
            cls.daemon = subprocess.Popen(["containerd", "--config", f"{cls.tmp}/config.toml"], stdout=log, stderr=log,
                                          stdin=subprocess.DEVNULL)
        cls.command = ["ctr", "--address", f"{cls.tmp}/sock", "--namespace", f"engines-{os.getpid()}"]
        end = time.monotonic() + 60
        while subprocess.run([*cls.command, "version"], capture_output=True, check=False).returncode != 0:
            if time.monotonic() > end:
                raise RuntimeError(read(os.path.join(cls.tmp, "log")))
            time.sleep(0.1)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.terminate()
        cls.daemon.wait(timeout=60)
        remove_cgroups(cls.command[-1])
        shutil.rmtree(cls.tmp, ignore_errors=True)

    def setUp(self):
        self.name = f"engine-{self._testMethodName[5:20].strip('_')}"

    def tearDown(self):
        self.call("task", "kill", "--signal", "KILL", "--all", self.name)
        self.call("task", "delete", "--force", self.name)
        self.call("container", "delete", self.name)

    def words(self, *flags):
        return ["run", "--runc-binary", RUNTIME, *flags, "--rootfs", self.rootfs, self.name]

    def run_shell(self, script, *flags):
        return self.ok(*self.words("--rm", *flags), "sh", "-c", script)

    def detached(self, script, *flags):
        self.ok(*self.words("--detach", *flags), "sh", "-c", script)

    def status(self):
        for line in self.ok("task", "list").splitlines():
            fields = line.split()
            if fields[0] == self.name:
                return fields[2]
        return None

    def test_run_gives_output_and_status(self):
        reply = self.call(*self.words("--rm", "--env", "A=b", "--cwd", "/tmp"), "sh", "-c", "echo $A; pwd; exit 7")
        self.assertEqual((reply.returncode, reply.stdout), (7, "b\n/tmp\n"), reply.stderr)
        reply = self.call(*self.words("--rm"), "/no/such/program")
        self.assertNotEqual(reply.returncode, 0)
        self.assertIn("no such file or directory", reply.stderr)

    def test_run_with_a_terminal(self):
        said, status = in_terminal([*self.command, *self.words("--rm", "--tty"), "sh"], "tty; exit 5\n")
        self.assertEqual(status, 5, said)
        self.assertIn("/dev/pts/0", said)

    def test_exec_pause_and_kill(self):
        self.detached("while :; do sleep 0.1; done")
        said = self.ok("task", "exec", "--exec-id", "one", self.name, "sh", "-c", "echo joined; grep -c . /proc/1/cmdline")
        self.assertTrue(said.startswith("joined\n"))
        self.assertEqual(self.call("task", "exec", "--exec-id", "two", self.name, "sh", "-c", "exit 9").returncode, 9)
        said, status = in_terminal([*self.command, "task", "exec", "--tty", "--exec-id", "three", self.name, "sh"],
                                   "tty; exit 4\n")
        self.assertEqual(status, 4, said)
        self.ok("task", "pause", self.name)
        self.assertEqual(self.status(), "PAUSED")
        self.ok("task", "resume", self.name)
        self.assertEqual(self.status(), "RUNNING")
        self.assertGreater(len(self.ok("task", "ps", self.name).splitlines()), 1)
        self.ok("task", "kill", "--signal", "KILL", self.name)
        self.wait_until(lambda: self.status() == "STOPPED")
        self.ok("task", "delete", self.name)

    def test_metrics_count(self):
        self.detached("sleep 1000", "--memory-limit", str(64 * MIB))
        said = self.ok("task", "metrics", self.name)
        self.assertRegex(said, r"memory\.\w+ +\d+")
        self.assertRegex(said, r"pids\.current +[1-9]")

    def test_limits_act(self):
        eat = "head -c 100m /dev/zero | tail >/dev/null; echo status $?"
        self.assertIn("status 0", self.run_shell(eat, "--memory-limit", str(320 * MIB)))
        reply = self.call(*self.words("--rm", "--memory-limit", str(24 * MIB)), "sh", "-c", eat)
        self.assertTrue("status 137" in reply.stdout or reply.returncode == 137, reply)
        self.detached("sleep 1000", "--cpus", "0.5")
        self.assertIn("50000", read(self.cgroup_file("cpu.max", "cpu.cfs_quota_us")))

    def cgroup_file(self, *names):
        for folder, folders, _ in os.walk("/sys/fs/cgroup"):
            for name in names:
                path = os.path.join(folder, self.name, name)
                if self.name in folders and os.path.exists(path):
                    return path
        return None

    def test_an_update_changes_a_limit(self):
        self.detached("sleep 1000", "--memory-limit", str(64 * MIB))
        # What the shim does for an Update call: `update --resources=-`, in the folder that is its own.
        root = f"/run/containerd/runc/{self.command[-1]}"
        self.assertTrue(os.path.isdir(os.path.join(root, self.name)))
        subprocess.run([RUNTIME, "--root", root, "update", "--resources=-", self.name], check=True, timeout=60, text=True,
                       input=json.dumps({"memory": {"limit": 48 * MIB, "swap": 96 * MIB}}))
        self.assertEqual(read(self.cgroup_file("memory.max", "memory.limit_in_bytes")), f"{48 * MIB}\n")

    def test_read_only_capabilities_and_seccomp(self):
        self.assertIn("Read-only", self.run_shell("touch /x 2>&1 || true", "--read-only"))
        status = self.run_shell("cat /proc/self/status", "--cap-add", "CAP_NET_ADMIN", "--cap-drop", "CAP_CHOWN", "--seccomp")
        effective = int(re.search(r"CapEff:\s+(\w+)", status)[1], 16)
        self.assertTrue(effective & (1 << 12))
        self.assertFalse(effective & 1)
        self.assertRegex(status, r"Seccomp:\s+2")

    def test_mounts(self):
        outside = tempfile.mkdtemp(dir=self.tmp)
        with open(os.path.join(outside, "file"), "w") as file:
            file.write("seen\n")
        mount = f"type=bind,src={outside},dst=/v,options=rbind:ro:rslave"
        self.assertIn("seen\n", self.run_shell("cat /v/file; touch /v/x 2>&1 || true", "--mount", mount))
        self.assertFalse(os.path.exists(os.path.join(outside, "x")))


if __name__ == "__main__":
    unittest.main(verbosity=2)
