"""What a virtual machine boots from: a root file system in memory, made of programs of this machine.

    image = Image()
    image.add_program("/path/of/test")        # with the shared libraries it needs
    image.add_text("/etc/hostname", "vm\n")
    image.write("/tmp/initramfs")

The archive is the kernel's "newc" (Documentation/driver-api/early-userspace/buffer-format.rst), not
compressed: an emulated processor would take longer to unpack it than to read it.
"""

import functools
import os
import re
import stat
import subprocess

ROOT = "image"  # The tree is below this folder of the archive; see init.sh.


@functools.lru_cache(maxsize=None)
def shared_libraries(path):
    """What the loader needs for the program `path`, itself included, as paths of this machine."""
    done = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return ()  # "not a dynamic executable", or a script
    missing = re.findall(r"^\s*(\S+) => not found", done.stdout, re.M)
    if missing:
        raise FileNotFoundError(f"{path}: needs {', '.join(missing)}")
    return tuple(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", done.stdout, re.M))


def write_archive(path, nodes):
    """Writes an archive of a console and `nodes`: (name, mode, content as bytes or path of this machine), folders first."""
    # Needed before any file system is mounted, for the first messages.
    console = [("dev", stat.S_IFDIR | 0o755, b"", 0, 0), ("dev/console", stat.S_IFCHR | 0o600, b"", 5, 1)]
    with open(path, "wb") as out:
        for number, (name, mode, content, *device) in enumerate([*console, *nodes, ("TRAILER!!!", 0, b"")], 1):
            if isinstance(content, str):
                with open(content, "rb") as source:
                    content = source.read()
            encoded = name.encode() + b"\0"
            fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *(device or (0, 0)), len(encoded), 0)
            head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
            out.write(head + b"\0" * (-len(head) % 4))
            out.write(content + b"\0" * (-len(content) % 4))


class Image:
    """Files by their absolute path in the machine. Adding a path again replaces it."""

    def __init__(self):
        self.nodes = {}  # path without leading "/" -> (mode, content as bytes or path of this machine)

    def _put(self, path, mode, content):
        path = path.strip("/")
        parent = os.path.dirname(path)
        if parent and parent not in self.nodes:
            self._put(parent, stat.S_IFDIR | 0o755, b"")
        if path in self.nodes and stat.S_ISDIR(mode):
            return
        self.nodes[path] = (mode, content)

    def add_folder(self, path, mode=0o755):
        self._put(path, stat.S_IFDIR | mode, b"")

    def add_text(self, path, text, mode=0o644):
        self._put(path, stat.S_IFREG | mode, text.encode() if isinstance(text, str) else text)

    def add_link(self, path, target):
        self._put(path, stat.S_IFLNK | 0o777, target.encode())

    def add_file(self, path, source, mode=None):
        """`source`: a file of this machine, followed if it is a link."""
        source = os.path.realpath(source)
        mode = stat.S_IMODE(os.stat(source).st_mode) if mode is None else mode
        self._put(path, stat.S_IFREG | mode, source)

    def add_tree(self, path, source):
        """A folder of this machine with all that is in it; links stay links."""
        self.add_folder(path)
        for folder, folders, files in os.walk(source):
            base = os.path.join(path, os.path.relpath(folder, source))
            for name in sorted(folders + files):
                here, there = os.path.join(folder, name), os.path.normpath(os.path.join(base, name))
                if os.path.islink(here):
                    self.add_link(there, os.readlink(here))
                elif os.path.isdir(here):
                    self.add_folder(there)
                else:
                    self.add_file(there, here)

    def add_program(self, source, path=None):
        """A program or library, and the shared libraries it needs at the paths they have here."""
        path = path or source
        self.add_file(path, source, 0o755)
        for library in shared_libraries(os.path.realpath(source)):
            self.add_file(library, library, 0o755)
            real = os.path.realpath(library)
            if os.path.basename(real) != os.path.basename(library):
                self.add_file(real, real, 0o755)

    def write(self, path, first=()):
        """Writes the archive. `first`: (name, mode, bytes) of nodes outside the tree, such as "init"."""
        tree = [(f"{ROOT}/{name}", *self.nodes[name]) for name in sorted(self.nodes)]
        write_archive(path, [*first, (ROOT, stat.S_IFDIR | 0o755, b""), *tree])
