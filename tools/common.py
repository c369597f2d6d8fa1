"""What the Python scripts of tools/ share: messages, stages, Bazel and git calls."""

import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Failure(Exception):
    """Ends the script with one line and an exit code."""

    def __init__(self, message, code=1):
        super().__init__(message)
        self.code = code


def say(message):
    print(f"keelson: {message}", flush=True)


def run_main(main):
    """Runs main(arguments) in the root folder and turns what it raises into a line and a code."""
    os.chdir(ROOT)
    try:
        code = main(sys.argv[1:])
    except Failure as failure:
        print(f"keelson: {failure}", file=sys.stderr)
        code = failure.code
    except KeyboardInterrupt:
        code = 130
    sys.stdout.flush()
    sys.exit(code)


class Stage:
    """`with Stage("build"):` says how long its body took."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        say(f"{self.name} ...")
        self.started = time.monotonic()
        return self

    def __exit__(self, kind, *_):
        word = "done in" if kind is None else "ended after"
        say(f"{self.name}: {word} {time.monotonic() - self.started:.1f} s")


def output(command, check=True):
    """The standard output of a command; its errors are shown only when it fails."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check and result.returncode != 0:
        raise Failure(f"{' '.join(command[:4])} ... failed:\n{result.stderr.strip()}")
    return result.stdout


def bazel_query(expression, *options):
    return output(["bazel", "query", "--noshow_progress", "--noimplicit_deps", *options, expression])


def query_rules(expression):
    """The <rule> elements of Bazel's answer in XML, with their attributes and inputs."""
    listing = bazel_query(expression, "--output=xml", "--xml:default_values=false")
    # Bazel declares XML 1.1, which Python's parser refuses although it could read what follows.
    return list(xml.etree.ElementTree.fromstring(listing.split("?>", 1)[1]).iter("rule"))


def bazel_flags():
    """The same as bazel_flags in lib.sh, which gives the reasons."""
    quiet = ["--curses=no", "--color=no", "--show_progress_rate_limit=30", "--noshow_loading_progress"]
    return ([] if sys.stderr.isatty() else quiet) + os.environ.get("KEELSON_BAZEL_FLAGS", "").split()


def bazel(command, *arguments, startup=()):
    """Runs Bazel with its output on stderr; returns the exit code."""
    sys.stdout.flush()
    line = ["bazel", *startup, command, *bazel_flags(), *arguments]
    return subprocess.run(line, stdout=sys.stderr, stdin=subprocess.DEVNULL).returncode


def output_base(name):
    """Where a build with other compiler options lives, so that the default one stays as it is."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return f"{cache}/keelson/bazel-{zlib.crc32(str(ROOT).encode()):08x}-{name}"


def tracked_files(*suffixes):
    """Files of the tree that git knows or would take, relative to the root, sorted."""
    listing = output(["git", "ls-files", "--cached", "--others", "--exclude-standard"])
    return sorted({f for f in listing.splitlines() if f.endswith(suffixes) and os.path.isfile(f)})


def with_included(names, folders):
    """`names` and every file of `folders` that they include, directly or not: name -> path."""
    found, waiting = {}, list(names)
    while waiting:
        name = waiting.pop()
        path = next((path for folder in folders if (path := pathlib.Path(folder, name)).is_file()), None)
        if name in found or path is None:
            continue
        found[name] = path
        waiting += re.findall(r'^\s*#\s*include "([^"]+)"', path.read_text(errors="replace"), re.MULTILINE)
    return found


def caller_path(path):
    """A path of the command line, which is relative to where the user called ./keelson."""
    return pathlib.Path(os.environ.get("KEELSON_CALLED_FROM", "."), os.path.expanduser(path)).resolve()
