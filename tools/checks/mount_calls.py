"""Mount calls that take a path exist in one place of the container runtime.

A path can be changed by the container between the moment it is looked at and the moment it is mounted on; a descriptor
cannot. container_runtime/path wraps the calls that work by descriptor, and nothing else of container_runtime may make
others, nor resolve a path of the container by name.
"""

import re

import common

ALLOWED = "container_runtime/path/"
CALLS = re.compile(
    r"(?:::|\b)(mount|umount2?|pivot_root)\s*\(|"
    r"\bSYS_(mount|umount2|pivot_root|move_mount|open_tree|fsmount|fsopen|fsconfig|mount_setattr|chroot)\b|"
    r"<sys/mount\.h>")
# chroot to the working directory, which was reached by descriptor.
EXCEPTIONS = {("container_runtime/plan/internal/mount_steps.cc", "SYS_chroot")}


def strip(line):
    """The line without its comment and its texts."""
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', line).split("//")[0]


def judge(path, text):
    """The problems of one file."""
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        for match in CALLS.finditer(strip(line)):
            word = match.group(0).strip(" :(")
            if (path, word) not in EXCEPTIONS:
                problems.append(f"{path}:{number}: '{word}': mount calls belong to {ALLOWED}, by descriptor")
    return problems


def is_judged(path):
    product = path.startswith("container_runtime/") and path.endswith((".cc", ".h"))
    return product and not path.startswith(ALLOWED) and not path.endswith("_test.cc")


def run(_):
    problems = []
    for path in common.tracked_files(".cc", ".h"):
        if is_judged(path):
            with open(path, encoding="utf-8") as file:
                problems += judge(path, file.read())
    return problems
