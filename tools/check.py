#!/usr/bin/env -S python3 -B
"""Looks at the source without running it. See `./keelson check --help`.

Each check is a module of tools/checks/ with a function `run(options)` that returns the
problems it found, a line each, and where it can a function `fix(options)`.
"""

import dataclasses
import os
import time

import common
from checks import commands, docs, format, layering, mount_calls, packages, shell, size, tidy
from common import Failure

CHECKS = {
    "format": format,
    "shell": shell,
    "size": size,
    "docs": docs,
    "packages": packages,
    "commands": commands,
    "layering": layering,
    "mount_calls": mount_calls,
    "tidy": tidy,
}


@dataclasses.dataclass
class Options:
    all_files: bool = False
    base: str = ""
    fix: bool = False


def parse(arguments):
    options, names = Options(), []
    for argument in arguments:
        if argument == "--all":
            options.all_files = True
        elif argument == "--fix":
            options.fix = True
        elif argument.startswith("--base="):
            options.base = argument.removeprefix("--base=")
        elif argument in CHECKS:
            names.append(argument)
        else:
            raise Failure(f"check: there is no '{argument}'; the checks are {', '.join(CHECKS)}", 2)
    return options, names or list(CHECKS)


def main(arguments):
    options, names = parse(arguments)
    failed = 0
    for name in names:
        started = time.monotonic()
        if options.fix and hasattr(CHECKS[name], "fix"):
            CHECKS[name].fix(options)
        try:
            problems = CHECKS[name].run(options)
        except Failure as failure:
            problems = [str(failure)]
        for problem in problems:
            print(f"  {problem}")
        failed += bool(problems)
        word = f"FAILED ({len(problems)})" if problems else "ok"
        print(f"check {name:<9} {word:<12} {time.monotonic() - started:5.1f} s", flush=True)
    print(f"check: {len(names) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    common.run_main(main)
