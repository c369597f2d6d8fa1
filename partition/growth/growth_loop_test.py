"""A real kernel: partition and mounted file system of a loop device grow, and a check finds nothing wrong.

Makes a loop device and a mount in a namespace of its own, and leaves neither behind.
"""

import json
import os
import shutil
import subprocess
import unittest

TMP = os.environ.get("TEST_TMPDIR", "/tmp")
SLOTCTL = os.path.abspath("partition/cmd/slotctl")
MIB = 1 << 20
os.environ["PATH"] += ":/usr/sbin:/sbin"

# Runs with mounts of its own. Arguments: slotctl, image, mount point, first sector and sectors of the
# partition, and the commands that make a file system and check it.
SCRIPT = """
set -eu
slotctl=$1 image=$2 mount=$3 start=$4 sectors=$5 make=$6 check=$7 made=
loop=$(losetup --find --show --partscan "$image")
cleanup() { umount "$mount" 2>/dev/null || true; losetup --detach "$loop"; [ -z "$made" ] || rm -f "$made"; }
trap cleanup EXIT
part=${loop}p2
sys=/sys/class/block/${part#/dev/}
# A kernel may be built without the reader of these tables.
[ -e "$sys" ] || addpart "$loop" 2 "$start" "$sectors"
if [ ! -b "$part" ]; then
  made=$part
  mknod "$part" b $(tr : ' ' < "$sys/dev")
fi
$make "$part" >&2
mount "$part" "$mount"
dd if=/dev/urandom of="$mount/data" bs=1M count=4 status=none
sum=$(sha256sum < "$mount/data")
truncate -s 512M "$image"
losetup --set-capacity "$loop"
"$slotctl" grow "$loop" 2 --mount="$mount" --output=json
"$slotctl" grow "$loop" 2 --mount="$mount" --output=json
[ "$(sha256sum < "$mount/data")" = "$sum" ]
umount "$mount"
$check "$part" >&2
"""


KINDS = {"ext4": ("mkfs.ext4 -q", "e2fsck -fn"), "btrfs": ("mkfs.btrfs -q -f", "btrfs check --readonly"),
         "xfs": ("mkfs.xfs -q -f", "xfs_repair -n")}
# What the kernel asks for to resize ext4; sandboxes may lack it where they are root.
CAP_SYS_RESOURCE = 24


def capable(number):
    with open("/proc/self/status") as file:
        effective = next(line for line in file if line.startswith("CapEff")).split()[1]
    return int(effective, 16) >> number & 1 == 1


def why_not(kind):
    """What is missing here to test a kind of file system; empty if nothing is."""
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        return "root and loop devices"
    for command in (KINDS[kind][0], KINDS[kind][1], "losetup", "unshare"):
        if not shutil.which(command.split()[0]):
            return command.split()[0]
    with open("/proc/filesystems") as file:
        if kind not in file.read().split():
            return f"a kernel with {kind}"
    if kind == "ext4" and not capable(CAP_SYS_RESOURCE):
        return "CAP_SYS_RESOURCE"
    return ""


MISSING = {kind: why_not(kind) for kind in KINDS}
ALL = "" if not all(MISSING.values()) else " ALL"
for name, missing in MISSING.items():
    if missing:
        print(f"SKIPPED{ALL}: {name} needs {missing}")


class GrowthLoopTest(unittest.TestCase):
    def grow(self, kind):
        image, mount, layout = (os.path.join(TMP, f"grow.{name}") for name in ("img", "mnt", "json"))
        if os.path.exists(image):
            os.remove(image)
        os.makedirs(mount, exist_ok=True)
        with open(layout, "w") as file:
            json.dump({"partitions": [{"number": 1, "label": "one", "type": "esp", "size": "4MiB"},
                                      {"number": 2, "label": "root", "type": "linux", "size": "320MiB"}]}, file)
        subprocess.run([SLOTCTL, "create", image, f"--layout={layout}", "--size=330MiB"], check=True)
        result = subprocess.run(["unshare", "--mount", "--propagation", "private", "bash", "-c", SCRIPT, "-", SLOTCTL,
                                 image, mount, str(5 * MIB // 512), str(320 * MIB // 512), *KINDS[kind]],
                                stdout=subprocess.PIPE, text=True)
        os.remove(image)
        self.assertEqual(result.returncode, 0, result.stdout)
        first, second = (json.loads(text + "}") for text in result.stdout.split("}")[:2])
        self.assertEqual(first["partition_bytes_before"], 320 * MIB)
        self.assertGreater(first["partition_bytes"], 500 * MIB)
        # Kinds differ in how much of the end they can use.
        self.assertLess(first["partition_bytes"] - first["file_system_bytes"], MIB)
        self.assertEqual(second["partition_bytes_before"], second["partition_bytes"])
        self.assertEqual(second["file_system_bytes_before"], first["file_system_bytes"])

    @unittest.skipIf(MISSING["ext4"], MISSING["ext4"])
    def test_ext4_grows_while_it_is_mounted(self):
        self.grow("ext4")

    @unittest.skipIf(MISSING["btrfs"], MISSING["btrfs"])
    def test_btrfs_grows_while_it_is_mounted(self):
        self.grow("btrfs")

    @unittest.skipIf(MISSING["xfs"], MISSING["xfs"])
    def test_xfs_grows_while_it_is_mounted(self):
        self.grow("xfs")


if __name__ == "__main__":
    unittest.main()
