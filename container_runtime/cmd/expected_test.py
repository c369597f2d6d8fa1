"""What the suites of other runtimes look at and the other tests do not: the small things that engines rely on."""

import errno
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "testing"))
from bundles import Bundle, Runtime  # noqa: E402
from cases import CRADLE, CradleTest, read, reason_to_skip  # noqa: E402

REASON = reason_to_skip()


@unittest.skipIf(REASON, REASON)
class Expected(CradleTest):
    def test_a_profile_that_denies_close_range_does_not_stop_the_start(self):
        for new_privileges in (True, False):
            self.bundle.config["process"]["noNewPrivileges"] = new_privileges
            self.bundle.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {"names": ["close_range"], "action": "SCMP_ACT_ERRNO"}]}
            reply = self.run_shell("echo ran")
            self.assertEqual((reply.returncode, reply.stdout), (0, "ran\n"), reply.stderr)

    def test_a_container_that_waits_holds_nothing_of_the_host(self):
        self.detached("create")
        folder = f"/proc/{self.pid()}/fd"
        names = {fd: os.readlink(os.path.join(folder, fd)) for fd in os.listdir(folder)}
        extra = {name for fd, name in names.items() if int(fd) > 2}
        self.assertEqual({name for name in extra if not name.startswith(("socket:", "/memfd:cradle"))},
                         {"/proc", os.path.join(self.state, self.id, "exec.fifo")}, names)

    def test_a_container_that_waits_is_ended_by_a_signal(self):
        self.detached("create")
        self.assertEqual(self.cradle("kill", self.id, "TERM").returncode, 0)
        self.wait_for_status("stopped")

    def test_a_second_container_in_a_used_cgroup_is_refused_and_the_first_lives(self):
        self.bundle.config["linux"]["cgroupsPath"] = f"/expected-{os.getpid()}"
        self.detached("run")
        first = self.pid()
        for command in ("create", "run"):
            reply = self.cradle(command, "--bundle", self.bundle.path, self.id + "-2")
            self.assertEqual(reply.returncode, 1)
            self.assertIn("not empty", reply.stderr)
        self.assertEqual(self.cradle.state(self.id)["status"], "running")
        self.assertEqual(self.pid(), first)

    def test_the_last_value_of_a_variable_counts_and_home_has_one(self):
        self.bundle.config["process"]["env"] = ["A=1", "PATH=/bin", "HOME=", "A=2", "HOME="]
        reply = self.run_shell("env")
        lines = reply.stdout.splitlines()
        self.assertEqual(sorted(line for line in lines if line.startswith(("A=", "HOME="))), ["A=2", "HOME=/root"])

    def test_output_of_a_terminal_keeps_its_line_ends(self):
        self.bundle.config["process"]["terminal"] = True
        self.assertEqual(self.run_shell("echo one; echo two").stdout, "one\ntwo\n")

    def test_the_callers_processors_are_not_the_containers(self):
        if os.cpu_count() < 2:
            print("SKIPPED: needs two processors")
            return
        self.bundle.shell("grep Cpus_allowed_list /proc/self/status").write()
        reply = subprocess.run(["taskset", "-c", "0", *self.cradle.command, "run", "--bundle", self.bundle.path,
                                self.id], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertNotEqual(reply.stdout.split()[-1], "0", reply.stderr)

    def test_exec_takes_the_processors_of_its_file(self):
        if os.cpu_count() < 2:
            print("SKIPPED: needs two processors")
            return
        self.detached("run")
        path = os.path.join(self.bundle.path, "process.json")
        for affinity, want in (({"initial": "1"}, "1"), ({"initial": "0", "final": "1"}, "1"), ({"final": "0"}, "0")):
            with open(path, "w") as file:
                json.dump({"args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "env": ["PATH=/bin"],
                           "cwd": "/", "user": {"uid": 0, "gid": 0}, "execCPUAffinity": affinity}, file)
            reply = self.cradle("exec", "--process", path, self.id)
            self.assertEqual(reply.stdout.split()[-1:], [want], reply.stderr)
        with open(path, "w") as file:
            json.dump({"args": ["true"], "env": ["PATH=/bin"], "cwd": "/", "user": {"uid": 0, "gid": 0},
                       "execCPUAffinity": {"initial": "a-b"}}, file)
        reply = self.cradle("exec", "--process", path, self.id)
        self.assertEqual(reply.returncode, 255)
        self.assertIn("process.execCPUAffinity.initial", reply.stderr)

    def test_a_time_namespace_has_its_offsets(self):
        self.bundle.config["linux"]["namespaces"].append({"type": "time"})
        self.bundle.config["linux"]["timeOffsets"] = {"monotonic": {"secs": 7881, "nanosecs": 2718281},
                                                      "boottime": {"secs": 1337, "nanosecs": 3141519}}
        reply = self.run_shell("cat /proc/self/timens_offsets")
        self.assertEqual(reply.stdout.split(), ["monotonic", "7881", "2718281", "boottime", "1337", "3141519"],
                         reply.stderr)

    def user_namespace(self):
        self.bundle.config["linux"]["namespaces"].append({"type": "user"})
        for field in ("uidMappings", "gidMappings"):
            self.bundle.config["linux"][field] = [{"containerID": 0, "hostID": 100000, "size": 65536}]

    def test_a_time_namespace_goes_with_a_user_namespace(self):
        self.user_namespace()
        self.bundle.config["linux"]["namespaces"].append({"type": "time"})
        self.bundle.config["linux"]["timeOffsets"] = {"boottime": {"secs": 7881}}
        self.assertIn("7881", self.run_shell("cat /proc/self/timens_offsets").stdout)

    def test_a_network_of_the_host_goes_with_a_user_namespace(self):
        self.user_namespace()
        keeper = subprocess.Popen(["unshare", "--net", "sleep", "100"], stdin=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 20
            while os.readlink(f"/proc/{keeper.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
                self.assertLess(time.monotonic(), end)
            wanted = os.readlink(f"/proc/{keeper.pid}/ns/net")
            for space in self.bundle.config["linux"]["namespaces"]:
                if space["type"] == "network":
                    space["path"] = f"/proc/{keeper.pid}/ns/net"
            self.assertEqual(self.run_shell("readlink /proc/self/ns/net").stdout.strip(), wanted)
        finally:
            keeper.kill()
            keeper.wait()

    def test_without_pivot_the_hosts_procfs_does_not_show(self):
        capabilities = self.bundle.config["process"]["capabilities"]
        for kind in ("bounding", "permitted", "effective"):
            # The last lets a user namespace have a root.
            capabilities[kind] = ["CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETFCAP"]
        self.bundle.config["process"]["args"] = ["unshare", "-Urmpf", "mount", "-t", "proc", "none", "/proc"]
        self.bundle.write()
        run = ("run", "--no-pivot", "--bundle", self.bundle.path, self.id)
        self.assertIn("permission denied", self.cradle(*run).stderr)
        # The kernel refuses it as no procfs without masks is in sight, and for no other reason.
        self.bundle.config["linux"].update(maskedPaths=[], readonlyPaths=[])
        self.bundle.write()
        self.assertEqual(self.cradle(*run).returncode, 0)

    def test_exec_passes_on_what_the_container_does(self):
        capabilities = self.bundle.config["process"]["capabilities"]
        capabilities["inheritable"] = ["CAP_SYSLOG"]
        capabilities["bounding"].append("CAP_SYSLOG")
        self.detached("run")
        reply = self.cradle("exec", "--cap", "CAP_SYSLOG", "--cap", "CAP_CHOWN", self.id, "grep", "CapAmb",
                            "/proc/self/status")
        self.assertEqual(reply.stdout.split(), ["CapAmb:", "0000000400000000"], reply.stderr)

    def test_an_ambient_capability_that_cannot_be_raised_is_told(self):
        capabilities = self.bundle.config["process"]["capabilities"]
        capabilities["inheritable"] = ["CAP_KILL"]
        capabilities["ambient"] = ["CAP_KILL", "CAP_CHOWN"]
        reply = self.run_shell("grep CapAmb /proc/self/status")
        self.assertEqual((reply.returncode, reply.stdout.split()), (0, ["CapAmb:", "0000000000000020"]))
        self.assertIn("can't raise ambient capability CAP_CHOWN: ", reply.stderr)
        self.assertNotIn("CAP_KILL", reply.stderr)

    def test_a_missing_working_directory_is_made(self):
        self.bundle.config["root"]["readonly"] = False
        self.bundle.config["process"]["cwd"] = "/not/there"
        self.assertEqual(self.run_shell("pwd").stdout, "/not/there\n")

    def test_hooks_find_the_mounts_where_the_bundle_has_the_root(self):
        seen = os.path.join(self.bundle.path, "seen")
        look = f"test -e {self.rootfs}/proc/self && test -e proc/self && echo createContainer >> {seen}"
        enter = (f"pid=$(grep -o '\"pid\":[0-9]*' | cut -d: -f2); nsenter -m -t $pid test -e {self.rootfs}/proc/uptime "
                 f"&& echo createRuntime >> {seen}")
        self.bundle.config["hooks"] = {
            "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", enter], "env": ["PATH=/usr/bin:/bin"]}],
            "createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", look], "env": ["PATH=/usr/bin:/bin"]}]}
        reply = self.run_shell(f"test ! -e {self.rootfs} && echo ran")
        self.assertEqual(reply.stdout, "ran\n", reply.stderr)
        with open(seen) as file:
            self.assertEqual(file.read().split(), ["createRuntime", "createContainer"])

    def test_a_failed_hook_is_told_with_its_place(self):
        for phase in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart"):
            self.bundle.config["hooks"] = {phase: [{"path": "/bin/true"}, {"path": "/bin/false"}]}
            reply = self.run_shell("sleep 1")
            self.assertEqual(reply.returncode, 1, phase)
            self.assertIn(f"error running {phase} hook #1: ", reply.stderr)
            self.assertIsNone(self.cradle.state(self.id))
        self.bundle.config["hooks"] = {"startContainer": [{"path": "/bin/false"}]}
        self.detached("create")
        self.assertIn("error running startContainer hook #0: ", self.cradle("start", self.id).stderr)

    def test_a_failed_poststop_hook_is_a_warning_and_the_next_runs(self):
        ran = os.path.join(self.bundle.path, "ran")
        self.bundle.config["hooks"] = {"poststop": [{"path": "/bin/false"},
                                                    {"path": "/usr/bin/touch", "args": ["touch", ran]}]}
        reply = self.run_shell("true")
        self.assertEqual(reply.returncode, 0)
        self.assertIn("poststop hook #0", reply.stderr)
        self.assertTrue(os.path.exists(ran))

    def test_unbindable_roots_are_made(self):
        for kind in ("unbindable", "runbindable"):
            self.bundle.config["linux"]["rootfsPropagation"] = kind
            reply = self.run_shell("grep ' / / ' /proc/self/mountinfo; grep -c unbindable /proc/self/mountinfo")
            self.assertEqual(reply.returncode, 0, reply.stderr)
            self.assertGreaterEqual(int(reply.stdout.split()[-1]), 1)

    def test_a_read_only_dev_has_a_console(self):
        self.bundle.config["process"]["terminal"] = True
        self.bundle.config["mounts"][1]["options"].append("ro")
        reply = self.run_shell("test -c /dev/console && grep -o ' /dev ro' /proc/self/mountinfo")
        self.assertEqual((reply.returncode, reply.stdout), (0, " /dev ro\n"), reply.stderr)

    def test_a_tmpfs_on_a_missing_place_has_the_kernels_mode(self):
        self.bundle.config["root"]["readonly"] = False
        os.makedirs(os.path.join(self.rootfs, "here"), mode=0o710)
        for place in ("/here", "/not/here"):
            self.bundle.config["mounts"].append({"destination": place, "type": "tmpfs", "source": "tmpfs"})
        self.assertEqual(self.run_shell("stat -c %a /here /not/here").stdout, "710\n1777\n")

    def test_a_bind_of_the_root_sees_the_mounts_before_it(self):
        self.bundle.config["root"]["readonly"] = False
        source = os.path.join(self.tmp, "source")
        os.mkdir(source)
        with open(os.path.join(source, "file"), "w") as file:
            file.write("of the source\n")
        for destination, origin in (("/data", source), ("/again", self.rootfs + "/data"),
                                    (self.rootfs + "/one", self.rootfs + "/data/file")):
            self.bundle.config["mounts"].append({"destination": destination, "type": "bind", "source": origin,
                                                 "options": ["rbind"]})
        self.assertEqual(self.run_shell("cat /again/file /one").stdout, "of the source\n" * 2)

    def test_a_bind_goes_through_dangling_symlinks(self):
        self.bundle.config["root"]["readonly"] = False
        os.symlink("/tmp/foo", os.path.join(self.rootfs, "jump"))
        os.symlink("/jump/baz/hosts", os.path.join(self.rootfs, "etc/hosts"))
        self.bundle.config["mounts"].append({"destination": "/etc/hosts", "type": "bind", "source": "/etc/passwd",
                                             "options": ["bind"]})
        reply = self.run_shell("grep -c root: /tmp/foo/baz/hosts; grep -c ' /tmp/foo/baz/hosts ' /proc/self/mountinfo")
        self.assertEqual(reply.stdout, "1\n1\n", reply.stderr)

    def test_paths_that_are_masked_twice_are_masked_once(self):
        self.bundle.config["linux"]["maskedPaths"] = ["/data", "/data"]
        self.assertEqual(self.run_shell("grep -c ' /data ' /proc/self/mountinfo").stdout, "1\n")

    def test_the_effective_user_may_execute(self):
        path = os.path.join(self.rootfs, "bin/mine")
        shutil.copy(os.path.join(self.rootfs, "bin/busybox"), path)
        os.chmod(path, 0o744)
        process = self.bundle.config["process"]
        process["user"] = {"uid": 1000, "gid": 1000}
        process["args"] = ["/bin/mine", "true"]
        self.bundle.write()
        self.assertEqual(self.cradle("run", "--bundle", self.bundle.path, self.id).returncode, 1)
        for kind in ("bounding", "effective", "permitted", "inheritable", "ambient"):
            process["capabilities"].setdefault(kind, []).append("CAP_DAC_OVERRIDE")
        self.bundle.write()
        # busybox does not know the name "mine", and says so: it ran.
        self.assertIn("applet not found", self.cradle("run", "--bundle", self.bundle.path, self.id).stderr)

    def test_devices_in_a_user_namespace_allow_no_programs(self):
        self.user_namespace()
        for line in self.run_shell("grep -E ' /dev/(null|zero|full) ' /proc/self/mountinfo").stdout.splitlines():
            options = line.split()[5].split(",")
            self.assertTrue({"nosuid", "noexec"} <= set(options), line)

    def test_a_device_may_have_slashes_at_its_end(self):
        self.bundle.config["linux"]["devices"] = [{"type": "c", "path": "/dev/extra//", "major": 1, "minor": 3}]
        self.assertEqual(self.run_shell("test -c /dev/extra && echo yes").stdout, "yes\n")

    def test_a_deadline_scheduler_has_sane_times(self):
        for times, words in (({"deadline": 2, "period": 2}, "requires a runtime"),
                             ({"runtime": 5000, "period": 9000}, "requires a deadline"),
                             ({"runtime": 9000, "deadline": 5000, "period": 9000}, "runtime must be <= deadline"),
                             ({"runtime": 2000, "deadline": 9000, "period": 5000}, "deadline must be <= period"),
                             ({"runtime": 1, "deadline": 9000, "period": 9000}, "must be between")):
            self.bundle.config["process"]["scheduler"] = {"policy": "SCHED_DEADLINE", **times}
            reply = self.run_shell("true")
            self.assertEqual(reply.returncode, 1)
            self.assertIn(words, reply.stderr)

    def test_what_conflicts_with_a_field_is_refused(self):
        self.bundle.config["domainname"] = "a.example"
        self.bundle.config["linux"]["sysctl"] = {"kernel.domainname": "b.example"}
        self.assertIn("conflicts with the OCI 'domainname' field", self.run_shell("true").stderr)

    def test_without_cgroups_there_are_no_limits_and_no_groups(self):
        self.cradle = Runtime(CRADLE, self.state, "--cgroup-manager", "disabled")
        self.bundle.config["linux"]["resources"]["pids"] = {"limit": 1}
        with open("/proc/self/cgroup") as file:
            ours = file.read()
        reply = self.run_shell("cat /proc/self/cgroup")
        self.assertEqual((reply.returncode, reply.stdout), (0, ours), reply.stderr)

    def test_delete_takes_patterns(self):
        self.detached("run")
        self.assertEqual(self.cradle("delete", "--force", "--regex", f"^{self.id}$").returncode, 0)
        self.assertIsNone(self.cradle.state(self.id))
        self.assertEqual(self.cradle("delete", "--regex", "(").returncode, 1)

    def test_a_log_that_cannot_be_written_stops_everything(self):
        cradle = Runtime(CRADLE, self.state, "--log", "/proc/nothing/log")
        self.bundle.shell("true").write()
        reply = cradle("run", "--bundle", self.bundle.path, self.id)
        self.assertEqual(reply.returncode, 1)
        self.assertIn("open log file", reply.stderr)

    def test_an_error_in_json_has_its_parts(self):
        log = os.path.join(self.tmp, "log")
        self.cradle = Runtime(CRADLE, self.state, "--log", log, "--log-format", "json")
        cases = (
            (lambda config: config["process"].update(args=["/not/there"]), "NOT_FOUND", "find-program", "", 2,
             'exec: "/not/there"'),
            (lambda config: config["mounts"].append({"destination": "/data", "type": "nonsense", "source": "x"}),
             "NOT_FOUND", "new-mount", "fsopen", 19, "/data"),
            (lambda config: config["process"].update(cwd="here"), "INVALID_ARGUMENT", "run", "", 0, "process.cwd"))
        for change, code, phase, syscall, number, object_ in cases:
            self.bundle.remove()
            self.bundle = Bundle(self.rootfs)
            change(self.bundle.config)
            self.bundle.write()
            self.assertEqual(self.cradle("run", "--bundle", self.bundle.path, self.id).returncode, 1)
            with open(log) as file:
                entry = json.loads(file.readlines()[-1])
            self.assertEqual((entry["phase"], entry["syscall"], entry["errno"]), (phase, syscall, number), entry)
            self.assertEqual(entry["code"], code, entry)
            self.assertIn(object_, entry["object"], entry)
            self.assertEqual({"level", "msg", "time", "code", "phase", "syscall", "errno", "object", "hint"},
                             set(entry))

    def manager(self):
        """A service manager's socket, and the environment that names it."""
        path = os.path.join(self.tmp, "manager")
        server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        server.bind(path)
        server.settimeout(20)
        self.addCleanup(server.close)
        return server, {**os.environ, "NOTIFY_SOCKET": path}

    def test_a_program_tells_the_service_manager_that_it_is_ready(self):
        server, env = self.manager()
        # busybox has no program that sends datagrams to a path; the test does it through the container's root.
        self.bundle.shell("echo $NOTIFY_SOCKET; sleep 100").write()
        run = subprocess.Popen([*self.cradle.command, "run", "--bundle", self.bundle.path, self.id],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=env)
        inside = run.stdout.readline().strip()
        self.assertEqual(inside, env["NOTIFY_SOCKET"] + "/notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(f"/proc/{self.pid()}/root{inside}")
            client.send(b"STATUS=almost\n")
            client.send(b"STATUS=there\nREADY=1\n")
        self.assertEqual(server.recv(1000), f"READY=1\nMAINPID={self.pid()}".encode())
        self.cradle("kill", self.id, "KILL")
        self.assertEqual(run.wait(20), 137)
        run.stdout.close()

    def test_start_waits_until_the_program_is_ready_or_gone(self):
        server, env = self.manager()
        self.bundle.shell("while ! test -e $NOTIFY_SOCKET; do sleep 0.01; done; sleep 100").write()
        with open(os.devnull, "r+") as null:
            subprocess.run([*self.cradle.command, "create", "--bundle", self.bundle.path, self.id], stdin=null,
                           stdout=null, stderr=null, check=True, env=env)
        for ready in (True, False):
            start = subprocess.Popen([*self.cradle.command, "start", self.id], env=env)
            self.wait_for_status("running")
            self.assertIsNone(start.poll())
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                if ready:
                    client.connect(os.path.join(self.state, self.id, "notify/notify"))
                    client.send(b"READY=1")
                    self.assertIn(b"READY=1", server.recv(1000))
                else:
                    self.cradle("kill", self.id, "KILL")
            self.assertEqual(start.wait(20), 0)
            self.cradle("delete", "--force", self.id)
            with open(os.devnull, "r+") as null:
                subprocess.run([*self.cradle.command, "create", "--bundle", self.bundle.path, self.id], stdin=null,
                               stdout=null, stderr=null, check=True, env=env)

    def test_sockets_of_the_service_manager_are_passed_on(self):
        self.bundle.shell("echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; cat <&3").write()
        read, write = os.pipe()
        os.write(write, b"passed\n")
        os.close(write)
        reply = subprocess.run(["sh", "-c", f'exec "$@" 3<&{read}', "sh", *self.cradle.command, "run", "--bundle",
                                self.bundle.path, self.id], pass_fds=[read], capture_output=True, text=True,
                               stdin=subprocess.DEVNULL, timeout=60,
                               env={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"})
        os.close(read)
        self.assertEqual(reply.stdout, "1 1 web\npassed\n", reply.stderr)

    def test_a_seccomp_agent_answers_calls(self):
        path = os.path.join(self.tmp, "agent")
        notify = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "data",
                  "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]}
        self.bundle.config["linux"]["seccomp"] = notify
        self.assertIn("failed to connect with seccomp agent", self.run_shell("true").stderr)
        for new_privileges in (True, False):
            self.bundle.config["process"]["noNewPrivileges"] = new_privileges
            self.bundle.shell("mkdir /tmp/made; echo $?").write()
            with socket.socket(socket.AF_UNIX) as listener:
                if os.path.exists(path):
                    os.unlink(path)
                listener.bind(path)
                listener.listen(1)
                listener.settimeout(20)
                run = subprocess.Popen([*self.cradle.command, "run", "--bundle", self.bundle.path, self.id],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                connection, _ = listener.accept()
                message, descriptors, _, _ = socket.recv_fds(connection, 100000, 2)
                connection.close()
            state = json.loads(message)
            self.assertEqual((state["fds"], state["metadata"], state["state"]["id"], state["state"]["status"]),
                             (["seccompFd"], "data", self.id, "creating"))
            self.assertEqual(len(descriptors), 1)
            # struct seccomp_notif: id, pid, flags, then the call; seccomp_notif_resp: id, value, error, flags.
            request = bytearray(80)
            fcntl.ioctl(descriptors[0], 0xC0502100, request)
            fcntl.ioctl(descriptors[0], 0xC0182101, bytearray(request[:8] + struct.pack("<qiI", 0, -errno.EXDEV, 0)))
            os.close(descriptors[0])
            output, errors = run.communicate(timeout=20)
            self.assertIn("Invalid cross-device link", errors)
            self.assertEqual(output, "1\n")

    def test_an_id_mapped_mount_shows_other_owners(self):
        source = os.path.join(self.tmp, "source")
        os.mkdir(source)
        open(os.path.join(source, "file"), "w").close()
        os.chown(os.path.join(source, "file"), 1000, 1001)
        self.bundle.config["mounts"].append({
            "destination": "/data", "type": "bind", "source": source, "options": ["bind", "idmap"],
            "uidMappings": [{"containerID": 1000, "hostID": 7000, "size": 10}],
            "gidMappings": [{"containerID": 1000, "hostID": 8000, "size": 10}]})
        reply = self.run_shell("stat -c %u:%g /data/file")
        if "mount_setattr" in reply.stderr and "invalid argument" in reply.stderr:
            print("SKIPPED: the file system of /tmp has no id-mapped mounts")
            return
        self.assertEqual(reply.stdout, "7000:8001\n", reply.stderr)

    def test_an_id_mapped_mount_takes_the_maps_of_a_user_namespace_that_is_joined(self):
        source = os.path.join(self.tmp, "source")
        os.mkdir(source)
        open(os.path.join(source, "file"), "w").close()
        os.chown(os.path.join(source, "file"), 1000, 1001)
        self.user_namespace()
        self.detached("run")
        linux = self.bundle.config["linux"]
        del linux["uidMappings"], linux["gidMappings"]
        for space in linux["namespaces"]:
            if space["type"] == "user":
                space["path"] = f"/proc/{self.cradle.state(self.id)['pid']}/ns/user"
        self.bundle.config["mounts"].append(
            {"destination": "/data", "type": "bind", "source": source, "options": ["bind", "idmap"]})
        self.bundle.shell("stat -c %u:%g /data/file").write()
        reply = self.cradle("run", "--bundle", self.bundle.path, self.id + "-joined")
        if "mount_setattr" in reply.stderr and "invalid argument" in reply.stderr:
            print("SKIPPED: the file system of /tmp has no id-mapped mounts")
            return
        self.assertEqual(reply.stdout, "1000:1001\n", reply.stderr)

    def test_shares_of_caches_are_refused_where_the_kernel_has_none(self):
        if " resctrl " in read("/proc/self/mountinfo"):
            print("SKIPPED: this machine has resctrl")
            return
        self.bundle.config["linux"]["intelRdt"] = {"l3CacheSchema": "L3:0=f"}
        reply = self.run_shell("true")
        self.assertEqual(reply.returncode, 1)
        self.assertIn("linux.intelRdt: this machine has no resctrl file system mounted", reply.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.state, self.id)))
        del self.bundle.config["linux"]["intelRdt"]
        self.detached("run")
        reply = self.cradle("update", "--l3-cache-schema", "L3:0=f", self.id)
        self.assertEqual(reply.returncode, 1)
        self.assertIn("no resctrl file system", reply.stderr)

    def test_names_of_fields_are_taken_in_another_case_as_by_engines(self):
        self.bundle.config["Hostname"] = self.bundle.config.pop("hostname")
        self.bundle.config["linux"]["MaskedPaths"] = ["/etc/passwd"]
        del self.bundle.config["linux"]["maskedPaths"]
        self.assertEqual(self.run_shell("hostname; cat /etc/passwd").stdout, "box\n")

    def test_a_hook_that_fails_inside_tells_how_and_what_it_said(self):
        for hook, args, words in (("startContainer", ["sh", "-c", "echo why >&2; exit 7"], "exit status 7, stdout and stderr: why"),
                                  ("createContainer", ["sh", "-c", "echo why; kill -9 $$"],
                                   "signal: killed, stdout and stderr: why"),
                                  ("startContainer", ["sh", "-c", "yes long | head -c 9000; exit 1"], "long")):
            self.bundle.config["hooks"] = {hook: [{"path": "/bin/sh", "args": args, "env": ["PATH=/bin:/usr/bin"]}]}
            reply = self.run_shell("true")
            self.assertEqual(reply.returncode, 1)
            self.assertIn(f"error running {hook} hook #0: '/bin/sh': ", reply.stderr)
            self.assertIn(words, reply.stderr)

    def test_access_a_of_a_device_denies_all_and_allows_nothing_more(self):
        device = {"type": "c", "major": 1, "minor": 11}
        self.bundle.config["linux"]["devices"] = [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]
        for rules in (({"allow": True, "access": "rwm", **device}, {"allow": False, "access": "wa", **device}),
                      ({"allow": True, "access": "ma", **device},)):
            self.bundle.config["linux"]["resources"]["devices"] = [{"allow": False, "access": "rwm"}, *rules]
            self.assertIn("not permitted", self.run_shell("head -c 1 /dev/kmsg").stderr)

    def test_messages_for_debugging_go_where_the_log_goes(self):
        log = os.path.join(self.tmp, "log")
        self.bundle.shell("true").write()
        for form, words in (("text", "level=debug"), ("json", '"level":"debug"')):
            cradle = Runtime(CRADLE, self.state, "--debug", "--log", log, "--log-format", form)
            self.assertEqual(cradle("run", "--bundle", self.bundle.path, self.id).stderr, "")
            with open(log) as file:
                self.assertIn(words, file.read())
        cradle = Runtime(CRADLE, self.state, "--debug")
        self.assertIn("level=debug", cradle("run", "--bundle", self.bundle.path, self.id).stderr)

    def test_every_command_has_a_help_text_in_the_common_form(self):
        for command in "create delete events exec kill list pause ps resume run spec start state update features".split():
            lines = self.cradle(command, "--help").stdout.splitlines()
            self.assertEqual(lines[0], "NAME:")
            self.assertIn(f"cradle {command} - ", lines[1])
        self.assertEqual(self.cradle("--help").stdout.splitlines()[0], "NAME:")
        self.assertIn("No help topic for 'nothing'", self.cradle("nothing", "-h").stderr)


if __name__ == "__main__":
    unittest.main()
