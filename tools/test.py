#!/usr/bin/env -S python3 -B
"""Runs every test that this machine can run. See `./keelson test --help`.

A test says by its tags what it needs (NEEDS below). One whose need is not met is skipped aloud.
A test that runs but has to leave something out says so itself, in its log:

    SKIPPED: reason        a part was left out; the test still counts as passed
    SKIPPED ALL: reason    nothing could be tested; the test counts as skipped
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import time
import urllib.parse

import common
from common import Failure, say

OUT = pathlib.Path("out/test")


def has_programs(*names):
    return all(shutil.which(name) for name in names)


def can_unshare():
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", "--net", "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


# tag -> (the machine meets the need, what to tell when it does not)
NEEDS = {
    "requires-root": (lambda: os.geteuid() == 0, "needs root"),
    "netns": (can_unshare, "needs root and network namespaces"),
    "loop": (lambda: os.geteuid() == 0 and os.path.exists("/dev/loop-control"), "needs root and loop devices"),
    "interop": (lambda: has_programs("etcdctl", "etcd"), "needs the packages etcd-client and etcd-server"),
    "qemu": (lambda: has_programs("qemu-system-x86_64"), "needs the package qemu-system-x86"),
}


def find_tests(patterns, tag):
    """label -> tags, of the tests in `patterns`; with `tag`, only of those that carry it."""
    tests = {}
    for rule in common.query_rules(f"tests(set({' '.join(patterns)}))"):
        tags = {value.get("value") for value in rule.findall("list[@name='tags']/string")}
        if tag is None or tag in tags:
            tests[rule.get("name")] = tags
    return tests


def sort_out(tests, named=()):
    """Splits into labels to run, (label, reason) to skip, and labels left to be named by hand."""
    met = {tag: probe() for tag, (probe, _) in NEEDS.items()
           if any(tag in tags for tags in tests.values())}
    run, skip, manual = [], [], []
    for label, tags in sorted(tests.items()):
        reasons = [NEEDS[tag][1] for tag in NEEDS if tag in tags and not met[tag]]
        if reasons:
            skip.append((label, "; ".join(reasons)))
        elif "manual" in tags and label not in named and not tags & set(NEEDS):
            manual.append(label)
        else:
            run.append(label)
    return run, skip, manual


def read_events(path):
    """The outcome of a run from Bazel's event file: label -> (status, seconds, log files), and broken targets."""
    outcomes, broken = {}, set()
    if not path.exists():
        return outcomes, broken
    for line in path.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue  # A last line that an interrupted Bazel did not finish.
        identity = event.get("id", {})
        if "testSummary" in event:
            summary = event["testSummary"]
            files = summary.get("passed", []) + summary.get("failed", [])
            logs = [urllib.parse.unquote(urllib.parse.urlparse(file["uri"]).path) for file in files if "uri" in file]
            seconds = int(summary.get("totalRunDurationMillis", 0)) / 1000
            outcomes[identity["testSummary"]["label"]] = (summary["overallStatus"], seconds, logs)
        elif "targetCompleted" in identity and not event.get("completed", {}).get("success"):
            broken.add(identity["targetCompleted"]["label"])
    return outcomes, broken


def said_skipped(logs):
    """(whole, reason) of each line in `logs` by which a test says that it left something out."""
    found = []
    for log in logs:
        if os.path.exists(log):
            text = pathlib.Path(log).read_text(errors="replace")
            found += [(bool(whole), reason.strip())
                      for whole, reason in re.findall(r"^SKIPPED( ALL)?: (.*)$", text, re.MULTILINE)]
    return sorted(set(found))


def tell_slowest(outcomes):
    slowest = sorted(outcomes.items(), key=lambda item: -item[1][1])[:5]
    if slowest and slowest[0][1][1] >= 1:
        say("slowest: " + ", ".join(f"{label} {seconds:.0f} s" for label, (_, seconds, _) in slowest))


def count(run, skipped, outcomes, broken):
    """Prints what is not plainly passed and returns (passed, failed, skipped)."""
    passed, failures = 0, []
    for label in run:
        status, _, logs = outcomes.get(label, ("DID NOT BUILD" if label in broken else "DID NOT RUN", 0, []))
        if status not in ("PASSED", "FLAKY"):
            failures.append(f"{label}: {status}" + (f", see {logs[-1]}" if logs else ""))
            continue
        said = said_skipped(logs)
        for whole, reason in said:
            say(f"SKIPPED {'' if whole else 'a part of '}{label}: {reason}")
        if any(whole for whole, _ in said):
            skipped += 1
        else:
            passed += 1
    failures += [f"{label}: DID NOT BUILD" for label in sorted(broken - set(run))]
    for failure in failures:
        say(f"FAILED {failure}")
    return passed, len(failures), skipped


def parse(arguments):
    flags = []
    if "--" in arguments:
        split = arguments.index("--")
        arguments, flags = arguments[:split], arguments[split + 1:]
    patterns, tag, only_list = [], None, False
    for argument in arguments:
        if argument.startswith("--tag="):
            tag = argument.removeprefix("--tag=")
        elif argument == "--list":
            only_list = True
        elif argument.startswith("-"):
            raise Failure(f"test: there is no option '{argument}'; options for Bazel come after --", 2)
        else:
            patterns.append(argument)
    return patterns or ["//..."], tag, only_list, flags


def main(arguments):
    patterns, tag, only_list, flags = parse(arguments)
    started = time.monotonic()
    run, skip, manual = sort_out(find_tests(patterns, tag), patterns)
    for label, reason in skip:
        say(f"SKIPPED {label}: {reason}")
    if manual:
        say(f"left to be run by name (tag manual): {' '.join(manual)}")
    if only_list:
        print("\n".join(run))
        return 0

    # Without a tag the patterns themselves are built too, so that a program that does not
    # compile fails the run although no test needs it.
    OUT.mkdir(parents=True, exist_ok=True)
    targets, events = OUT / "targets", OUT / "events.json"
    whole = patterns if tag is None else []
    targets.write_text("\n".join(whole + run + [f"-{label}" for label, _ in skip]) + "\n")
    events.unlink(missing_ok=True)
    code = 0
    if run or whole:
        with common.Stage(f"build and {len(run)} tests"):
            code = common.bazel("test", "--keep_going", f"--target_pattern_file={targets}",
                                f"--build_event_json_file={events}", *flags)

    outcomes, broken = read_events(events)
    tell_slowest(outcomes)
    passed, failed, skipped = count(run, len(skip), outcomes, broken)
    # 4: Bazel found no test to run, which is no failure of ours. 3: a test failed, counted above.
    if code not in (0, 3, 4) and failed == 0:
        say(f"FAILED bazel test: exit code {code}, see above")
        failed = 1
    say(f"tests took {time.monotonic() - started:.0f} s")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    common.run_main(main)
