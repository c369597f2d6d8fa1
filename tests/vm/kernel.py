"""Debian's kernel for clouds, as files in a cache: fetched as a package, never installed.

    kernel = Kernel.get()
    kernel.image                       # vmlinuz
    kernel.modules(["dm_verity"])      # .ko files in an order that insmod accepts
"""

import fcntl
import functools
import glob
import os
import pwd
import re
import shutil
import subprocess
import tempfile

PACKAGE = "linux-image-cloud-amd64"


class Unavailable(Exception):
    """There is no kernel in the cache and none can be fetched; the text says why."""


def cache_folder():
    home = os.environ.get("KEELSON_CACHE") or os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".cache/keelson")
    return os.path.join(home, "vm")


def _normalized(name):
    return name.replace("-", "_")


class Kernel:
    def __init__(self, folder):
        self.folder = folder
        self.image = glob.glob(os.path.join(folder, "boot/vmlinuz-*"))[0]
        self.version = os.path.basename(self.image)[len("vmlinuz-"):]

    @classmethod
    def get(cls):
        """The newest kernel in the cache; fetches Debian's present one into an empty cache."""
        found = sorted(glob.glob(os.path.join(cache_folder(), "kernel-*", "boot", "vmlinuz-*")),
                       key=os.path.getmtime)
        if found:
            return cls(os.path.dirname(os.path.dirname(found[-1])))
        return cls.fetch()

    @classmethod
    def fetch(cls):
        """Fetches the kernel that Debian has now with apt, as any user, and unpacks it."""
        os.makedirs(cache_folder(), exist_ok=True)
        with open(os.path.join(cache_folder(), "lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # Tests that start together fetch once.
            depends = subprocess.run(["apt-cache", "depends", PACKAGE], capture_output=True, text=True, check=False)
            package = re.search(r"Depends: (linux-image-\S+)", depends.stdout)
            if depends.returncode != 0 or package is None:
                raise Unavailable(f"apt knows no {PACKAGE} (apt-get update?): {depends.stderr.strip()}")
            folder = os.path.join(cache_folder(), "kernel-" + package[1][len("linux-image-"):])
            if not os.path.exists(folder):
                with tempfile.TemporaryDirectory(dir=cache_folder()) as work:
                    got = subprocess.run(["apt-get", "download", "-q", package[1]], cwd=work,
                                         capture_output=True, text=True, check=False)
                    archives = glob.glob(os.path.join(work, "*.deb"))
                    if got.returncode != 0 or not archives:
                        raise Unavailable(f"apt-get download {package[1]}: {got.stderr.strip()}")
                    tree = os.path.join(work, "tree")
                    subprocess.run(["dpkg-deb", "-x", archives[0], tree], check=True)
                    shutil.rmtree(os.path.join(tree, "usr"), ignore_errors=True)
                    os.rename(tree, folder)
            return cls(folder)

    @functools.cached_property
    def _files(self):
        base = os.path.join(self.folder, "lib/modules", self.version)
        return {_normalized(os.path.basename(path)[:-len(".ko")]): path
                for path in glob.glob(os.path.join(base, "kernel", "**", "*.ko"), recursive=True)}

    @functools.cached_property
    def _builtin(self):
        path = os.path.join(self.folder, "lib/modules", self.version, "modules.builtin")
        with open(path, encoding="ascii") as f:
            return {_normalized(os.path.basename(line.strip())[:-len(".ko")]) for line in f}

    def modules(self, names):
        """Paths of the modules `names` and of those they need, each after what it needs. Built-in ones need
        no file."""
        order = []

        def visit(name):
            name = _normalized(name)
            if name in self._builtin:
                return
            path = self._files.get(name)
            if path is None:
                raise KeyError(f"Linux {self.version} has no module '{name}'")
            if path in order:
                return
            with open(path, "rb") as f:
                depends = re.search(rb"\0depends=([^\0]*)\0", f.read())
            for other in (depends[1].decode().split(",") if depends and depends[1] else []):
                visit(other)
            order.append(path)

        for name in names:
            visit(name)
        return order


if __name__ == "__main__":
    print(Kernel.fetch().image)
