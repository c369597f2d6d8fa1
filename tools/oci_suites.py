#!/usr/bin/env -S python3 -B
"""Runs the suites of other OCI runtimes against cradle. See `./keelson interop --help`.

They are looked for as they come, in folders of --suite-dir: runtime-tools (opencontainers, validation/*.go, Go),
crun (containers, tests/*.py with tests/init, gcc) and runc (opencontainers, tests/integration/*.bats with tests/cmd,
Go and the package bats). One that is not there is left out, aloud. What they need to be built is built in place;
programs that are missing are named with their packages.
"""

import argparse
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

import common
from common import Failure, say

OUT = pathlib.Path("out/oci-suites")
SUITES = ("runtime-tools", "crun", "runc")
GO_PATHS = ("/usr/local/go/bin", "/usr/lib/go-1.19/bin")
# What a suite needs beside its own files: programs, or files of /usr/include, and Debian's packages of them.
NEEDED = {
    "runtime-tools": {"go": "golang-1.19-go"},
    "crun": {"gcc": "gcc", "sys/capability.h": "libcap-dev", "seccomp.h": "libseccomp-dev"},
    "runc": {"go": "golang-1.19-go", "bats": "bats", "jq": "jq", "gawk": "gawk", "newuidmap": "uidmap",
             "busybox": "busybox-static", "ip": "iproute2", "seccomp.h": "libseccomp-dev"},
}


def parse(arguments):
    parser = argparse.ArgumentParser(prog="keelson interop oci-suites", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--suite-dir", required=True, metavar="DIR", help="folder with " + ", ".join(SUITES))
    parser.add_argument("--suite", action="append", choices=SUITES, help="only this one")
    parser.add_argument("--run", default="", metavar="REGEX", help="only files of tests whose name matches")
    parser.add_argument("--runtime", default="", metavar="PATH",
                        help="the runtime, instead of cradle of this tree; /usr/sbin/runc shows what a suite is worth here")
    parser.add_argument("--timeout", type=int, default=420, metavar="SECONDS", help="for one file of tests (default: 420)")
    return parser.parse_args(arguments)


def find_runtime(arguments):
    if arguments.runtime:
        return pathlib.Path(arguments.runtime).resolve()
    if not os.environ.get("KEELSON_NO_BUILD"):
        with common.Stage("build of cradle"):
            subprocess.run(["bazel", "build", *common.bazel_flags(), "//container_runtime/cmd:cradle"], check=True)
    return pathlib.Path("bazel-bin/container_runtime/cmd/cradle").resolve()


def environment():
    path = os.pathsep.join([*GO_PATHS, os.environ["PATH"]])
    clean = {name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "LISTEN_FDS")}
    return {**clean, "PATH": path, "GOFLAGS": "-mod=vendor", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "LANG": "C"}


def check_needed(suite):
    path = environment()["PATH"]
    missing = [package for name, package in NEEDED[suite].items()
               if not (pathlib.Path("/usr/include", name).exists() or
                       any(pathlib.Path("/usr/include").glob(f"*/{name}")) if name.endswith(".h")
                       else shutil.which(name, path=path))]
    if missing:
        raise Failure(f"the suite {suite} needs packages that are missing: apt-get install {' '.join(missing)}")


def build(command, folder, env=None):
    done = subprocess.run(command, cwd=folder, env=env or environment(), check=False)
    if done.returncode != 0:
        raise Failure(f"{' '.join(map(str, command))} failed in {folder}")


def commands_of_runtime_tools(folder, runtime):
    if not (folder / "runtimetest").exists():
        build(["go", "build", "-o", "runtimetest", "./cmd/runtimetest"], folder)
    for source in sorted(folder.glob("validation/*/*.go")):
        if source.parent.name == "util":
            continue
        program = source.with_suffix(".t")
        if not program.exists():
            build(["go", "build", "-o", program, source], folder)
        yield source.parent.name, [program], folder, {"RUNTIME": str(runtime)}


def commands_of_crun(folder, runtime):
    init = folder / "tests/init"
    if not init.exists():
        # The features that configure would find on Debian with libcap-dev and libseccomp-dev.
        include = folder / "tests/keelson-config"
        include.mkdir(exist_ok=True)
        (include / "config.h").write_text("#define HAVE_LINUX_IOPRIO_H 1\n#define HAVE_ERROR_H 1\n#define HAVE_SECCOMP 1\n")
        build(["gcc", "-I", include, "-o", init, folder / "tests/init.c", "-static", "-lcap", "-lseccomp"], folder)
    for test in sorted(folder.glob("tests/test_*.py")):
        yield test.stem, ["python3", test], folder, {"OCI_RUNTIME": str(runtime), "INIT": str(init)}


def make_busybox_image(path):
    """An archive with busybox under all its names, as the suite would download."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise Failure("the image of runc's suite is missing; install the package busybox-static")
    names = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    texts = {"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
             "etc/group": "root:x:0:\ntty:x:5:\nnobody:x:65534:\n"}
    with tarfile.open(path, "w:gz") as archive:
        for folder, mode in [(name, 0o755) for name in ("bin", "dev", "etc", "home", "root", "usr", "usr/bin",
                                                        "usr/sbin", "var")] + [("tmp", 0o1777)]:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        archive.add(busybox, "bin/busybox")
        for name in names:
            if name != "busybox":
                entry = tarfile.TarInfo(f"bin/{name}")
                entry.type, entry.linkname, entry.mode = tarfile.LNKTYPE, "bin/busybox", 0o755
                archive.addfile(entry)
        for name, text in texts.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))


def make_debian_image(path):
    """Debian's root by debootstrap; an empty file without it, as every test would try to download what is missing."""
    if path.exists() and path.stat().st_size > 0:
        return
    if shutil.which("debootstrap") is None:
        path.touch()
        return
    with common.Stage("Debian's root, by debootstrap"), tempfile.TemporaryDirectory(prefix="keelson-debian-") as root:
        build(["debootstrap", "--variant=minbase", "bookworm", root], path.parent)
        os.chmod(root, 0o755)  # Containers in user namespaces have to get in.
        build(["tar", "--create", "--xz", f"--file={path}", "-C", root, "."], path.parent)


def commands_of_runc(folder, runtime):
    programs = folder / "tests/cmd/_bin"
    programs.mkdir(exist_ok=True)
    for name in ("recvtty", "sd-helper", "seccompagent", "fs-idmap", "pidfd-kill", "remap-rootfs", "key_label"):
        if not (programs / name).exists():
            build(["go", "build", "-tags", "seccomp", "-o", programs, f"./tests/cmd/{name}"], folder,
                  {**environment(), "CGO_ENABLED": "1"})
    data = folder / "tests/integration/testdata"
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    if not (data / f"busybox-{machine}.tar.xz").exists():
        make_busybox_image(data / f"busybox-{machine}.tar.xz")
    debian = data / f"debian-{machine}.tar.xz"
    make_debian_image(debian)
    for test in sorted(folder.glob("tests/integration/*.bats")):
        if debian.stat().st_size == 0 and "setup_debian" in test.read_text():
            say(f"{test.stem}: left out, it needs Debian's root: apt-get install debootstrap")
            continue
        yield test.stem, ["bats", "-t", test], test.parent, {"RUNC": str(runtime)}


def run(suite, arguments, runtime):
    """passed, failed, skipped and the names of what failed."""
    folder = pathlib.Path(arguments.suite_dir).resolve() / suite
    if not folder.is_dir():
        say(f"{suite}: left out, {folder} is missing")
        return None
    check_needed(suite)
    commands = {"runtime-tools": commands_of_runtime_tools, "crun": commands_of_crun, "runc": commands_of_runc}[suite]
    counts, failed = [0, 0, 0], []
    log = OUT / f"{suite}.log"
    with open(log, "w", encoding="utf-8", errors="replace") as out:
        for name, command, where, extra in commands(folder, runtime):
            if not re.search(arguments.run, name):
                continue
            # Into a file: helpers of tests outlive them and would keep a pipe open.
            text, status = "", "ended"
            with open(OUT / "part", "w+", encoding="utf-8", errors="replace") as part:
                try:
                    subprocess.run(command, cwd=where, env={**environment(), **extra}, stdin=subprocess.DEVNULL, stdout=part,
                                   stderr=subprocess.STDOUT, timeout=arguments.timeout, check=False)
                except subprocess.TimeoutExpired:
                    status = "cut off"
                part.seek(0)
                text = part.read()
            out.write(f"## {name}\n{text}\n## {status}\n")
            out.flush()
            lines = text.splitlines()
            good = [line for line in lines if line.startswith("ok ")]
            skipped = [line for line in good if re.search(r"#\s*skip", line, re.IGNORECASE)]
            bad = [line for line in lines if line.startswith("not ok ")]
            if status != "ended" or not good and not bad:
                bad.append(f"not ok - {status} without a result" if status == "ended" else "not ok - cut off")
            for i, count in enumerate((len(good) - len(skipped), len(bad), len(skipped))):
                counts[i] += count
            failed += [f"{name}: {line.removeprefix('not ok ')}" for line in bad]
    return counts, failed


def main(arguments):
    """0 when the suites ran, whatever they found: what should pass is in conformance.md."""
    arguments = parse(arguments)
    arguments.suite_dir = common.caller_path(arguments.suite_dir)
    if os.geteuid() != 0:
        raise Failure("the suites need root")
    OUT.mkdir(parents=True, exist_ok=True)
    runtime = find_runtime(arguments)
    some = False
    for suite in arguments.suite or SUITES:
        result = run(suite, arguments, runtime)
        if result is None:
            continue
        some = True
        counts, failed = result
        for line in failed:
            print(f"  failed: {line}")
        print(f"{suite}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped; all of it in {OUT}/{suite}.log")
    if not some:
        raise Failure(f"no suite in {arguments.suite_dir}")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    common.run_main(main)
