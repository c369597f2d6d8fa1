"""Three members, each in a network namespace and on a disk of its own, and what can happen to them.

    enter_private_world()              # once, first of all
    with FaultyCluster(binary, folder) as cluster:
        cluster.start()
        cluster.members[0].isolate()

Needs root. The whole world - network, mounts, processes - is private: it goes with this process.
"""

import ctypes
import errno
import os
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cluster"))
from cluster import Cluster, ClusterError, Member  # noqa: E402

os.environ["PATH"] += ":/usr/sbin:/sbin"  # where mkfs.ext4 is, also for tests with a narrow path

MARK = "KEELSON_PRIVATE_WORLD"
SUBNET = "10.86.0"
DISK_MIB = 768
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878


def enter_private_world():
    """Starts this program anew in namespaces of its own, or ends it as skipped."""
    if os.environ.get(MARK):
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        run("ip", "link", "set", "lo", "up")
        return
    probe = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    missing = [tool for tool in ("ip", "mkfs.ext4", "nsenter") if shutil.which(tool) is None]
    if probe.returncode != 0 or missing:
        print("SKIPPED ALL: no namespaces of its own" if not missing else
              f"SKIPPED ALL: '{missing[0]}' is missing; install it with: apt-get install iproute2 e2fsprogs util-linux")
        sys.exit(0)
    os.environ[MARK] = "1"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                          sys.executable, *sys.argv])


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")


class Disk:
    """A small ext4 file system in a file."""

    def __init__(self, image, path):
        self.path = path
        self.filler = os.path.join(path, "filler")
        self.frozen = False
        os.makedirs(path)
        with open(image, "wb") as f:
            f.truncate(DISK_MIB << 20)
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,nodiscard", image)
        run("mount", "-o", "loop", image, path)

    def unmount(self):
        self.thaw()
        subprocess.run(["umount", self.path], check=False)

    def _ioctl(self, request):
        fd = os.open(self.path, os.O_RDONLY)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.ioctl(fd, ctypes.c_ulong(request), 0) != 0:
                raise ClusterError(f"{self.path}: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(fd)

    def stall(self, seconds):
        """Whatever wants to write waits: a disk that does not answer."""
        # Somebody else ends it, whatever happens to this thread.
        ender = threading.Timer(seconds, self.thaw)
        self._ioctl(FIFREEZE)
        self.frozen = True
        ender.start()
        ender.join()

    def thaw(self):
        if self.frozen:
            self.frozen = False
            self._ioctl(FITHAW)

    def fill(self):
        with open(self.filler, "ab", buffering=0) as f:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        f.write(b"\0" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self):
        if os.path.exists(self.filler):
            os.remove(self.filler)


class FaultyMember(Member):
    def __init__(self, binary, number, folder, extra_flags):
        self.number = number
        self.host = f"{SUBNET}.{number}"
        self.disk = Disk(os.path.join(folder, f"disk{number}.img"), os.path.join(folder, f"disk{number}"))
        super().__init__(binary, f"m{number}", 2379, 2380, self.disk.path, extra_flags)
        self.log_path = os.path.join(folder, f"m{number}.log")  # Not on the disk that fills up.
        self.cut_from = set()
        # The namespace lives as long as somebody is in it.
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._join_network()

    def _join_network(self):
        run("ip", "link", "add", f"v{self.number}", "type", "veth", "peer", "name", f"p{self.number}")
        run("ip", "link", "set", f"v{self.number}", "master", "br0", "up")
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == own:
            time.sleep(0.005)
        run("ip", "link", "set", f"p{self.number}", "netns", str(self.holder.pid))
        for words in (["addr", "add", f"{self.host}/24", "dev", f"p{self.number}"],
                      ["link", "set", f"p{self.number}", "up"], ["link", "set", "lo", "up"]):
            self._ip(*words)

    def _enter(self):
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "--"]

    def _ip(self, *words):
        run(*self._enter(), "ip", *words)

    @property
    def endpoint(self):
        return f"{self.host}:{self.client_port}"

    @property
    def peer_url(self):
        return f"http://{self.host}:{self.peer_port}"

    def command(self):
        return [*self._enter(), *super().command()]

    def cut(self, other):
        """Nothing goes from this member to `other` any more."""
        if other.number not in self.cut_from:
            self.cut_from.add(other.number)
            self._ip("route", "add", "blackhole", f"{other.host}/32")

    def heal(self):
        for number in self.cut_from:
            self._ip("route", "del", "blackhole", f"{SUBNET}.{number}/32")
        self.cut_from.clear()

    def close(self):
        self.disk.thaw()
        self.kill()
        self.holder.kill()
        self.holder.wait()
        self.disk.unmount()


class FaultyCluster(Cluster):
    def __init__(self, binary, folder, members=3, extra_flags=()):
        self.binary = binary
        self.folder = folder
        self.keep = True
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "addr", "add", f"{SUBNET}.254/24", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        self.members = [FaultyMember(binary, i + 1, folder, extra_flags) for i in range(members)]
        initial = ",".join(f"{m.name}={m.peer_url}" for m in self.members)
        for member in self.members:
            member.initial_cluster = initial

    def __exit__(self, kind, error, trace):
        super().__exit__(kind, error, trace)
        for member in self.members:
            member.close()
