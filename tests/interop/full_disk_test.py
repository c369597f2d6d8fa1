"""A full disk: writes are refused or wait, reads go on, and it all recovers when there is room.

Builds: one server on loopback whose data directory is on a small tmpfs, in a mount namespace of
its own (needs root). The tmpfs is filled to the last byte by another file, then by puts.
"""

import argparse
import ctypes
import errno
import os
import subprocess
import sys


from interop import (Cluster, ClusterError, Ctl, Story, expect, expect_equal, free_ports, require_peers,
                     scratch_folder, wait_for)

CLONE_NEWNS = 0x00020000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
DISK_MIB = 512
VALUE = "v" * 1000000


def enter_private_mounts():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        reason = os.strerror(ctypes.get_errno())
        print(f"SKIPPED ALL: no mount namespace of its own: {reason}")
        sys.exit(0)


def fill(path):
    """Writes zeros until the file system has no room left."""
    with open(path, "wb", buffering=0) as f:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    f.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def put(ctl, key, value, seconds=3):
    return ctl.run("put", key, f"--command-timeout={seconds}s", stdin=value, check=False)


def fill_by_puts(ctl, acknowledged):
    """Puts until one is not acknowledged; returns its error text."""
    for i in range(2 * DISK_MIB):
        key = f"big/{i:04d}"
        done = put(ctl, key, VALUE)
        if done.returncode != 0:
            return done.stderr
        acknowledged[key] = VALUE
    raise AssertionError("every put was acknowledged on a full disk")


def expect_present(ctl, acknowledged, consistency):
    for key, value in acknowledged.items():
        done = ctl.run("get", key, "--print-value-only", f"--consistency={consistency}")
        expect(done.stdout == value + "\n", f"'{key}' is lost or changed")


def run(story, cluster, ctl, disk):
    member = cluster.members[0]
    filler = os.path.join(disk, "filler")
    acknowledged = {"small": "1"}
    with story.step("the disk is filled, first by another file and then by puts"):
        cluster.start()
        ctl.run("put", "small", "1")
        fill(filler)
        error = fill_by_puts(ctl, acknowledged)
        story.say(f"{len(acknowledged)} puts acknowledged, then: {error.strip()[-120:]}")
    with story.step("writes are not acknowledged, and the server lives on"):
        expect(put(ctl, "more", VALUE).returncode != 0, "a put was acknowledged")
        member.check_running()
    with story.step("reads go on, linearizable and serializable"):
        few = dict(list(acknowledged.items())[:5])
        expect_present(ctl, few, "s")
        expect_present(ctl, few, "l")
    with story.step("with room again, writes go on without a restart"):
        os.remove(filler)
        wait_for("a put is acknowledged", lambda: put(ctl, "after", "2").returncode == 0)
        acknowledged["after"] = "2"
        expect_present(ctl, acknowledged, "l")
    with story.step("filled again and killed while full: nothing acknowledged is lost"):
        fill(filler)
        member.kill()
        os.remove(filler)
        cluster.start()
        expect_present(ctl, acknowledged, "l")
        expect_equal(ctl.run("put", "last", "3").stdout, "OK\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="kvstored")
    parser.add_argument("--ctl", required=True, help="kvctl or etcdctl")
    arguments = parser.parse_args()
    require_peers(arguments.server, arguments.ctl)
    enter_private_mounts()
    with scratch_folder() as folder:
        disk = os.path.join(folder, "disk")
        os.mkdir(disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", disk], check=True)
        try:
            with Cluster(os.path.abspath(arguments.server), members=1, ports=free_ports(2), folder=disk,
                         keep=True) as cluster:
                story = Story("full_disk_test", cluster)
                run(story, cluster, Ctl(arguments.ctl, cluster), disk)
        finally:
            subprocess.run(["umount", disk], check=True)
        return story.finish()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as failure:
        print(f"FAIL {failure}")
        sys.exit(1)
