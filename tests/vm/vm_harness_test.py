"""The harness of virtual machines does what its users rely on."""

import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm  # noqa: E402

MISSING = vm.missing()


class VmTest(unittest.TestCase):
    def test_output_and_exit_status_come_back(self):
        result = vm.Machine().run("echo out; echo err >&2; printf 'no newline'; exit 7")
        self.assertEqual(result.output, "out\nerr\nno newline", result.console)
        self.assertEqual(result.exit_status, 7)
        self.assertEqual(result.reason, "exited")

    def test_a_large_output_is_whole(self):
        result = vm.Machine().run("seq 1 20000")
        self.assertEqual(result.output, "".join(f"{i}\n" for i in range(1, 20001)))

    def test_a_program_has_its_libraries_and_files(self):
        machine = vm.Machine()
        machine.image.add_program("/usr/bin/dpkg-query", "/query")  # a dynamic program that is everywhere
        machine.image.add_text("/data/text", "content\n")
        result = machine.run("/query --version | head -1; cat /data/text")
        self.assertEqual(result.exit_status, 0, result.output + result.console)
        self.assertIn("dpkg-query", result.output)
        self.assertIn("content\n", result.output)

    def test_memory_processors_and_command_line_are_as_asked(self):
        result = vm.Machine(memory_mib=300, cpus=2, append="keelson.word=1").run(
            "grep MemTotal /proc/meminfo; nproc; cat /proc/cmdline")
        lines = result.output.splitlines()
        self.assertLess(int(lines[0].split()[1]), 300 << 10)
        self.assertEqual(lines[1], "2")
        self.assertIn("keelson.word=1", lines[2])

    def test_the_root_can_be_pivoted(self):
        # What every container runtime does; the initial file system would refuse it.
        result = vm.Machine().run(
            "mkdir /new && mount -t tmpfs none /new && mkdir /new/bin && cp /bin/busybox /new/bin && mkdir /new/old &&"
            " unshare -m sh -c 'cd /new && pivot_root . old && echo pivoted'")
        self.assertIn("pivoted", result.output)

    def test_disks_keep_what_was_synced_when_the_power_goes(self):
        with tempfile.TemporaryDirectory() as folder:
            disk = os.path.join(folder, "disk")
            with open(disk, "wb") as f:
                f.truncate(8 << 20)
            with vm.Machine(disks=[disk]).start(
                    "echo before | dd of=/dev/vda conv=fsync 2>/dev/null; echo synced; sleep 1000") as running:
                running.wait_for_output("synced")
                result = running.cut()
            self.assertIsNone(result.exit_status)
            self.assertEqual(result.reason, "cut")
            result = vm.Machine(disks=[disk]).run("head -c 7 /dev/vda; cat /sys/block/vda/size")
            self.assertEqual(result.output, "before\n16384\n", result.console)

    def test_a_random_cut_ends_the_machine_and_says_so(self):
        with vm.Machine().start("sleep 1000") as running:
            self.assertEqual(running.cut_at_random(seed=1, seconds_max=1.0).reason, "cut")

    def test_what_hangs_is_ended(self):
        result = vm.Machine(timeout=8).run("echo started; sleep 1000")
        self.assertEqual((result.exit_status, result.reason), (None, "timeout"))

    def test_a_panic_is_no_success(self):
        result = vm.Machine().run("echo c >/proc/sysrq-trigger; sleep 1000")
        self.assertEqual((result.exit_status, result.reason), (None, "stopped"))
        self.assertIn("Kernel panic", result.console)

    def test_modules_bring_what_they_need(self):
        result = vm.Machine(modules=["dm_verity"]).run("ls -d /sys/module/dm_verity /sys/module/dm_bufio")
        self.assertEqual(result.exit_status, 0, result.output + result.console)
        with self.assertRaisesRegex(KeyError, "no module 'no_such'"):
            vm.Machine(modules=["no_such"]).run("true")

    def test_cgroups_are_as_asked(self):
        self.assertEqual(vm.Machine(cgroups="v2").run("stat -fc %t /sys/fs/cgroup").output, "63677270\n")
        hybrid = vm.Machine(cgroups="hybrid").run("ls /sys/fs/cgroup; cat /proc/self/cgroup").output
        self.assertIn("memory\n", hybrid)
        self.assertIn("unified\n", hybrid)

    @unittest.skipUnless(os.path.exists(vm.SYSTEMD), "no systemd here")
    def test_systemd_is_process_one_and_starts_units(self):
        result = vm.Machine(systemd=True).run(
            "cat /proc/1/comm; mkdir -p /run/systemd/system;"
            " printf '[Service]\\nType=oneshot\\nExecStart=/bin/sh -c \"exit 3\"\\n' >/run/systemd/system/other.service;"
            " systemctl daemon-reload; systemctl start other;"
            " systemctl show -p ExecMainStatus --value other; exit 5")
        self.assertEqual(result.output.splitlines()[0], "systemd", result.console)
        self.assertEqual(result.output.splitlines()[-1], "3", result.output + result.console)
        self.assertEqual(result.exit_status, 5)


if __name__ == "__main__":
    if MISSING:
        print(f"SKIPPED ALL: a virtual machine: this machine {MISSING}")
        sys.exit(0)
    unittest.main(verbosity=2)
