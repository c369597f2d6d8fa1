"""Machines with UEFI firmware in QEMU, for tests: a disk with an EFI system partition, and what the guest prints.

Everything is a file of the test's own folder; no privilege is needed.
"""

import os
import re
import shutil
import struct
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../tests/vm"))
from initramfs import write_archive  # noqa: E402
from kernel import Kernel, Unavailable  # noqa: E402

OVMF = "/usr/share/OVMF"
LOADER = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
ESP_OFFSET = 1 << 20
PEERS = {"qemu-system-x86_64": "qemu-system-x86", "mformat": "mtools"}
FILES = {f"{OVMF}/OVMF_CODE_4M.fd": "ovmf", LOADER: "systemd-boot-efi"}


def missing():
    """The packages that this machine lacks, sorted."""
    return sorted({package for program, package in PEERS.items() if not shutil.which(program)} |
                  {package for path, package in FILES.items() if not os.path.exists(path)})


def run(*command, **options):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit code {result.returncode}\n{result.stdout}")
    return result.stdout


def kernel():
    """Debian's cloud kernel, from a cache; None, said aloud, where it cannot be had. $KEELSON_TEST_KERNEL names
    another one."""
    if os.environ.get("KEELSON_TEST_KERNEL"):
        return os.environ["KEELSON_TEST_KERNEL"]
    try:
        return Kernel.get().image
    except Unavailable as error:
        print(f"SKIPPED ALL: {error}; $KEELSON_TEST_KERNEL may name a kernel")
        return None


def initramfs(init, path, files=None):
    """An initramfs with the program `init`, a console, and `files`: name -> where its contents are."""
    write_archive(path, [("init", 0o100755, init)] + [(name, 0o100644, source) for name, source in (files or {}).items()])
    return path


class Machine:
    """One machine: its disk and firmware variables stay from boot to boot."""

    def __init__(self, folder, slotctl, secure_boot=False):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.disk = os.path.join(folder, "disk.img")
        self.variables = os.path.join(folder, "vars.fd")
        self.secure_boot = secure_boot
        shutil.copy(f"{OVMF}/OVMF_VARS_4M.fd", self.variables)
        layout = os.path.join(folder, "layout.json")
        with open(layout, "w") as file:
            file.write('{"partitions": [{"number": 1, "type": "esp", "size": "254MiB", "label": "ESP"}]}')
        run(slotctl, "create", self.disk, f"--layout={layout}", "--size=256MiB")
        self.image = f"{self.disk}@@{ESP_OFFSET}"
        run("mformat", "-i", self.image, "-T", str(254 * 2048), "-h", "16", "-s", "63", "-F", "::")
        for path in ("EFI", "EFI/BOOT", "EFI/Linux", "EFI/systemd", "loader", "loader/entries"):
            run("mmd", "-i", self.image, f"::/{path}")

    def put(self, source, path):
        run("mcopy", "-o", "-i", self.image, source, f"::/{path}")

    def write(self, path, text):
        source = os.path.join(self.folder, "written")
        with open(source, "w") as file:
            file.write(text)
        self.put(source, path)

    def names(self, path="EFI/Linux"):
        """The names in a folder of the EFI system partition, sorted."""
        listing = run("mdir", "-b", "-i", self.image, f"::/{path}")
        return sorted(line.rsplit("/", 1)[1] for line in listing.split() if not line.endswith("/"))

    def take_out(self, path, to):
        """A copy of a folder of the EFI system partition."""
        shutil.rmtree(to, ignore_errors=True)
        os.makedirs(to)
        run("mcopy", "-s", "-i", self.image, f"::/{path}", to)
        return os.path.join(to, os.path.basename(path))

    def boot(self, until=None, timeout=900):
        """Runs until the machine powers off or resets, or has printed `until` (a regular expression) and is ended.

        Answers with what it printed, without the escape sequences. The time is a limit for a hung machine alone.
        """
        code = f"{OVMF}/OVMF_CODE_4M{'.secboot' if self.secure_boot else ''}.fd"
        command = ["qemu-system-x86_64", "-machine", "q35" + (",smm=on" if self.secure_boot else ""), "-m", "512",
                   "-nographic", "-no-reboot", "-net", "none", "-monitor", "none", "-serial", "stdio", "-accel", "tcg",
                   "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}",
                   "-drive", f"if=pflash,unit=1,format=raw,file={self.variables}",
                   "-drive", f"if=virtio,format=raw,file={self.disk}"]
        if self.secure_boot:
            command[1:1] = ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        return run_machine(command, self.folder, until, timeout)


def run_machine(command, folder, until, timeout):
    """Runs QEMU as Machine.boot says it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    limit = threading.Timer(timeout, process.kill)
    limit.start()
    raw, text = b"", ""
    try:
        while piece := os.read(process.stdout.fileno(), 65536):
            raw += piece
            text = re.sub(r"\x1b\[[0-9;=?]*[A-Za-z]", "", raw.decode(errors="replace"))
            if until is not None and re.search(until, text):
                break
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        limit.cancel()
        with open(os.path.join(folder, "console.log"), "a") as log:
            log.write(text + "\n==== end of this boot ====\n")
    return text


def direct_boot(folder, kernel_path, initrd, cmdline, timeout=900):
    """Starts a kernel without firmware or disk; what the console printed."""
    command = ["qemu-system-x86_64", "-machine", "q35", "-m", "768", "-nographic", "-no-reboot", "-net", "none",
               "-monitor", "none", "-serial", "stdio", "-accel", "tcg", "-kernel", kernel_path, "-initrd", initrd,
               "-append", cmdline]
    return run_machine(command, folder, None, timeout)


def started(console):
    """The command lines with which the guest's init ran, in order."""
    return re.findall(r"KEELSON-INIT (.*?) KEELSON-END", console, re.DOTALL)


def alter(path, to, offset_of=b""):
    """A copy of a file with one bit flipped in the middle of the section that is named `offset_of`."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    pe = struct.unpack_from("<I", data, 0x3c)[0]
    count, optional = struct.unpack_from("<H", data, pe + 6)[0], struct.unpack_from("<H", data, pe + 20)[0]
    for i in range(count):
        header = pe + 24 + optional + 40 * i
        if data[header:header + 8].rstrip(b"\0") == offset_of:
            size, offset = struct.unpack_from("<II", data, header + 16)
            data[offset + size // 2] ^= 1
            break
    else:
        raise AssertionError(f"no section {offset_of}")
    with open(to, "wb") as file:
        file.write(data)
    return to
