#!/usr/bin/env -S python3 -B
"""Does what a document tells its reader to do, and compares.

    tools/readme_test.py README.md            runs the document's commands in the current folder
    tools/readme_test.py --list README.md     only says what would run

Every block fenced as `sh` needs a comment on one of the lines before it, which says what to do:

    <!-- test: run -->               run it as it stands; it must exit 0
    <!-- test: with-demo -->         run it while `./keelson demo` is up
    <!-- test: instead: COMMAND -->  run COMMAND in its place
    <!-- test: skip: REASON -->      leave it out

A `text` block after `<!-- test: output -->` is what the block before it prints: its lines must appear
in this order, each as a whole line. In them `...` stands for anything, and a line `...` for any lines.

With KEELSON_NO_BUILD=1 in the environment, ./keelson takes the programs in out/bin/ as they are.
"""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time

BLOCK_TIMEOUT_SECONDS = 180
DEMO_READY = "Ctrl-C"  # What the demo prints once it only waits for its end.
_BLOCK = re.compile(r"(?:^<!-- test: (?P<mark>[^\n]*?) -->\n+)?^```(?P<kind>sh|text)\n(?P<body>.*?)^```$",
                    re.DOTALL | re.MULTILINE)


@dataclasses.dataclass
class Step:
    line: int
    action: str  # run, with-demo or skip
    script: str  # or the reason, for skip
    output: str = ""


class DocumentError(Exception):
    pass


def read_steps(text):
    """The steps of a document, in order."""
    steps = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("body")) + 1
        mark, body = match.group("mark"), match.group("body")
        if match.group("kind") == "text":
            if mark == "output":
                if not steps or steps[-1].action == "skip":
                    raise DocumentError(f"line {line}: this output belongs to no block that runs")
                steps[-1].output = body
            continue
        action, _, rest = (mark or "").partition(": ")
        if action in ("run", "with-demo") and not rest:
            steps.append(Step(line, action, body))
        elif action == "instead" and rest:
            steps.append(Step(line, "run", rest))
        elif action == "skip" and rest:
            steps.append(Step(line, "skip", rest))
        else:
            raise DocumentError(f"line {line}: no comment says what to do with this block, or '{mark}' is unknown")
    return steps


def mismatch(expected, printed):
    """The first line of `expected` that `printed` lacks, in order; None when all are there."""
    lines = iter(printed.splitlines())
    for want in expected.splitlines():
        if want.strip() in ("", "..."):
            continue
        pattern = ".*".join(re.escape(part) for part in want.rstrip().split("..."))
        if not any(re.fullmatch(pattern, line.rstrip()) for line in lines):
            return want
    return None


def stop(process, how):
    """Sends a signal to a process and all that it started."""
    try:
        os.killpg(process.pid, how)
    except ProcessLookupError:
        pass  # All have ended.


def run_script(script):
    """(exit code, output) of a block."""
    process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", script], stdin=subprocess.DEVNULL, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output = process.communicate(timeout=BLOCK_TIMEOUT_SECONDS)[0]
        return process.returncode, output
    except subprocess.TimeoutExpired:
        stop(process, signal.SIGKILL)
        return -1, f"{process.communicate()[0]}\n(no end within {BLOCK_TIMEOUT_SECONDS} s)"


class Demo:
    """`./keelson demo`, up and waiting, until the end of the `with` block."""

    def __enter__(self):
        self.process = subprocess.Popen(["./keelson", "demo"], stdin=subprocess.DEVNULL, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.output, ready = [], threading.Event()

        def read():
            for line in self.process.stdout:
                self.output.append(line)
                if DEMO_READY in line:
                    ready.set()
            ready.set()  # Its end: let nobody wait for what cannot come.

        self.reader = threading.Thread(target=read, daemon=True)
        self.reader.start()
        ready.wait(BLOCK_TIMEOUT_SECONDS)
        if not any(DEMO_READY in line for line in self.output):
            self.__exit__()
            raise DocumentError("the demo did not come up:\n" + "".join(self.output))
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            stop(self.process, signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            stop(self.process, signal.SIGKILL)
            self.process.wait()
        self.reader.join(5)


def run_step(step):
    """What went wrong; empty when nothing did."""
    if step.action == "with-demo":
        with Demo():
            code, printed = run_script(step.script)
    else:
        code, printed = run_script(step.script)
    if code != 0:
        return f"exit code {code}\n{printed}"
    missing = mismatch(step.output, printed)
    return "" if missing is None else f"the output lacks the line '{missing}'; it was:\n{printed}"


def main(arguments):
    only_list = "--list" in arguments
    failed = 0
    for document in [argument for argument in arguments if argument != "--list"]:
        try:
            with open(document, encoding="utf-8") as file:
                steps = read_steps(file.read())
            for step in steps:
                where = f"{document}:{step.line}"
                if step.action == "skip" or only_list:
                    print(f"{where}: {step.action} {step.script.strip()}", flush=True)
                    continue
                started = time.monotonic()
                wrong = run_step(step)
                failed += bool(wrong)
                print(f"{where}: {'FAILED: ' + wrong if wrong else 'ok'} ({time.monotonic() - started:.1f} s)", flush=True)
        except (OSError, DocumentError) as error:
            print(f"{document}: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
