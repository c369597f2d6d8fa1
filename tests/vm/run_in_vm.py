"""Runs a test program in a virtual machine: what vm_test (vm_test.bzl) calls.

    python3 tests/vm/run_in_vm.py [options] program [arguments of the program]

The program's output is the output, its exit status the exit status. Where no machine can be started: a line
"SKIPPED ALL: ..." and status 0.
"""

import argparse
import os
import shlex
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm  # noqa: E402


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systemd", action="store_true", help="systemd as process 1")
    parser.add_argument("--cgroups", default="v2", choices=["v2", "v1", "hybrid", "none"])
    parser.add_argument("--memory-mib", type=int, default=512)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--append", default="", help="added to the kernel's command line")
    parser.add_argument("--disk-mib", type=int, action="append", default=[],
                        help="an empty disk of this size: /dev/vda, the next /dev/vdb ...")
    parser.add_argument("--module", action="append", default=[], help="a kernel module")
    parser.add_argument("--tool", action="append", default=[], help="a program of this machine, found by PATH")
    parser.add_argument("--file", action="append", default=[], help="a file, at /keelson/work/<the same path>")
    parser.add_argument("--timeout", type=float, default=240.0, help="seconds")
    parser.add_argument("program", help="a program, or a script for sh (ending in .sh)")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser.parse_args(arguments)


def main():
    options = parse(sys.argv[1:])
    reason = vm.missing()
    if reason is None and options.systemd and not os.path.exists(vm.SYSTEMD):
        reason = "needs the package systemd"
    missing = [tool for tool in options.tool if vm.which(tool) is None]
    if missing:
        reason = f"needs the programs {', '.join(missing)}"
    if reason:
        print(f"SKIPPED ALL: a virtual machine: this machine {reason}")
        return 0
    with tempfile.TemporaryDirectory(prefix="keelson-disks-") as folder:
        disks = []
        for number, size in enumerate(options.disk_mib):
            disks.append(os.path.join(folder, f"disk{number}"))
            with open(disks[-1], "wb") as disk:
                disk.truncate(size << 20)
        machine = vm.Machine(memory_mib=options.memory_mib, cpus=options.cpus, append=options.append, disks=disks,
                             modules=options.module, cgroups=options.cgroups, systemd=options.systemd,
                             timeout=options.timeout)
        for tool in options.tool:
            machine.image.add_program(vm.which(tool), f"/usr/bin/{tool}")
        for file in options.file:
            machine.image.add_file(f"/keelson/work/{file}", file)
        machine.image.add_program(options.program, "/keelson/test")
        command = ["/keelson/test", *options.arguments]
        if options.program.endswith(".sh"):
            command.insert(0, "sh")
        result = machine.run(shlex.join(command))
    sys.stdout.write(result.output)
    if result.exit_status is None:
        print(f"\nThe machine ended without an exit status ({result.reason}) after {result.seconds:.0f} s. Its console:")
        print(result.console)
        return 1
    print(f"[{result.seconds:.1f} s in a virtual machine, Linux {machine.kernel.version}]")
    if result.exit_status != 0:
        print("The console of the machine:\n" + result.console)
    return result.exit_status


if __name__ == "__main__":
    sys.exit(main())
