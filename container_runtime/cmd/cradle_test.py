"""cradle as engines call it: the life of a container, what is refused in which state, and what is left behind."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "testing"))
from bundles import Bundle, Runtime  # noqa: E402
from cases import CRADLE, CradleTest, reason_to_skip  # noqa: E402

REASON = reason_to_skip()


def cgroups_named(name):
    found = []
    for folder, folders, _ in os.walk("/sys/fs/cgroup"):
        found += [os.path.join(folder, f) for f in folders if f == name]
    return found


@unittest.skipIf(REASON, REASON)
class Cradle(CradleTest):
    def tearDown(self):
        super().tearDown()
        self.assertEqual(cgroups_named(self.id), [])
        self.assertFalse(os.path.exists(os.path.join(self.state, self.id)))

    def ok(self, *arguments, **options):
        reply = self.cradle(*arguments, **options)
        self.assertEqual(reply.returncode, 0, reply.stderr)
        return reply.stdout

    def refused(self, words, *arguments, code=1):
        reply = self.cradle(*arguments)
        self.assertEqual(reply.returncode, code, reply.stdout)
        self.assertIn(words, reply.stderr)

    def create(self, script="sleep 100", **options):
        self.bundle.shell(script).write()
        # The container keeps the streams it is given, so they are no pipes that would be waited for.
        with open(os.path.join(self.tmp, "out"), "w+") as out:
            reply = subprocess.run([*self.cradle.command, "create", "--bundle", self.bundle.path, self.id],
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=60, **options)
            out.seek(0)
            self.assertEqual(reply.returncode, 0, out.read())

    def output(self):
        with open(os.path.join(self.tmp, "out")) as out:
            return out.read()

    def status(self):
        return self.cradle.state(self.id)["status"]

    def test_a_container_is_created_started_killed_and_deleted(self):
        self.create("echo ran; sleep 100")
        self.assertEqual(self.status(), "created")
        self.assertEqual(self.output(), "")
        self.ok("start", self.id)
        self.wait_until(lambda: self.output() == "ran\n")
        self.assertEqual(self.status(), "running")
        self.refused("is not stopped", "delete", self.id)
        self.ok("kill", self.id, "KILL")
        self.wait_until(lambda: self.status() == "stopped")
        self.assertEqual(self.cradle.state(self.id)["pid"], 0)
        self.refused("container not running", "kill", self.id)
        self.refused("cannot start", "start", self.id)
        self.ok("delete", self.id)
        self.refused("does not exist", "delete", self.id)
        self.ok("delete", "--force", self.id)

    def test_state_has_the_fields_that_engines_read(self):
        self.bundle.config["annotations"] = {"a": "b"}
        self.create()
        state = self.cradle.state(self.id)
        self.assertEqual({k: state[k] for k in ("id", "status", "bundle", "annotations")},
                         {"id": self.id, "status": "created", "bundle": self.bundle.path, "annotations": {"a": "b"}})
        self.assertGreater(state["pid"], 0)
        listed = json.loads(self.ok("list", "--format", "json"))
        self.assertIn(self.id, [container["id"] for container in listed])
        self.assertIn(self.id, self.ok("list", "--quiet").split())

    def test_a_taken_id_is_refused_and_the_container_stays(self):
        self.create()
        self.refused("already exists", "create", "--bundle", self.bundle.path, self.id)
        self.assertEqual(self.status(), "created")

    def test_ids_are_single_names(self):
        self.bundle.write()
        for name in ("", "..", "a/b", "../x", "a b"):
            self.assertEqual(self.cradle("create", "--bundle", self.bundle.path, name).returncode, 1)

    def test_run_ends_with_the_status_of_its_program(self):
        for script, status in (("exit 7", 7), ("true", 0)):
            self.bundle.shell(script).write()
            self.assertEqual(self.cradle("run", "--bundle", self.bundle.path, self.id).returncode, status)

    def test_signals_to_run_reach_the_program(self):
        self.bundle.shell("trap 'exit 33' TERM; echo ready; while :; do sleep 0.05; done").write()
        run = subprocess.Popen([*self.cradle.command, "run", "--bundle", self.bundle.path, self.id],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.assertEqual(run.stdout.readline(), b"ready\n")
        run.send_signal(signal.SIGTERM)
        self.assertEqual(run.wait(30), 33)
        run.stdout.close()

    def test_run_tells_of_a_signal_that_ended_its_program(self):
        self.bundle.shell("sleep 100").write()
        run = subprocess.Popen([*self.cradle.command, "run", "--bundle", self.bundle.path, self.id],
                               stdin=subprocess.DEVNULL)
        self.wait_until(lambda: (self.cradle.state(self.id) or {}).get("status") == "running")
        self.ok("kill", self.id, "KILL")
        self.assertEqual(run.wait(30), 128 + 9)

    def test_exec_joins_the_container_and_ends_with_its_own_status(self):
        self.create()
        self.ok("start", self.id)
        reply = self.cradle("exec", "--cwd", "/tmp", "--env", "A=1", "--user", "12:13", self.id, "/bin/sh", "-c",
                            "id -u; id -g; pwd; echo $A; hostname; exit 5")
        self.assertEqual((reply.returncode, reply.stdout), (5, "12\n13\n/tmp\n1\nbox\n"))
        self.refused("executable file not found in $PATH", "exec", self.id, "nothing", code=255)
        inside = self.ok("exec", self.id, "cat", "/proc/self/cgroup").splitlines()
        for line in inside:
            self.assertTrue(line.endswith("/" + self.id), line)

    def test_exec_takes_a_process_file(self):
        self.create()
        self.ok("start", self.id)
        path = os.path.join(self.bundle.path, "process.json")
        with open(path, "w") as file:
            json.dump({"args": ["/bin/sh", "-c", "echo $X"], "env": ["PATH=/bin", "X=y"], "cwd": "/",
                       "user": {"uid": 0, "gid": 0}}, file)
        self.assertEqual(self.ok("exec", "--process", path, self.id), "y\n")

    def test_exec_into_a_user_namespace(self):
        self.bundle.config["linux"]["namespaces"].append({"type": "user"})
        for field in ("uidMappings", "gidMappings"):
            self.bundle.config["linux"][field] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        self.create()
        self.ok("start", self.id)
        self.assertEqual(self.ok("exec", self.id, "/bin/sh", "-c", "id -u; cat /proc/self/uid_map").split(),
                         ["0", "0", "100000", "65536"])

    def test_pause_stops_and_resume_goes_on(self):
        self.create("while :; do echo x; sleep 0.01; done")
        self.ok("start", self.id)
        self.ok("pause", self.id)
        self.assertEqual(self.status(), "paused")
        self.refused("paused", "exec", self.id, "true", code=255)
        self.ok("resume", self.id)
        self.assertEqual(self.status(), "running")
        self.refused("not paused", "resume", self.id)
        self.ok("pause", self.id)
        self.ok("delete", "--force", self.id)

    def test_limits_are_changed_while_it_runs(self):
        self.create()
        self.ok("start", self.id)
        self.ok("update", "--pids-limit", "33", "--memory", "64m", self.id)
        self.ok("update", "--resources", "-", self.id, stdin=None, input='{"cpu":{"shares":300}}')
        stats = json.loads(self.ok("events", "--stats", self.id))["data"]
        self.assertEqual((stats["pids"]["limit"], stats["memory"]["usage"]["limit"]), (33, 64 << 20))

    def test_ps_lists_the_processes(self):
        self.create("sleep 100 & sleep 100; true")
        self.ok("start", self.id)
        self.wait_until(lambda: len(json.loads(self.ok("ps", "--format", "json", self.id))) == 3)

    def test_a_terminal_is_handed_over_by_the_console_socket(self):
        self.bundle.config["process"]["terminal"] = True
        self.bundle.config["process"]["consoleSize"] = {"height": 17, "width": 71}
        self.bundle.shell("tty; stty size").write()
        path = os.path.join(self.bundle.path, "console.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            self.refused("console socket", "create", "--bundle", self.bundle.path, self.id)
            self.ok("create", "--bundle", self.bundle.path, "--console-socket", path, self.id)
            connection, _ = listener.accept()
            _, descriptors, _, _ = socket.recv_fds(connection, 100, 1)
            connection.close()
        self.ok("start", self.id)
        text = b""
        while text.count(b"\n") < 2:
            text += os.read(descriptors[0], 1000)
        self.assertEqual(text.split(), [b"/dev/pts/0", b"17", b"71"])
        os.close(descriptors[0])

    def test_run_in_the_foreground_joins_the_terminals(self):
        self.bundle.config["process"]["terminal"] = True
        self.bundle.shell("tty; read line; echo got $line; exit 6").write()
        ours, theirs = os.openpty()
        run = subprocess.Popen([*self.cradle.command, "run", "--bundle", self.bundle.path, self.id], stdin=theirs,
                               stdout=theirs, stderr=theirs)
        os.close(theirs)
        text = b""
        while b"/dev/pts/0" not in text:
            text += os.read(ours, 1000)
        os.write(ours, b"words\r")
        while b"got words" not in text:
            text += os.read(ours, 1000)
        self.assertEqual(run.wait(30), 6)
        os.close(ours)

    def test_what_is_left_out_is_logged(self):
        log = os.path.join(self.bundle.path, "log.json")
        self.bundle.config["process"]["capabilities"]["bounding"].append("CAP_NONSENSE")
        self.bundle.shell("true").write()
        runtime = Runtime(CRADLE, os.path.join(self.tmp, "state"), "--log", log, "--log-format", "json")
        reply = runtime("run", "--bundle", self.bundle.path, self.id)
        self.assertEqual((reply.returncode, reply.stderr), (0, ""))
        with open(log) as file:
            entry = json.loads(file.readline())
        self.assertEqual((entry["level"], entry["msg"]), ("warning", "ignoring unknown capability CAP_NONSENSE"))

    def test_hooks_run_in_order_with_the_state_on_their_input(self):
        log = os.path.join(self.bundle.path, "log")
        phases = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
        self.bundle.config["hooks"] = {
            phase: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {phase} $(cat) >> {log}"]}] for phase in phases}
        self.create("sleep 100")
        self.ok("start", self.id)
        self.ok("delete", "--force", self.id)
        with open(log) as file:
            lines = [line.split(" ", 1) for line in file]
        self.assertEqual([line[0] for line in lines], list(phases))
        for phase, text in lines:
            self.assertEqual(json.loads(text)["id"], self.id, phase)

    def test_a_hook_that_fails_undoes_the_container(self):
        self.bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
        self.bundle.shell("true").write()
        self.refused("createRuntime hook #0", "create", "--bundle", self.bundle.path, self.id)
        self.assertIsNone(self.cradle.state(self.id))

    def test_descriptors_are_kept_only_as_asked(self):
        self.bundle.shell("ls /proc/self/fd | wc -l; cat <&3").write()
        read, write = os.pipe()
        os.write(write, b"kept\n")
        os.close(write)
        reply = subprocess.run(["sh", "-c", f'exec "$@" 3<&{read}', "sh", *self.cradle.command, "run", "--preserve-fds",
                                "1", "--bundle", self.bundle.path, self.id], pass_fds=[read], capture_output=True,
                               stdin=subprocess.DEVNULL, text=True, timeout=60)
        os.close(read)
        # 0, 1, 2, the kept one, and the folder that ls reads.
        self.assertEqual(reply.stdout, "5\nkept\n", reply.stderr)

    def test_errors_go_to_the_log_as_json(self):
        log = os.path.join(self.bundle.path, "log.json")
        reply = Runtime(CRADLE, os.path.join(self.tmp, "state"), "--log", log, "--log-format", "json")("start", "none")
        self.assertEqual(reply.returncode, 1)
        with open(log) as file:
            entry = json.loads(file.readline())
        self.assertEqual((entry["level"], entry["code"]), ("error", "NOT_FOUND"))
        self.assertIn("does not exist", entry["msg"])

    def test_a_bad_config_touches_nothing_and_names_the_place(self):
        for change, words in (
                ({"process": {"args": [1]}}, "process.args[0]: want a string"),
                ({"linux": {"namespaces": [{"type": "pidd"}]}}, "linux.namespaces[0].type: unknown namespace 'pidd'"),
                ({"linux": {"resources": {"memory": {"limit": "1"}}}}, "linux.resources.memory.limit: want an integer"),
                ({"hostname": 5}, "hostname: want a string"),
                ({"ociVersion": "2.0"}, "ociVersion")):
            self.bundle.config.update(change)
            self.bundle.write()
            self.refused(words, "create", "--bundle", self.bundle.path, self.id)
            self.assertFalse(os.path.exists(os.path.join(self.tmp, "state", self.id)))
            self.bundle.remove()
            self.bundle = Bundle(self.rootfs)

    def test_a_killed_create_leaves_what_delete_clears(self):
        if not shutil.which("strace"):
            print("SKIPPED: needs the package strace")
            return
        self.bundle.shell("sleep 100").write()
        kills = 0
        # strace counts each system call by itself: the process dies at the first that is made for the n-th time.
        for call in range(1, 400, 3):
            reply = subprocess.run(
                ["strace", "-qq", "-o", "/dev/null", f"--inject=all:signal=SIGKILL:when={call}", *self.cradle.command,
                 "create", "--bundle", self.bundle.path, self.id],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
            self.ok("delete", "--force", self.id)
            self.assertEqual(cgroups_named(self.id), [], f"killed at call {call}")
            self.assertFalse(os.path.exists(os.path.join(self.tmp, "state", self.id)), f"killed at call {call}")
            kills += 1
            if reply.returncode == 0:
                break
        self.assertGreater(kills, 10)


if __name__ == "__main__":
    unittest.main()
