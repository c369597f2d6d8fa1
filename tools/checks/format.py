"""C++ files are laid out as clang-format 14 lays them out with .clang-format."""

import subprocess

import common

CPP = (".h", ".cc")


def _clang_format(*options):
    files = common.tracked_files(*CPP)
    if not files:
        return ""
    return subprocess.run(["clang-format-14", *options, *files], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout


def run(_):
    wrong = {}
    for line in _clang_format("--dry-run").splitlines():
        if "[-Wclang-format-violations]" in line:
            path, number = line.split(":")[:2]
            wrong.setdefault(path, number)
    problems = [f"{path}:{number}: not formatted" for path, number in sorted(wrong.items())]
    return problems + (["correct with: ./keelson check --fix format"] if problems else [])


def fix(_):
    _clang_format("-i")
