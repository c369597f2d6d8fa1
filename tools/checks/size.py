"""A ratchet on size: what is above the limits is listed in tools/size_ratchet.txt and may only shrink.

Product code only: tests (*_test.cc and tests/) are as long as their cases.
"""

import pathlib

import common
from checks import cpp_functions

FILE_LINES = 600
FUNCTION_LINES = 70
RATCHET = pathlib.Path("tools/size_ratchet.txt")

_HEADER = f"""\
# Product files above {FILE_LINES} lines and functions above {FUNCTION_LINES}. `./keelson check` fails when one of
# them grows or a new one appears; `./keelson check --fix size` lowers or removes lines, never adds.
# A line: path, `-` for the file itself or the function's name, lines.
"""


def is_product(path):
    return not path.endswith("_test.cc") and not path.startswith("tests/")


def measure(path, text):
    """(path, '-' or function) -> lines, of what is above a limit."""
    above = {}
    lines = text.count("\n")
    if lines > FILE_LINES:
        above[path, "-"] = lines
    for name, _, length in cpp_functions.functions(text):
        if length > FUNCTION_LINES:
            above[path, name] = max(length, above.get((path, name), 0))
    return above


def read_ratchet(text):
    rows = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return {(path, name): int(lines) for path, name, lines in rows}


def compare(now, ratchet):
    """The problems of what is above the limits now against what the list allows."""
    problems = []
    for key, lines in sorted(now.items()):
        path, name = key
        limit = FILE_LINES if name == "-" else FUNCTION_LINES
        what = path if name == "-" else f"{path}: {name}"
        if key not in ratchet:
            problems.append(f"{what} has {lines} lines, the limit is {limit}: look for the second concept in it")
        elif lines > ratchet[key]:
            problems.append(f"{what} grew from {ratchet[key]} to {lines} lines; the limit is {limit}")
    return problems


def lowered(now, ratchet):
    return {key: min(now[key], lines) for key, lines in ratchet.items() if key in now}


def _measure_all():
    now = {}
    for path in common.tracked_files(".h", ".cc"):
        if is_product(path):
            now.update(measure(path, pathlib.Path(path).read_text()))
    return now


def run(_):
    now, ratchet = _measure_all(), read_ratchet(RATCHET.read_text())
    for (path, name), lines in sorted(now.items()):
        if lines <= ratchet.get((path, name), 0):
            print(f"  known: {path} {name} {lines} lines")
    if lowered(now, ratchet) != ratchet:
        print("  something shrank: ./keelson check --fix size takes it down in the list")
    return compare(now, ratchet)


def fix(_):
    rows = sorted(lowered(_measure_all(), read_ratchet(RATCHET.read_text())).items())
    RATCHET.write_text(_HEADER + "".join(f"{path} {name} {lines}\n" for (path, name), lines in rows))
