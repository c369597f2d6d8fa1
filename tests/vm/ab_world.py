"""A machine with two system slots, for tests: versions of a small system, a disk, and what boots them.

    world = World(folder, slotctl)
    world.add_version("1", install=True)
    world.add_version("2")
    boot = world.boot("slotctl slots list /dev/vda")      # in the system of the slot that boots
    assert boot.version == "1", boot.result.output

A system is an ext4 image with a shell and slotctl, verified by dm-verity while it runs. The initial file system
opens the slot that its command line names by root hash (`usrhash=`); without one it chooses as gptprio does, by
`slotctl slots next --take`, and knows the root hashes that are trusted. /dev/vda is the disk, /dev/vdb holds the
script of this boot, /dev/vdc the versions that can be installed (/payload in the system). /state is kept.
"""

import dataclasses
import json
import os
import random
import re
import shutil
import subprocess

import vm
from initramfs import shared_libraries

MIB = 1 << 20
IMAGE_MIB = 28
SLOT_MIB = 32
ESP_MIB = 254
SLOTS = (3, 4)
OVMF = "/usr/share/OVMF"
LOADER = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
SHIM = "/usr/lib/shim/shimx64.efi"
MODULES = ("dm_verity", "vfat", "nls_cp437", "nls_ascii")

# What the initial file system does: finds the slot, opens it, and runs the script of this boot in it.
BOOT = r"""
set -eu
. /keelson/ab
hash=$(sed -n 's/.*usrhash=\([0-9a-f]*\).*/\1/p' /proc/cmdline)
row() { slotctl show /dev/vda | grep -i "$1"; }
dashes() { echo "$1" | sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/\1-\2-\3-\4-\5/'; }
if [ -z "$hash" ]; then
  slot=$(slotctl slots next /dev/vda --take)
  guid=$(slotctl show /dev/vda | grep "^ *$slot " | grep -oE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' | tr -d -)
  hash=$(grep "^$guid" /keelson/trusted)
else
  slot=$(row "$(dashes "$hash")" | awk '{print $1}')
fi
slotctl verity open "/dev/vda$slot" usr "/dev/vda$slot" "$hash" "--hash-offset=$OFFSET"
mount -t ext4 -o ro /dev/mapper/usr /mnt
for folder in dev proc sys run; do mount --bind "/$folder" "/mnt/$folder"; done
mount -t ext4 /dev/vda9 /mnt/state
mount -t ext4 -o ro /dev/vdc /mnt/payload
if [ -d /sys/firmware/efi/efivars ]; then
  mount -t efivarfs efivarfs /sys/firmware/efi/efivars
  mount -t efivarfs efivarfs /mnt/sys/firmware/efi/efivars
fi
mount -t vfat /dev/vda1 /mnt/efi 2>/dev/null || true
tr -d '\0' </dev/vdb >/run/step.sh
# All of it is read, so all of it is whole.
cat /dev/mapper/usr >/dev/null
status=0
SLOT=$slot chroot /mnt /bin/sh -c 'echo "SYSTEM $(cat /etc/version) slot $SLOT"; . /run/step.sh' || status=$?
for folder in efi state payload; do umount "/mnt/$folder" 2>/dev/null || true; done
exit $status
"""


def missing(firmware=False):
    """Why no such machine can be started here, or None."""
    reason = vm.missing()
    if reason:
        return reason
    for program, package in (("mke2fs", "e2fsprogs"), ("strip", "binutils")):
        if vm.which(program) is None:
            return f"needs the package {package}"
    if not firmware:
        return None
    for path, package in ((f"{OVMF}/OVMF_CODE_4M.secboot.fd", "ovmf"), (LOADER, "systemd-boot-efi"), (STUB, "systemd-boot-efi")):
        if not os.path.exists(path):
            return f"needs the package {package}"
    return None if vm.which("mformat") else "needs the package mtools"


def run(program, *arguments):
    """Standard output. Programs for the administrator are found too."""
    command = [vm.which(program) or program, *arguments]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit code {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


@dataclasses.dataclass
class Boot:
    """How a boot went. `version` and `slot` are those of the last system that ran, None if none did."""

    result: vm.Result
    version: str
    slot: int

    @classmethod
    def of(cls, result):
        found = re.findall(r"^SYSTEM (\S+) slot (\d+)$", result.output, re.M)
        return cls(result, found[-1][0] if found else None, int(found[-1][1]) if found else None)

    def text(self):
        return f"{self.result.reason}, exit {self.result.exit_status}\n{self.result.output}\n{self.result.console[-3000:]}"


class World:
    def __init__(self, folder, slotctl, firmware=False):
        self.folder = folder
        self.program = slotctl  # on this machine
        self.stripped = self.path("slotctl")
        run("strip", "-o", self.stripped, slotctl)
        self.roots = {}  # version -> root hash
        self.firmware = None
        self.disk, self.step, self.payload = self.path("disk"), self.path("step"), self.path("payload")
        os.makedirs(self.path("packed"))
        layout = self.path("layout.json")
        with open(layout, "w", encoding="utf-8") as file:
            json.dump({"alignment": "1MiB", "partitions": [
                {"number": 1, "label": "ESP", "type": "esp", "size": f"{ESP_MIB if firmware else 1}MiB"},
                *({"number": slot, "label": "", "type": "coreos-usr", "size": f"{SLOT_MIB}MiB"} for slot in SLOTS),
                {"number": 9, "label": "STATE", "type": "linux", "size": "16MiB"}]}, file)
        self.slotctl("create", self.disk, f"--layout={layout}", f"--size={(ESP_MIB if firmware else 1) + 2 * SLOT_MIB + 20}MiB")
        state = next(p for p in self.partitions() if p["number"] == 9)
        run("mke2fs", "-q", "-t", "ext4", "-E", f"offset={state['offset']}", self.disk, f"{state['bytes'] >> 10}k")
        if firmware:
            self._add_firmware()

    def path(self, name):
        return os.path.join(self.folder, name)

    def slotctl(self, *arguments):
        return run(self.program, *arguments)

    def partitions(self):
        return json.loads(self.slotctl("show", self.disk, "--output=json"))["partitions"]

    def slots(self):
        """Slots by number, as slotctl shows them."""
        listed = json.loads(self.slotctl("slots", "list", self.disk, "--type=coreos-usr", "--output=json"))["slots"]
        return {slot["number"]: slot for slot in listed}

    # Versions

    def _system_tree(self, version):
        tree = self.path("tree")
        shutil.rmtree(tree, ignore_errors=True)
        for folder in ("bin", "etc", "proc", "sys", "dev", "run", "tmp", "state", "efi", "payload", "data"):
            os.makedirs(os.path.join(tree, folder))

        def put(source, path):
            there = os.path.join(tree, path.lstrip("/"))
            os.makedirs(os.path.dirname(there), exist_ok=True)
            shutil.copyfile(os.path.realpath(source), there)
            os.chmod(there, 0o755)

        put(vm.which("busybox"), "/bin/busybox")
        for name in ("sh", "cat", "echo", "sleep", "grep", "ls", "sync", "awk", "dd", "cp", "cmp", "rm", "mkdir", "true", "mount", "umount"):
            os.symlink("busybox", os.path.join(tree, "bin", name))
        put(self.stripped, "/bin/slotctl")
        for library in shared_libraries(os.path.realpath(self.program)):
            put(library, library)
        with open(os.path.join(tree, "etc/version"), "w", encoding="ascii") as file:
            file.write(version + "\n")
        # A version differs in some of its data from the others.
        common, own = random.Random(1), random.Random(version)
        with open(os.path.join(tree, "data/blocks"), "wb") as file:
            for _ in range(2 * MIB // 4096):
                file.write((own if own.random() < 0.3 else common).randbytes(4096))
        for folder, folders, files in os.walk(tree):
            for name in folders + files:
                os.utime(os.path.join(folder, name), (1, 1), follow_symlinks=False)
        return tree

    def add_version(self, version, install=False):
        """Makes a version and puts it where systems find it; `install`: also into the first slot, as good."""
        image, tree = self.path(f"packed/{version}.img"), self._system_tree(version)
        run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "^has_journal", "-d", tree, "-U", "11111111-2222-3333-4444-555555555555",
            "-E", "hash_seed=11111111-2222-3333-4444-555555555555", image, f"{IMAGE_MIB}M")
        answer = json.loads(self.slotctl("verity", "format", image, image + ".hash", "--output=json"))
        self.roots[version] = answer["root_hash"]
        if install:
            self.slotctl("install", self.disk, f"--slot={SLOTS[0]}", f"--image-version={version}", "--type=coreos-usr",
                         *self.source(version, self.path("packed")))
            self.slotctl("slots", "mark-good", self.disk, str(SLOTS[0]), "--type=coreos-usr")

    def source(self, version, folder="/payload"):
        """What `slotctl install` takes to install a version; `folder`: where it is for who installs it."""
        return [f"--image={folder}/{version}.img", f"--hash-file={folder}/{version}.img.hash",
                f"--root-hash={self.roots[version]}"]

    def install_command(self, version, options=""):
        return f"slotctl install /dev/vda --image-version={version} {' '.join(self.source(version))} {options}"

    def machine(self):
        machine = vm.Machine(disks=[self.disk, self.step, self.payload], memory_mib=768,
                             modules=MODULES + (("efivarfs",) if self.firmware else ()),
                             firmware=self.firmware, timeout=600)
        machine.image.add_program(self.program, "/bin/slotctl")
        machine.image.add_file("/bin/slotctl", self.stripped, 0o755)
        machine.image.add_text("/keelson/ab", f"OFFSET={IMAGE_MIB * MIB}\n")
        machine.image.add_text("/keelson/trusted", "".join(root + "\n" for root in self.roots.values()))
        return machine

    def make_uki(self, version, signer=(), extra=""):
        """A unified kernel image that boots `version` and nothing else; in the payload, and returned by path."""
        path = self.path(f"packed/keelson_{version}.efi")
        self.write_uki(path, self.machine(), BOOT, version, signer, f"usrhash={self.roots[version]} {extra}")
        return path

    def write_uki(self, path, machine, command, version="1", signer=(), extra=""):
        """A unified kernel image at `path`, whose initial file system is `machine`'s and runs `command`."""
        os_release, initrd = self.path("os-release"), self.path("initrd")
        with open(os_release, "w", encoding="ascii") as file:
            file.write(f"ID=keelson\nNAME=Keelson\nVERSION_ID={version}\n")
        machine.write_initramfs(initrd, command)
        self.slotctl("uki", "make", f"--linux={machine.kernel.image}", f"--initrd={initrd}", f"--os-release={os_release}",
                     f"--cmdline={vm.CMDLINE} {extra}".strip(), f"--to={path}")
        if signer:
            self.slotctl("sign", "pe", path, *signer, f"--to={path}.signed")
            os.replace(path + ".signed", path)

    def pack(self):
        """Puts all versions and images made so far on the disk of the payload."""
        size = sum(os.path.getsize(self.path(f"packed/{name}")) for name in os.listdir(self.path("packed")))
        if os.path.exists(self.payload):
            os.remove(self.payload)
        run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", self.path("packed"), self.payload,
            f"{size // MIB + 24}M")

    # Boots

    def start(self, step):
        with open(self.step, "wb") as file:
            file.write(step.encode().ljust(65536, b"\0"))
        return self.machine().start(None if self.firmware else BOOT)

    def boot(self, step="true"):
        """Boots; the system that comes up runs `step`, a script for sh. Then the machine is off."""
        with self.start(step) as running:
            return Boot.of(running.wait())

    # Firmware

    def _add_firmware(self):
        variables = self.path("vars.fd")
        shutil.copy(f"{OVMF}/OVMF_VARS_4M.fd", variables)
        self.firmware = vm.Firmware(code=f"{OVMF}/OVMF_CODE_4M.secboot.fd", variables=variables, secure_boot=True)
        keys = self.path("keys")
        self.slotctl("keys", keys)
        self.signer = (f"--key={keys}/db.key", f"--certificate={keys}/db.crt")
        self.esp = f"{self.disk}@@{MIB}"
        run("mformat", "-i", self.esp, "-T", str(ESP_MIB * 2048), "-h", "16", "-s", "63", "-F", "::")
        for path in ("EFI", "EFI/BOOT", "EFI/Linux", "loader", "loader/keys", "loader/keys/auto"):
            run("mmd", "-i", self.esp, f"::/{path}")
        loader = self.path("loader.efi")
        self.slotctl("sign", "pe", LOADER, *self.signer, f"--to={loader}")
        self.put_on_esp(loader, "EFI/BOOT/BOOTX64.EFI")
        for name in ("PK", "KEK", "db"):
            self.put_on_esp(f"{keys}/{name}.auth", f"loader/keys/auto/{name}.auth")
        with open(self.path("loader.conf"), "w", encoding="ascii") as file:
            file.write("timeout 0\nsecure-boot-enroll force\n")
        self.put_on_esp(self.path("loader.conf"), "loader/loader.conf")

    def put_shim_first(self, image, certificates):
        """From the next boot on the firmware starts shim, and that `image`. To the kernel shim hands `certificates`
        (an .esl file) as keys of the machine's owner: beside shim lies a signed program with them in a section."""
        shim, carrier = self.path("shim.efi"), self.path("shim_certificate.efi")
        self.slotctl("sign", "pe", SHIM, *self.signer, f"--to={shim}")
        run("objcopy", "--add-section", f".db={certificates}", "--change-section-vma", ".db=0x100000", STUB, carrier)
        self.slotctl("sign", "pe", carrier, *self.signer)
        for source, name in ((shim, "BOOTX64.EFI"), (image, "grubx64.efi"), (carrier, "shim_certificate.efi")):
            self.put_on_esp(source, f"EFI/BOOT/{name}")

    def put_on_esp(self, source, path):
        run("mcopy", "-o", "-i", self.esp, source, f"::/{path}")

    def entries(self):
        """The names of the loader's entries, sorted."""
        listing = run("mdir", "-b", "-i", self.esp, "::/EFI/Linux")
        return sorted(line.rsplit("/", 1)[1] for line in listing.split() if not line.endswith("/"))
