"""Virtual machines for tests: Debian's kernel, a root in memory, a command, its output and exit status.

    machine = Machine(memory_mib=512, disks=["/tmp/a.img"], modules=["dm_verity"])
    machine.image.add_program("bazel-bin/partition/some_test", "/test")
    result = machine.run("/test --reporter compact")
    assert result.exit_status == 0, result.output + result.console

A power cut, and the next boot with the same disks:

    running = machine.start("/writer /dev/vda")
    running.wait_for_output("writing")
    running.cut()
    result = machine.run("/checker /dev/vda")

QEMU emulates the processor (no KVM is needed); a boot takes some seconds. Nothing of this machine is
changed: disks are files, there is no network, and the process ends with the `Running`.
"""

import dataclasses
import os
import random
import re
import select
import shutil
import subprocess
import tempfile
import time

from initramfs import Image
from kernel import Kernel, Unavailable

QEMU = "qemu-system-x86_64"
_HERE = os.path.dirname(os.path.abspath(__file__))
# Every machine has these, so that disks and what tests build on are there.
BASE_MODULES = ("virtio_pci", "virtio_blk", "virtio_rng", "overlay", "loop", "dm_mod")
SYSTEMD = "/lib/systemd/systemd"
CMDLINE = ("console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr random.trust_cpu=on "
           "systemd.show_status=0")
# Units that a systemd without services needs to come up and go down.
SYSTEMD_UNITS = ("basic", "sysinit", "sockets", "timers", "paths", "slices", "shutdown", "umount", "final",
                 "reboot", "poweroff", "local-fs", "local-fs-pre", "swap", "multi-user", "network",
                 "remote-fs", "time-set", "time-sync")


def missing():
    """Why no machine can be started here, or None."""
    if which(QEMU) is None:
        return "needs the package qemu-system-x86"
    if _busybox() is None:
        return "needs the package busybox-static"
    try:
        Kernel.get()
    except (Unavailable, OSError) as error:
        return f"has no kernel: {error}"
    return None


def which(name):
    """The path of a program, also in the folders for the administrator's, or None."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin")


def _busybox():
    for path in ("/bin/busybox", "/usr/bin/busybox"):
        if os.path.exists(path):
            return path
    return None


@dataclasses.dataclass
class Result:
    """How a machine ended. `exit_status` is None when the command did not come to its end; `reason` is then
    "timeout", "cut" or "stopped" (the kernel panicked, or something switched the machine off)."""

    exit_status: int
    output: str
    console: str
    seconds: float
    reason: str


class Running:
    """A machine that runs. Use as a context manager, or end it with wait() or cut()."""

    def __init__(self, process, folder, timeout, started):
        self._process = process
        self._folder = folder
        self._started = started
        self._deadline = started + timeout
        self._reason = "stopped"
        self._texts = None  # of the files in the folder, once the machine has ended

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut()

    def _read(self, name):
        if self._texts is not None:
            return self._texts[name]
        try:
            with open(os.path.join(self._folder.name, name), "rb") as f:
                return f.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def output(self):
        """The command's output so far."""
        return self._read("output")

    def console(self):
        """The kernel's (and systemd's) messages so far."""
        return self._read("console")

    def wait_for_output(self, text, seconds=None):
        """Returns when `text` is in the output. TimeoutError when it is not in time or the machine ended."""
        deadline = self._deadline if seconds is None else time.monotonic() + seconds
        while text not in self.output():
            if self._process.poll() is not None and text not in self.output():
                raise TimeoutError(f"the machine ended without '{text}':\n{self.output()}\n{self.console()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"no '{text}' in time:\n{self.output()}\n{self.console()}")
            self._sleep(0.01)

    def cut(self):
        """Takes the power away: what the guest had not handed to its disks is lost."""
        if self._process.poll() is None:
            self._reason = "cut"
            self._process.kill()
        return self._end()

    def cut_after(self, seconds):
        """Takes the power away that much later, or returns how the machine ended before."""
        self._wait(time.monotonic() + seconds)
        return self.cut()

    def cut_at_random(self, seed, seconds_max):
        """Takes the power away after a random part of `seconds_max`, or returns how the machine ended before."""
        return self.cut_after(random.Random(seed).uniform(0, seconds_max))

    def wait(self):
        """Waits for the end, or until the time is over."""
        if not self._wait(self._deadline):
            self._process.kill()
            self._reason = "timeout"
        return self._end()

    def _wait(self, deadline):
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
            return True
        except subprocess.TimeoutExpired:
            return False

    @staticmethod
    def _sleep(seconds):
        select.select([], [], [], seconds)

    def _end(self):
        self._process.wait()
        if self._texts is None:
            self._texts = {name: self._read(name) for name in ("console", "output", "control", "qemu")}
            self._ended = time.monotonic()
            self._folder.cleanup()
        status = re.search(r"^exit (\d+)$", self._read("control"), re.M)
        result = Result(int(status[1]) if status else None, self.output(), self.console(),
                        self._ended - self._started, "exited" if status else self._reason)
        errors = self._read("qemu")
        if status is None and errors:
            result.console += "\n" + errors
        return result


@dataclasses.dataclass
class Firmware:
    """UEFI firmware, which boots from the first disk. `variables` is this machine's own copy of the store."""

    code: str
    variables: str
    secure_boot: bool = False

    def options(self):
        options = ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={self.code}",
                   "-drive", f"if=pflash,unit=1,format=raw,file={self.variables}"]
        if self.secure_boot:
            options += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        return options


class Machine:
    """What to boot. `image` is the root file system; add programs and files to it before the start."""

    def __init__(self, *, memory_mib=512, cpus=1, append="", disks=(), modules=(), cgroups="v2", systemd=False,
                 timeout=180.0, firmware=None):
        """Args:
          append: added to the kernel's command line.
          disks: raw files, in the machine /dev/vda, /dev/vdb ... (virtio-blk, writes go through to the file).
          modules: kernel modules beyond BASE_MODULES; what they need comes along.
          cgroups: "v2", "v1", "hybrid" or "none" (ignored with systemd, which mounts its own).
          systemd: systemd as process 1, the command in a unit "keelson-test.service" of it.
          timeout: seconds for one run, booting included.
          firmware: what boots in place of the harness's kernel; start(None) then runs what is on the first disk,
            which may be an initial file system of write_initramfs.
        """
        self.memory_mib = memory_mib
        self.cpus = cpus
        self.append = append
        self.disks = list(disks)
        self.modules = list(modules)
        self.cgroups = cgroups
        self.systemd = systemd
        self.timeout = timeout
        self.firmware = firmware
        self.kernel = Kernel.get()
        self.image = Image()
        self._add_base()
        if systemd:
            self._add_systemd()

    def _add_base(self):
        image = self.image
        for folder in ("proc", "sys", "dev", "run", "tmp", "root", "etc", "var/tmp", "mnt", "keelson/work", "sbin",
                       "usr/bin", "usr/sbin", "lib", "lib64"):
            image.add_folder(folder)
        busybox = _busybox()
        image.add_file("/bin/busybox", busybox, 0o755)
        names = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
        for name in names:
            if name != "busybox":
                image.add_link(f"/bin/{name}", "busybox")
        image.add_text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nmessagebus:x:100:101::/:/bin/false\n"
                       "nobody:x:65534:65534:nobody:/:/bin/false\n")
        image.add_text("/etc/group", "root:x:0:\ntty:x:5:\nmessagebus:x:101:\nnogroup:x:65534:\n")
        for script in ("start.sh", "run.sh"):
            image.add_file(f"/keelson/{script}", os.path.join(_HERE, script), 0o755)

    def _add_systemd(self):
        image = self.image
        image.add_program(SYSTEMD)
        for name in ("systemctl", "busctl", "systemd-run"):
            path = which(name)
            if path:
                image.add_program(path)
        for unit in SYSTEMD_UNITS:
            path = f"/lib/systemd/system/{unit}.target"
            if os.path.exists(path):
                image.add_file(path, path)
        image.add_link("/etc/systemd/system/default.target", "/lib/systemd/system/multi-user.target")
        image.add_link("/etc/systemd/system/multi-user.target.wants/keelson-test.service",
                       "/etc/systemd/system/keelson-test.service")
        # Not Type=oneshot: a unit that starts for as long as the command runs would hold up the jobs
        # that the command asks systemd for.
        image.add_text("/etc/systemd/system/keelson-test.service",
                       "[Unit]\nDescription=The test\nDefaultDependencies=no\nAfter=basic.target\n"
                       "[Service]\nExecStart=/bin/sh /keelson/run.sh\nStandardOutput=null\nStandardError=null\n"
                       "Environment=PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root\nTasksMax=infinity\n")
        image.add_text("/etc/systemd/system.conf", "[Manager]\nDefaultStandardOutput=null\nLogTarget=console\n")
        image.add_text("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        image.add_text("/etc/os-release", "ID=keelson-vm\nNAME=keelson-vm\n")
        image.add_text("/etc/nsswitch.conf", "passwd: files\ngroup: files\n")
        if os.path.exists("/usr/bin/dbus-daemon"):
            self._add_dbus()

    def _add_dbus(self):
        """The message bus, started by systemd when someone connects."""
        image = self.image
        image.add_program("/usr/bin/dbus-daemon")
        for unit in ("dbus.service", "dbus.socket"):
            image.add_file(f"/lib/systemd/system/{unit}", f"/lib/systemd/system/{unit}")
        image.add_link("/etc/systemd/system/sockets.target.wants/dbus.socket", "/lib/systemd/system/dbus.socket")
        for file in ("system.conf", "system.d/org.freedesktop.systemd1.conf"):
            image.add_file(f"/usr/share/dbus-1/{file}", f"/usr/share/dbus-1/{file}")
        image.add_folder("/usr/share/dbus-1/system-services")

    def write_initramfs(self, path, command):
        """The initial file system of this machine as a file; it runs `command` and powers off."""
        image = self.image
        files = self.kernel.modules([*BASE_MODULES, *self.modules])
        for file in files:
            image.add_file(f"/keelson/modules/{os.path.basename(file)}", file)
        image.add_text("/keelson/options", "INIT={}\nCGROUPS={}\nMODULES='{}'\n".format(
            "systemd" if self.systemd else "sh", self.cgroups, " ".join(os.path.basename(f) for f in files)))
        image.add_text("/keelson/command.sh", command + "\n")
        with open(os.path.join(_HERE, "init.sh"), "rb") as f:
            init = f.read()
        with open(_busybox(), "rb") as f:
            busybox = f.read()
        image.write(path, [("bin", 0o040755, b""), ("bin/busybox", 0o100755, busybox), ("init", 0o100755, init)])

    def start(self, command):
        """Boots and runs `command` (a line or a script for sh; None with firmware). Returns a Running."""
        folder = tempfile.TemporaryDirectory(prefix="keelson-vm-")
        machine = "q35,smm=on" if self.firmware and self.firmware.secure_boot else "q35"
        line = [which(QEMU), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", machine,
                "-accel", os.environ.get("KEELSON_VM_ACCEL", "tcg"), "-cpu", "max", "-smp", str(self.cpus),
                "-m", str(self.memory_mib), "-device", "virtio-rng-pci"]
        if self.firmware:
            line += self.firmware.options()
        else:
            initramfs = os.path.join(folder.name, "initramfs")
            self.write_initramfs(initramfs, command)
            line += ["-kernel", self.kernel.image, "-initrd", initramfs, "-append", f"{CMDLINE} {self.append}"]
        for name in ("console", "output", "control"):
            line += ["-chardev", f"file,id={name},path={os.path.join(folder.name, name)}",
                     "-serial", f"chardev:{name}"]
        for number, disk in enumerate(self.disks):
            # Write-through: what the guest was told to be written is in the file, whenever the power goes.
            line += ["-drive", f"file={disk},format=raw,if=none,id=disk{number},cache=writethrough",
                     "-device", f"virtio-blk-pci,drive=disk{number},serial=disk{number},bootindex={number + 1}"]
        started = time.monotonic()
        with open(os.path.join(folder.name, "qemu"), "wb") as errors:
            process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        return Running(process, folder, self.timeout, started)

    def run(self, command):
        """Boots, runs `command`, and returns its Result when the machine is off."""
        with self.start(command) as running:
            return running.wait()
