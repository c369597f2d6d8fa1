"""What a container gets of the host's: network devices, and mount namespaces that are not its own.

Everything is made in network and mount namespaces of the test's own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "testing"))
from bundles import make_rootfs  # noqa: E402
from cases import CradleTest, read, reason_to_skip  # noqa: E402

REASON = reason_to_skip(ip="iproute2", unshare="util-linux")


class Keeper:
    """A process with namespaces of its own, in which commands run."""

    def __init__(self, *flags):
        self.process = subprocess.Popen(["unshare", *flags, "sh", "-c", "echo; exec sleep 1000"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE)
        self.process.stdout.readline()
        self.enter = ["nsenter", f"--target={self.process.pid}", *[flag.split("=")[0] for flag in flags
                                                                   if flag in ("--net", "--mount")]]

    def path(self, kind):
        return f"/proc/{self.process.pid}/ns/{kind}"

    def run(self, *words):
        return subprocess.run([*self.enter, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    def ok(self, *words):
        reply = self.run(*words)
        if reply.returncode != 0:
            raise AssertionError(f"{words}: {reply.stderr}")
        return reply.stdout

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@unittest.skipIf(REASON, REASON)
class NetDevices(CradleTest):
    def setUp(self):
        super().setUp()
        self.host = Keeper("--net")
        self.addCleanup(self.host.close)
        if self.host.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1").returncode != 0:
            print("SKIPPED: the kernel has no veth devices")
            self.skipTest("no veth devices")

    def run_in(self, script, devices):
        self.bundle.config["linux"]["netDevices"] = devices
        self.bundle.shell(script).write()
        return self.host.run(*self.cradle.command, "run", "--bundle", self.bundle.path, self.id)

    def names(self):
        return {device["ifname"] for device in json.loads(self.host.ok("ip", "-json", "link"))}

    def test_a_device_moves_with_its_addresses_and_is_up(self):
        for words in ("ip addr add 10.9.8.7/24 brd + dev v0", "ip addr add 10.7.7.1 peer 10.7.7.2 dev v0",
                      "ip addr add fd00::7/64 dev v0 nodad", "ip addr add 169.254.3.4/16 scope link dev v0",
                      "ip link set v0 mtu 1404 address 02:00:00:00:77:01 up"):
            self.host.ok(*words.split())
        reply = self.run_in("ip addr show dev v0; ip -6 addr show dev v0", {"v0": {}})
        self.assertEqual(reply.returncode, 0, reply.stderr)
        for words in ("inet 10.9.8.7/24 brd 10.9.8.255 scope global v0", "inet 10.7.7.1 peer 10.7.7.2/32 scope global v0",
                      "inet6 fd00::7/64 scope global", "mtu 1404", "02:00:00:00:77:01", ",UP"):
            self.assertIn(words, reply.stdout)
        # An address that means something on this link alone stays behind, as other runtimes have it.
        self.assertNotIn("169.254.3.4", reply.stdout)

    def test_a_device_gets_its_new_name_or_the_next_free_one(self):
        for given, name in (("net0", "net0"), ("eth%d", "eth0")):
            reply = self.run_in("ls /sys/class/net", {"v0": {"name": given}})
            self.assertEqual(reply.stdout.split(), sorted([name, "lo"]), reply.stderr)
            # The kernel takes a namespace apart, and with it the pair, behind the container's end.
            deadline = time.monotonic() + 30
            while "v1" in self.names() and time.monotonic() < deadline:
                time.sleep(0.01)
            self.host.ok("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")

    def test_two_devices_exchange_their_names(self):
        self.host.ok(*"ip link set v0 address 02:00:00:00:77:01".split())
        self.host.ok(*"ip link set v1 address 02:00:00:00:77:02".split())
        reply = self.run_in("cat /sys/class/net/v0/address /sys/class/net/v1/address",
                            {"v0": {"name": "v1"}, "v1": {"name": "v0"}})
        self.assertEqual(reply.stdout, "02:00:00:00:77:02\n02:00:00:00:77:01\n", reply.stderr)

    def test_what_cannot_be_moved_stays_and_is_told(self):
        before = self.names()
        for devices, words in (({"none": {}}, "linux.netDevices 'none': ioctl SIOCGIFINDEX: no such device"),
                               ({"v0": {"name": "lo"}}, "has a device of this name"),
                               ({"v0": {"name": "a/b"}}, "linux.netDevices.v0: 'a/b' is no name"),
                               ({"v0": {"name": "a%d%d"}}, "is no name"), ({"x" * 16: {}}, "is no name"),
                               ({"v0": {"name": "n"}, "v1": {"name": "n"}}, "the name 'n' is given twice")):
            reply = self.run_in("true", devices)
            self.assertEqual(reply.returncode, 1)
            self.assertIn(words, reply.stderr)
            self.assertEqual(self.names(), before)

    def test_a_container_in_the_hosts_network_gets_none(self):
        config = self.bundle.config["linux"]
        config["namespaces"] = [space for space in config["namespaces"] if space["type"] != "network"]
        reply = self.run_in("true", {"v0": {}})
        self.assertIn("without a private NET namespace", reply.stderr)

    def test_a_device_stays_in_a_namespace_that_was_there_before(self):
        there = Keeper("--net")
        self.addCleanup(there.close)
        for space in self.bundle.config["linux"]["namespaces"]:
            if space["type"] == "network":
                space["path"] = there.path("net")
        self.host.ok(*"ip addr add 10.9.8.7/24 dev v0".split())
        reply = self.run_in("ip addr show dev net0", {"v0": {"name": "net0"}})
        self.assertIn("10.9.8.7/24", reply.stdout, reply.stderr)
        self.assertIn("10.9.8.7/24", there.ok("ip", "addr", "show", "dev", "net0"))

    def test_a_device_goes_into_a_user_namespace(self):
        self.bundle.config["linux"]["namespaces"].append({"type": "user"})
        for field in ("uidMappings", "gidMappings"):
            self.bundle.config["linux"][field] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        self.host.ok(*"ip addr add 10.9.8.7/24 dev v0".split())
        self.assertIn("10.9.8.7/24", self.run_in("ip addr show dev v0", {"v0": {}}).stdout)


@unittest.skipIf(REASON, REASON)
class SharedMounts(CradleTest):
    def setUp(self):
        super().setUp()
        # A namespace in place of the host's; shared, as systemd has "/", so that whatever leaks would show.
        self.host = Keeper("--mount", "--propagation=shared")
        self.addCleanup(self.host.close)
        # A namespace that follows: what it sees is what another container's would.
        self.before = self.table()

    def table(self):
        return [line.split()[4] for line in self.host.ok("cat", "/proc/self/mountinfo").splitlines()]

    def without_mount_namespace(self, path=None):
        spaces = [space for space in self.bundle.config["linux"]["namespaces"] if space["type"] != "mount"]
        self.bundle.config["linux"]["namespaces"] = spaces + ([{"type": "mount", "path": path}] if path else [])

    def in_host(self, *words):
        return self.host.run(*self.cradle.command, *words)

    def start(self, script):
        self.bundle.shell(script).write()
        flags = ("run", "--detach", "--bundle", self.bundle.path, self.id)
        self.assertEqual(self.quiet(*flags, before=self.host.enter), 0)

    def test_without_a_mount_namespace_the_root_is_the_bundles_and_one_unmount_takes_it_away(self):
        self.without_mount_namespace()
        self.start("touch /tmp/inside 2>/dev/null; echo $PPID; sleep 1000")
        self.assertIn(self.rootfs, self.table())
        # What joins is in the container's root as well, and not in the host's.
        self.assertEqual(self.in_host("exec", self.id, "cat", "/etc/conf/a").stdout, "etc/conf/a")
        self.assertEqual(self.in_host("exec", self.id, "readlink", "/proc/self/ns/mnt").stdout,
                         self.host.ok("readlink", "/proc/self/ns/mnt"))
        # Masked and read-only paths hold, and the host's are as they were.
        self.assertEqual(self.in_host("exec", self.id, "sh", "-c", "echo 1 >/proc/sys/kernel/domainname").returncode, 1)
        self.assertEqual(self.in_host("delete", "--force", self.id).returncode, 0)
        self.assertEqual(self.table(), self.before)

    def test_a_failed_start_leaves_no_mount(self):
        self.without_mount_namespace()
        self.bundle.config["process"]["args"] = ["/no/such/program"]
        self.bundle.write()
        self.assertEqual(self.in_host("run", "--bundle", self.bundle.path, self.id).returncode, 1)
        self.assertEqual(self.table(), self.before)

    def test_run_in_the_foreground_leaves_no_mount(self):
        self.without_mount_namespace()
        self.bundle.shell("exit 3").write()
        self.assertEqual(self.in_host("run", "--bundle", self.bundle.path, self.id).returncode, 3)
        self.assertEqual(self.table(), self.before)

    def test_a_runtime_that_was_killed_leaves_what_delete_clears(self):
        self.without_mount_namespace()
        self.bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $PPID"]}]}
        self.bundle.shell("true").write()
        self.assertNotEqual(self.in_host("run", "--bundle", self.bundle.path, self.id).returncode, 0)
        self.wait_until(lambda: self.in_host("delete", "--force", self.id).returncode == 0)
        self.assertEqual(self.table(), self.before)

    def test_a_mount_that_came_later_is_left_alone(self):
        self.without_mount_namespace()
        self.start("sleep 1000")
        other = tempfile.mkdtemp(dir=self.tmp)
        make_rootfs(other + "/r")
        self.host.ok("mount", "--bind", other, self.rootfs)
        self.assertEqual(self.in_host("delete", "--force", self.id).returncode, 0)
        self.assertIn(self.rootfs, self.table())
        self.host.ok("umount", self.rootfs)
        self.host.ok("umount", "-l", self.rootfs)
        self.assertEqual(self.table(), self.before)

    def test_a_mount_namespace_is_joined_by_path(self):
        there = Keeper("--mount", "--propagation=private")
        self.addCleanup(there.close)
        self.without_mount_namespace(there.path("mnt"))
        before = there.ok("cat", "/proc/self/mountinfo")
        self.start("sleep 1000")
        self.assertEqual(self.in_host("exec", self.id, "readlink", "/proc/self/ns/mnt").stdout,
                         there.ok("readlink", "/proc/self/ns/mnt"))
        self.assertEqual(self.in_host("exec", self.id, "cat", "/etc/conf/a").stdout, "etc/conf/a")
        # Who was there keeps its root, and the host's table is as it was.
        self.assertNotIn("conf", there.ok("ls", "/").split())
        self.assertEqual(self.table(), self.before)
        self.assertEqual(self.in_host("delete", "--force", self.id).returncode, 0)
        self.assertEqual(there.ok("cat", "/proc/self/mountinfo"), before)

    def test_a_path_that_is_no_mount_namespace_leaves_nothing(self):
        self.without_mount_namespace("/proc/self/ns/net")
        self.bundle.shell("true").write()
        reply = self.in_host("run", "--bundle", self.bundle.path, self.id)
        self.assertEqual(reply.returncode, 1)
        self.assertIn("setns: invalid argument", reply.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.state, self.id)))

    def test_a_user_namespace_needs_a_mount_namespace(self):
        self.without_mount_namespace()
        self.bundle.config["linux"]["namespaces"].append({"type": "user"})
        for field in ("uidMappings", "gidMappings"):
            self.bundle.config["linux"][field] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        self.bundle.shell("true").write()
        self.assertIn("needs a mount namespace", self.in_host("run", "--bundle", self.bundle.path, self.id).stderr)

    def tearDown(self):
        self.in_host("delete", "--force", self.id)
        super().tearDown()
        self.assertNotIn(self.rootfs, read("/proc/self/mountinfo"))


@unittest.skipIf(REASON, REASON)
class Exec(CradleTest):
    def test_it_joins_what_is_not_in_the_config_where_the_container_is(self):
        host = Keeper("--net")
        self.addCleanup(host.close)
        linux = self.bundle.config["linux"]
        linux["namespaces"] = [space for space in linux["namespaces"] if space["type"] != "network"]
        self.bundle.shell("sleep 100").write()
        self.assertEqual(self.quiet("run", "--detach", "--bundle", self.bundle.path, self.id, before=host.enter), 0)
        for kind in ("net", "mnt", "pid", "uts"):
            reply = self.cradle("exec", self.id, "/bin/readlink", f"/proc/self/ns/{kind}")
            self.assertEqual((reply.returncode, reply.stdout.strip()), (0, os.readlink(f"/proc/{self.pid()}/ns/{kind}")))
        self.assertEqual(os.readlink(host.path("net")), os.readlink(f"/proc/{self.pid()}/ns/net"))


if __name__ == "__main__":
    unittest.main()
