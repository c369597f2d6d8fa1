#!/usr/bin/env -S python3 -B
"""Runs etcd's own end-to-end suite, unmodified, against kvstored. See `./keelson interop --help`.

The suite is that of Debian's golang-etcd-server-dev (3.4.23), built with Debian's Go in GOPATH
mode. Its tests use fixed ports and kill what they start with signals, so each runs in network
and process namespaces of its own: nothing is left behind, whatever it does.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import common
from common import Failure, say

SUITE = pathlib.Path("/usr/share/gocode/src/go.etcd.io/etcd/tests/e2e")
GO = pathlib.Path("/usr/lib/go-1.19/bin/go")
OUT = pathlib.Path("out/etcd-e2e")
# The suite is of this version and looks for it; kvstored says it, and answers like it, when asked to.
VERSION = "3.4.23"
# A file of etcd's repository that Debian's package leaves out.
SAMPLE = pathlib.Path("kvstore/docs/kvstored.conf.yml")


def parse(arguments):
    parser = argparse.ArgumentParser(prog="keelson interop etcd-e2e", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--run", default="", metavar="REGEX", help="only tests whose name matches")
    parser.add_argument("--server", default="", metavar="PATH",
                        help="the server, instead of kvstored of this tree; /usr/bin/etcd shows what the suite is worth here")
    parser.add_argument("--timeout", type=int, default=120, metavar="SECONDS", help="for one test (default: 120)")
    parser.add_argument("--etcd-version", default=VERSION, metavar="VERSION",
                        help=f"what kvstored says it is (default: {VERSION}, the suite's own)")
    parser.add_argument("--list", action="store_true", help="only print the names of the tests")
    return parser.parse_args(arguments)


def build_suite():
    """The path of the test program, made when it is missing or older than the suite."""
    if not GO.exists() or not SUITE.is_dir():
        raise Failure("the suite is missing; install it with: apt-get install golang-1.19-go golang-etcd-server-dev")
    OUT.mkdir(parents=True, exist_ok=True)
    program = (OUT / "e2e.test").resolve()
    newest = max(path.stat().st_mtime for path in SUITE.glob("*.go"))
    if not program.exists() or program.stat().st_mtime < newest:
        with common.Stage("build of etcd's suite"):
            environment = {**os.environ, "GOPATH": "/usr/share/gocode", "GO111MODULE": "off",
                           "GOCACHE": str((OUT / "go-cache").resolve()), "GOFLAGS": ""}
            done = subprocess.run([GO, "test", "-c", "-o", program, "."], cwd=SUITE, env=environment, check=False)
            if done.returncode != 0:
                raise Failure("etcd's suite does not build")
    return program


def find_server(arguments):
    if arguments.server:
        return pathlib.Path(arguments.server).resolve()
    if not os.environ.get("KEELSON_NO_BUILD"):
        with common.Stage("build of kvstored"):
            subprocess.run(["bazel", "build", *common.bazel_flags(), "//kvstore/daemon:kvstored"], check=True)
    return pathlib.Path("bazel-bin/kvstore/daemon/kvstored").resolve()


def arguments_name_etcd(server):
    """Whether the server is etcd itself, which has no flag for its version."""
    return server.name == "etcd"


def reason_of(log):
    """The line of a failed test that says most."""
    told = re.findall(r"^\s+\w+\.go:\d+: (.*)$", log, re.MULTILINE)
    if told:
        return told[-1][:160]
    panics = re.findall(r"^panic: (.*)$", log, re.MULTILINE)
    return panics[0][:160] if panics else "no message"


def make_place(scratch):
    """A folder to run in, from which the suite finds its files by the paths that it knows."""
    place = pathlib.Path(scratch) / "suite" / "tests" / "e2e"
    place.mkdir(parents=True)
    root = place.parent.parent
    (root / "integration").symlink_to(SUITE.parent.parent / "integration")
    shutil.copy(SAMPLE, root / "etcd.conf.yml.sample")
    return place


def run_test(program, name, bin_dir, timeout, variables):
    """(pass, fail or skip, the reason, the log) of one test."""
    with tempfile.TemporaryDirectory(prefix="keelson-e2e-") as scratch:
        command = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
                   'ip link set lo up && exec "$@"', "sh", str(program), f"-test.run=^{name}$", "-test.v",
                   f"-test.timeout={timeout}s", f"-bin-dir={bin_dir}"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("ETCD_", "ETCDCTL_"))}
        try:
            done = subprocess.run(command, cwd=make_place(scratch),
                                  env={**environment, **variables, "TMPDIR": scratch, "EXPECT_DEBUG": "1"}, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout + 20,
                                  check=False)
            log, code = done.stdout.decode(errors="replace"), done.returncode
        except subprocess.TimeoutExpired as late:
            log, code = (late.stdout or b"").decode(errors="replace"), 1
    skipped = re.search(rf"--- SKIP: {name} \(", log)
    if skipped and code == 0:
        return "skip", reason_of(log), log
    # Not at the start of a line when what the test ran (curl) ended without a newline.
    # A leaked goroutine of the suite itself ends the program with 1 after PASS: that is not the server's.
    if re.search(rf"--- PASS: {name} \(", log):
        return "pass", "", log
    return "fail", reason_of(log), log


def main(arguments):
    options = parse(arguments)
    if os.geteuid() != 0:
        raise Failure("network namespaces need root")
    program = build_suite()
    names = [n for n in common.output([str(program), "-test.list=.*"]).split()
             if n.startswith("Test") and re.search(options.run, n)]
    if options.list:
        print("\n".join(names))
        return 0
    server = find_server(options)
    etcdctl = shutil.which("etcdctl")
    if not server.exists() or etcdctl is None:
        raise Failure(f"'{server}' or etcdctl is missing")
    bin_dir = (OUT / "bin").resolve()
    shutil.rmtree(bin_dir, ignore_errors=True)
    bin_dir.mkdir(parents=True)
    (bin_dir / "etcd").symlink_to(server)
    (bin_dir / "etcdctl").symlink_to(etcdctl)
    logs = OUT / "logs"
    logs.mkdir(exist_ok=True)

    variables = {} if arguments_name_etcd(server) else {"ETCD_ETCD_VERSION": options.etcd_version}
    counts = {"pass": 0, "fail": 0, "skip": 0}
    for name in names:
        start = time.monotonic()
        outcome, reason, log = run_test(program, name, bin_dir, options.timeout, variables)
        counts[outcome] += 1
        (logs / f"{name}.txt").write_text(log)
        print(f"{outcome} {name} ({time.monotonic() - start:.1f} s)" + (f": {reason}" if reason else ""), flush=True)
    say(f"etcd's end-to-end suite: {len(names)} tests, {counts['pass']} passed, {counts['fail']} failed, "
        f"{counts['skip']} skipped; logs in {logs}/")
    return 1 if counts["fail"] else 0


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    common.run_main(main)
