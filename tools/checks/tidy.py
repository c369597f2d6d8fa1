"""clang-tidy 14 finds nothing in the files that changed; .clang-tidy says what it looks for."""

import concurrent.futures
import hashlib
import os
import pathlib
import re
import subprocess

import common
from common import Failure

# The compiler options that matter to an analysis. Generated headers are below bazel-bin.
FLAGS = ["-std=c++20", "-I.", "-Ibazel-bin", "-Wall", "-Wextra", "-Wthread-safety"]

# An empty file for each fingerprint of a source that had no problem.
CLEAN = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "keelson", "tidy")


def _git(*arguments):
    result = subprocess.run(["git", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return result.stdout.strip() if result.returncode == 0 else ""


def base_revision(options):
    """What `changed` is measured against; empty when there is no history to compare with."""
    if options.base:
        revision = _git("rev-parse", "--verify", f"{options.base}^{{commit}}")
        if not revision:
            raise Failure(f"--base={options.base}: no such revision")
        return revision
    head = _git("rev-parse", "HEAD")
    for branch in ("@{upstream}", "origin/main", "main"):
        merge_base = _git("merge-base", "HEAD", branch)
        if merge_base and merge_base != head:
            return merge_base
    return _git("rev-parse", "--verify", "HEAD~1")


def changed_files(options):
    """The .cc files to look at: the changed ones, and for a changed header the .cc beside it."""
    sources = common.tracked_files(".cc")
    base = "" if options.all_files else base_revision(options)
    if not base:
        return sources
    changed = set(_git("diff", "--name-only", base).splitlines())
    changed |= set(_git("ls-files", "--others", "--exclude-standard").splitlines())
    return [source for source in sources
            if source in changed or f"{source.removesuffix('.cc')}.h" in changed]


def generate_headers():
    """Builds what protoc makes: an analysis of a file that includes it needs it."""
    rules = common.bazel_query("filter('_generate$', kind('genrule rule', //...))").split()
    if rules and common.bazel("build", "--noshow_progress", *rules) != 0:
        raise Failure("the generated headers do not build")


def fingerprint(source):
    """Names everything of ours that the analysis of `source` depends on."""
    files = common.with_included([source], [".", "bazel-bin"])
    digest = hashlib.sha256(repr(FLAGS).encode() + pathlib.Path(".clang-tidy").read_bytes())
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name].read_bytes())
    return digest.hexdigest()


def analyse(source):
    """The problems of one file. One that was found clean and has not changed is not looked at again."""
    clean = CLEAN / fingerprint(source)
    if clean.exists():
        return []
    problems = analyse_anew(source)
    if not problems:
        CLEAN.mkdir(parents=True, exist_ok=True)
        clean.touch()
    return problems


def mistaken(problem):
    """clang-tidy 14 takes the 0 in the body that the compiler writes for a defaulted <=> for a null pointer of ours."""
    name, line = problem.split(":")[:2]
    return "[modernize-use-nullptr" in problem and "operator<=>" in pathlib.Path(name).read_text().splitlines()[int(line) - 1]


def analyse_anew(source):
    result = subprocess.run(["clang-tidy-14", "--quiet", source, "--", *FLAGS],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    here = os.getcwd() + "/"
    problems = [line.replace(here, "").removeprefix("./") for line in result.stdout.splitlines()
                if re.search(r": (warning|error): ", line)]
    if problems:
        return [problem for problem in problems if not mistaken(problem)]
    if result.returncode != 0:
        problems = [f"{source}: clang-tidy failed: {result.stderr.strip()[-300:]}"]
    return problems


def run(options):
    sources = changed_files(options)
    if not sources:
        return []
    generate_headers()
    print(f"  clang-tidy looks at {len(sources)} files", flush=True)  # It may take minutes.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [problem for problems in pool.map(analyse, sources) for problem in problems]
    return sorted(set(found))  # One header is seen from several files.
