"""What the interop tests share: a story of steps, a started cluster, and a ctl to drive it.

    with started_cluster(binary, ctl="etcdctl") as (cluster, ctl):
        story = Story("kill9", cluster)
        with story.step("put"):
            expect_equal(ctl.run("put", "a", "1").stdout, "OK\n")
        return story.finish()

The server may be kvstored or etcd, the ctl kvctl or etcdctl: they take the same flags and print
the same, so each test can be checked against etcd itself.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cluster"))
from cluster import Cluster, ClusterError, free_ports, wait_for  # noqa: E402, F401


class Story:
    """A test as steps: one line for each, and a last line with the counts."""

    def __init__(self, title, cluster=None):
        self.title = title
        self.cluster = cluster
        self.passed = 0
        self.failed = 0

    @contextlib.contextmanager
    def step(self, name):
        """A step that fails is reported, with the ends of the logs, and the story goes on."""
        start = time.monotonic()
        try:
            yield
        except Exception as error:  # Whatever went wrong belongs to this step.
            self.failed += 1
            print(f"FAIL {name}: {error}", flush=True)
            if not isinstance(error, (AssertionError, ClusterError)):
                traceback.print_exc(file=sys.stdout)
            for member in self.cluster.members if self.cluster else ():
                print(f"--- log of {member.name}, last lines:\n{member.log_tail()}", flush=True)
        else:
            self.passed += 1
            print(f"ok   {name} ({time.monotonic() - start:.2f} s)", flush=True)

    @staticmethod
    def say(text):
        print("     " + text, flush=True)

    def finish(self):
        """Prints the counts; returns the exit code."""
        print(f"{self.title}: {self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed else 0


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def expect_equal(got, want, what="output"):
    if got != want:
        raise AssertionError(f"{what}\n     got  {got!r}\n     want {want!r}")


def require_program(name, package):
    """Ends the test as skipped, aloud, when `name` is missing."""
    if shutil.which(name) is None:
        print(f"SKIPPED ALL: '{name}' is missing; install it with: apt-get install {package}")
        sys.exit(0)


def require_peers(*paths):
    for name, package in (("etcdctl", "etcd-client"), ("etcd", "etcd-server")):
        if any(os.path.basename(path) == name for path in paths):
            require_program(name, package)


def clean_environment():
    """Ours without the variables that would configure a server or a ctl."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ETCD_", "ETCDCTL_"))}
    return {**kept, "ETCDCTL_API": "3"}


@contextlib.contextmanager
def scratch_folder():
    """An empty folder that is removed at the end."""
    path = tempfile.mkdtemp(prefix="keelson-", dir=os.environ.get("TEST_TMPDIR"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Ctl:
    """kvctl or etcdctl, against a cluster."""

    def __init__(self, binary, cluster):
        self.binary = os.path.abspath(binary) if os.path.sep in binary else binary
        self.cluster = cluster

    def command(self, words, endpoints=None):
        return [self.binary, f"--endpoints={endpoints or self.cluster.endpoints}", *words]

    def run(self, *words, endpoints=None, stdin=None, check=True, timeout=60):
        """The CompletedProcess, with text output. An exit code other than 0 is an error."""
        command = self.command(words, endpoints)
        done = subprocess.run(
            command, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True, text=True, timeout=timeout, check=False, env=clean_environment())
        if check and done.returncode != 0:
            raise ClusterError(f"{' '.join(command)}: exit code {done.returncode}\n"
                               f"{done.stdout}{done.stderr}")
        return done

    def json(self, *words, **kwargs):
        return json.loads(self.run(*words, "-w", "json", **kwargs).stdout)

    def start(self, *words, **kwargs):
        """A process that the caller ends; its output, stderr included, is a pipe of text."""
        return subprocess.Popen(
            self.command(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=clean_environment(), **kwargs)

    def status(self, member):
        """The status of one member, or None while it does not answer."""
        done = self.run("endpoint", "status", "-w", "json", "--dial-timeout=1s",
                        "--command-timeout=2s", endpoints=member.endpoint, check=False)
        try:
            answers = json.loads(done.stdout)
        except ValueError:
            return None
        return answers[0]["Status"] if answers else None

    def find_leader(self):
        """The member that leads, by its own answer, or None."""
        for member in self.cluster.members:
            status = self.status(member) if member.running() else None
            if status and status.get("leader", 0) == status["header"]["member_id"]:
                return member
        return None

    def leader(self):
        return wait_for("a leader is elected", self.find_leader)

    def wait_caught_up(self, member):
        """Until `member` has applied all that the leader had committed when this began."""
        target = self.status(self.leader())["raftIndex"]

        def caught_up():
            member.check_running()
            status = self.status(member)
            return bool(status) and status.get("raftAppliedIndex", 0) >= target

        wait_for(f"{member.name} has applied index {target}", caught_up)
        return target


@contextlib.contextmanager
def started_cluster(binary, ctl, members=3, ports=None, extra_flags=()):
    """A healthy cluster and a Ctl; other ports are tried when somebody took one in between."""
    binary = os.path.abspath(binary) if os.path.sep in binary else binary
    for attempt in range(5):
        with Cluster(binary, members=members, ports=ports or free_ports(2 * members),
                     extra_flags=extra_flags) as cluster:
            try:
                cluster.start()
            except ClusterError as error:
                if ports or attempt == 4 or "in use" not in str(error):
                    raise
                continue
            yield cluster, Ctl(ctl, cluster)
            return
