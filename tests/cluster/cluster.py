"""Clusters of real kvstored (or etcd) processes for tests, the demo and benchmarks.

    with Cluster(binary, members=3) as cluster:
        cluster.start()
        leader = cluster.wait_leader()
        leader.kill()

All traffic is on loopback. Processes are ended by pid and folders removed when the
`with` block ends, also on errors. Waiting is polling with a deadline, never a fixed sleep.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

# Whatever proxy the environment names, loopback needs none.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

READY_SECONDS = 60.0  # how long a healthy member may take; a bound, not a wait


class ClusterError(Exception):
    """Something that should have happened did not; the text says what."""


def free_ports(count):
    """Ports of loopback that nobody listened on a moment ago, below the range from which outgoing
    connections get theirs: a member that was killed finds its port free when it comes back."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        low = int(f.read().split()[0])
    held = []
    try:
        while len(held) < count:
            s = socket.socket()
            try:
                s.bind(("127.0.0.1", random.randint(10000, low - 1) if low > 10100 else 0))
                held.append(s)
            except OSError:
                s.close()
        return [s.getsockname()[1] for s in held]
    finally:
        for s in held:
            s.close()


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def wait_for(what, probe, seconds=READY_SECONDS):
    """Calls `probe` until it returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        result = probe()
        if result:
            return result
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


class Member:
    """One server process and its folder."""

    def __init__(self, binary, name, client_port, peer_port, folder, extra_flags=()):
        self.binary = binary
        self.name = name
        self.client_port = client_port
        self.peer_port = peer_port
        self.data_dir = os.path.join(folder, name + ".data")
        self.log_path = os.path.join(folder, name + ".log")
        self.extra_flags = list(extra_flags)
        self.initial_cluster = ""
        self.process = None

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.client_port}"

    @property
    def peer_url(self):
        return f"http://127.0.0.1:{self.peer_port}"

    def command(self):
        client_url = f"http://{self.endpoint}"
        return [
            self.binary,
            f"--name={self.name}",
            f"--data-dir={self.data_dir}",
            f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={self.initial_cluster}",
            "--initial-cluster-state=new",
            *self.extra_flags,
        ]

    def start(self):
        """Starts the process; it may not serve yet."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)  # A Ctrl-C at the terminal reaches us alone.

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def log_tail(self, lines=15):
        with contextlib.suppress(OSError), open(self.log_path, errors="replace") as log:
            return "".join(log.readlines()[-lines:])
        return ""

    def check_running(self):
        if not self.running():
            code = None if self.process is None else self.process.returncode
            raise ClusterError(f"{self.name} has ended with {code}:\n{self.log_tail()}")

    def kill(self):
        """kill -9, and waits for the end."""
        if self.running():
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self, seconds=30):
        """SIGTERM, then SIGKILL when that takes too long. The exit code."""
        if not self.running():
            return None if self.process is None else self.process.returncode
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ClusterError(f"{self.name} did not end within {seconds} s of SIGTERM") from None

    def http(self, path, seconds=2.0):
        """(status, body) of GET `path`, or None when nobody answers."""
        try:
            with _OPENER.open(f"http://{self.endpoint}{path}", timeout=seconds) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, ValueError):
            return None

    def healthy(self):
        """True when the member answers a linearizable read."""
        self.check_running()
        reply = self.http("/health")
        return reply is not None and reply[0] == 200 and json.loads(reply[1])["health"] == "true"

    def metric(self, name):
        """The value of a metric without labels, or None."""
        reply = self.http("/metrics")
        if reply is None:
            return None
        for line in reply[1].splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        return None

    def is_leader(self):
        return self.running() and self.metric("etcd_server_is_leader") == 1

    def cpu_seconds(self):
        """User and system time of the process so far."""
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Cluster:
    """`members` processes of `binary` in a scratch folder of their own."""

    def __init__(self, binary, members=3, ports=None, folder=None, extra_flags=(), keep=False):
        self.binary = binary
        self.keep = keep
        self.folder = folder or tempfile.mkdtemp(
            prefix="keelson-cluster-", dir=os.environ.get("TEST_TMPDIR"))
        ports = ports or free_ports(2 * members)
        self.members = [
            Member(binary, f"m{i + 1}", ports[2 * i], ports[2 * i + 1], self.folder, extra_flags)
            for i in range(members)
        ]
        initial = ",".join(f"{m.name}={m.peer_url}" for m in self.members)
        for member in self.members:
            member.initial_cluster = initial

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is not None:
            for member in self.members:
                print(f"--- log of {member.name}, last lines:\n{member.log_tail()}", flush=True)
        for member in self.members:
            member.kill()
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def endpoints(self):
        return ",".join(m.endpoint for m in self.members)

    def start(self):
        for member in self.members:
            member.start()
        self.wait_healthy()

    def wait_healthy(self):
        for member in self.members:
            wait_for(f"{member.name} becomes healthy", member.healthy)

    def leader(self):
        """The member that leads now, or None."""
        for member in self.members:
            if member.is_leader():
                return member
        return None

    def wait_leader(self):
        return wait_for("a leader is elected", self.leader)
