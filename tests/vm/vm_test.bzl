"""Tests that run in a virtual machine with a kernel of their own. See tests/vm/README.md."""

def vm_test(
        name,
        program,
        args = [],
        systemd = False,
        cgroups = "v2",
        memory_mib = 512,
        cpus = 1,
        disks_mib = [],
        modules = [],
        tools = [],
        files = [],
        append = "",
        size = "medium",
        tags = [],
        **kwargs):
    """Runs `program` as root in a machine; passes when it exits with 0.

    Args:
      name: of the test.
      program: label of a program (a keelson_cc_test serves as well), or of a script for sh ending in ".sh".
      args: its arguments.
      systemd: systemd as process 1, the program in a unit of it.
      cgroups: "v2", "v1", "hybrid" or "none"; systemd mounts its own.
      memory_mib: of the machine.
      cpus: of the machine.
      disks_mib: sizes of empty disks, /dev/vda, /dev/vdb ...
      modules: kernel modules to load, such as "dm_verity".
      tools: programs of this machine to take along, found by PATH; the test is skipped where one is missing.
      files: labels of files to take along, in the program's working folder by their paths.
      append: added to the kernel's command line.
      size: as of any test.
      tags: "qemu" and "no-sandbox" are added (the kernel is kept in the user's cache).
      **kwargs: as of sh_test.
    """
    options = ["--cgroups=" + cgroups, "--memory-mib=%d" % memory_mib, "--cpus=%d" % cpus]
    if systemd:
        options.append("--systemd")
    if append:
        options.append("'--append=%s'" % append)
    options += ["--disk-mib=%d" % disk for disk in disks_mib]
    options += ["--module=" + module for module in modules]
    options += ["--tool=" + tool for tool in tools]
    options += ["--file=$(rootpath %s)" % file for file in files]
    native.sh_test(
        name = name,
        size = size,
        srcs = ["//bazel:python_test.sh"],
        args = ["$(rootpath //tests/vm:run_in_vm.py)"] + options + ["$(rootpath %s)" % program] + args,
        data = ["//tests/vm:run_in_vm.py", "//tests/vm:harness", program] + files,
        tags = tags + ["qemu", "no-sandbox"],
        **kwargs
    )
