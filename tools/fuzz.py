#!/usr/bin/env -S python3 -B
"""Builds the fuzz targets with libFuzzer and runs each for a while. See `./keelson fuzz --help`."""

import os
import pathlib
import re
import subprocess
import time

import common
from common import Failure, say

OUT = pathlib.Path("out/fuzz")


def parse(arguments):
    seconds, wanted = 60, []
    for argument in arguments:
        if argument.startswith("--seconds="):
            value = argument.removeprefix("--seconds=")
            if not value.isdigit() or int(value) == 0:
                raise Failure(f"fuzz: --seconds={value} is no whole number above 0", 2)
            seconds = int(value)
        elif argument.startswith("-"):
            raise Failure(f"fuzz: there is no option '{argument}'", 2)
        else:
            wanted.append(argument)
    return seconds, wanted


def choose(wanted):
    """label -> files of its seed corpus, of the fuzz targets that `wanted` names (all when empty)."""
    targets = {rule.get("name"): [value.get("value") for value in rule.findall("list[@name='data']/label")]
               for rule in common.query_rules("attr(tags, '\\bfuzz\\b', tests(//...))")}
    for part in wanted:
        if not any(part in label for label in targets):
            raise Failure(f"fuzz: no target is called '{part}'; there are: {' '.join(sorted(targets))}", 2)
    return {label: data for label, data in sorted(targets.items())
            if not wanted or any(part in label for part in wanted)}


def path_of(label):
    return label.removeprefix("//").replace(":", "/").lstrip("/")


def run_target(program, name, seeds, seconds):
    """Runs one target and prints its line; returns whether it held."""
    folder = OUT / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    # libFuzzer reads seeds from folders only.
    seed_folder = folder / "seeds"
    seed_folder.mkdir(exist_ok=True)
    for number, seed in enumerate(seeds):
        (seed_folder / f"{number:04}").write_bytes(pathlib.Path(seed).read_bytes())

    log = folder / "log"
    started = time.monotonic()
    with log.open("wb") as stream:
        code = subprocess.run(
            [program, f"-max_total_time={seconds}", "-rss_limit_mb=2048", "-timeout=25", "-print_final_stats=1",
             f"-artifact_prefix={folder}/", str(corpus), str(seed_folder)],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT).returncode
    text = log.read_text(errors="replace")
    runs = re.search(r"number_of_executed_units:\s*(\d+)", text)
    coverage = re.findall(r"cov: (\d+)", text)
    facts = (f"{runs.group(1) if runs else '?'} runs, coverage {coverage[-1] if coverage else '?'}, "
             f"{len(list(corpus.iterdir()))} inputs kept, {time.monotonic() - started:.0f} s")
    if code == 0:
        say(f"fuzz {name}: ok, {facts}")
        return True
    artifact = re.search(r"Test unit written to (\S+)", text)
    say(f"fuzz {name}: BROKEN, {facts}; input {artifact.group(1) if artifact else 'not saved'}, log {log}")
    return False


def main(arguments):
    seconds, wanted = parse(arguments)
    targets = choose(wanted)
    if not targets:
        say("fuzz: there is no fuzz target yet")
        return 0
    # A build of its own, so that the ordinary one stays as it is.
    startup = [f"--output_base={common.output_base('fuzz')}"]
    prefix = "out/fuzz/bazel-"
    OUT.mkdir(parents=True, exist_ok=True)
    try:
        with common.Stage(f"build of {len(targets)} fuzz targets"):
            if common.bazel("build", "--config=fuzz", f"--symlink_prefix={prefix}", *targets, startup=startup) != 0:
                raise Failure("fuzz: the build failed")
    finally:
        # The second Bazel server has nothing more to do; it would hold its memory for hours.
        subprocess.run(["bazel", *startup, "shutdown"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    say(f"fuzz: {len(targets)} targets, {seconds} s each")
    os.environ.setdefault("ASAN_OPTIONS", "detect_stack_use_after_return=1:strict_string_checks=1")
    held = [run_target(f"{prefix}bin/{path_of(label)}", path_of(label).replace("/", "."),
                       [path_of(seed) for seed in seeds if not seed.endswith(":tsan_suppressions.txt")], seconds)
            for label, seeds in targets.items()]
    say(f"fuzz: {sum(held)} passed, {len(held) - sum(held)} failed")
    return 0 if all(held) else 1


if __name__ == "__main__":
    common.run_main(main)
