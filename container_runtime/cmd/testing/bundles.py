"""Bundles for tests of cradle: a root file system of busybox, and configs to vary."""

import copy
import json
import os
import shutil
import subprocess
import tempfile

BUSYBOX = "/bin/busybox"
PROGRAMS = ("sh cat ls id mount ps sleep true false echo env hostname pwd mkdir touch chmod grep sed sort head tail "
            "stat readlink kill tty stty wc dd test ip df mknod ln umount unshare find cut tr uname nproc").split()


def make_rootfs(path):
    """A small root file system at `path`, which is made."""
    for folder in "bin proc sys dev etc tmp root var usr data".split():
        os.makedirs(os.path.join(path, folder), exist_ok=True)
    os.chmod(os.path.join(path, "tmp"), 0o1777)
    shutil.copy(BUSYBOX, os.path.join(path, "bin/busybox"))
    for program in PROGRAMS:
        os.symlink("busybox", os.path.join(path, "bin", program))
    os.symlink("../run", os.path.join(path, "var/run"))
    with open(os.path.join(path, "etc/passwd"), "w") as file:
        file.write("root:x:0:0:root:/root:/bin/sh\n")


CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
CONFIG = {
    "ociVersion": "1.0.2",
    "process": {
        "user": {"uid": 0, "gid": 0},
        "args": ["/bin/true"],
        "env": ["PATH=/usr/bin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {name: list(CAPABILITIES) for name in ("bounding", "effective", "permitted")},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "box",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    ],
    "linux": {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount")],
        "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/scsi"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
}


def new_config():
    return copy.deepcopy(CONFIG)


class Bundle:
    """A folder with config.json, and the containers made from it."""

    def __init__(self, rootfs, config=None):
        self.path = tempfile.mkdtemp(prefix="bundle", dir=os.environ.get("TEST_TMPDIR", "/tmp"))
        self.config = config or new_config()
        self.config["root"]["path"] = rootfs

    def write(self):
        with open(os.path.join(self.path, "config.json"), "w") as file:
            json.dump(self.config, file)
        return self

    def shell(self, script):
        self.config["process"]["args"] = ["/bin/sh", "-c", script]
        return self

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Runtime:
    """A runtime's program with a state folder of its own."""

    def __init__(self, program, root, *flags):
        self.command = [program, "--root", root, *flags]

    def __call__(self, *arguments, timeout=60, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([*self.command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout, **options)

    def state(self, container):
        reply = self("state", container)
        return json.loads(reply.stdout) if reply.returncode == 0 else None
