#!/usr/bin/env -S python3 -B
"""Builds with --config=release and installs. See `./keelson install --help`.

    bin/                       the programs
    include/keelson/           the public headers and what they include of ours
    lib/libkeelson.a           the code behind them
    lib/pkgconfig/keelson.pc   options for a program that uses them: pkg-config --cflags --libs keelson
    lib/systemd/system/        units, not enabled; systemd looks there below /usr and /usr/local
    share/doc/keelson/         the documents and the licence
"""

import os
import pathlib
import shutil
import subprocess
import tempfile

import common
from common import Failure, say

EXAMPLE = "examples/replicated_counter/main.cc"
PREFIX_IN_TREE = "out/release/bazel-"
PUBLIC = ("attr(visibility, '//visibility:public', kind('cc_library rule', "
          "//base/... + //raft/... + //kvstore/... + //partition/... + //container_runtime/...))"
          " except attr(testonly, 1, //...)")
PROGRAMS = "filter('/(daemon|cmd):', kind('cc_binary rule', //... except attr(testonly, 1, //...)))"


def parse(arguments):
    if len(arguments) != 1 or not arguments[0].startswith("--prefix=") or arguments[0] == "--prefix=":
        raise Failure("install: want exactly --prefix=DIRECTORY", 2)
    return common.caller_path(arguments[0].removeprefix("--prefix="))


def path_of(label):
    return label.removeprefix("//").replace(":", "/").lstrip("/")


def put(source, target, mode=0o644):
    """Copies one file; whoever uses the old one, a running program too, keeps it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.new")
    shutil.copyfile(source, new)
    os.chmod(new, mode)
    os.replace(new, target)


def put_text(text, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def install_units(prefix):
    """The units of components, with what they name where it is installed."""
    for unit in common.tracked_files(".service"):
        text = pathlib.Path(unit).read_text()
        put_text(text.replace("/usr/", f"{prefix}/"),
                 prefix / "lib/systemd/system" / os.path.basename(unit))


def merge_archives(archives, target):
    """One static library of all members of `archives`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    # `ar`'s script language keeps members of the same name apart, as `ar x` would not.
    script = f"create {target}\n" + "".join(f"addlib {archive}\n" for archive in archives) + "save\nend\n"
    result = subprocess.run(["ar", "-M"], input=script, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if result.returncode != 0 or not target.exists():
        raise Failure(f"install: ar failed: {result.stdout.strip()}")


def pkg_config(prefix, version, options):
    return (f"prefix={prefix}\n\nName: keelson\n"
            "Description: reusable components of a cluster operating system\n"
            f"Version: {version}\n"
            "Cflags: -std=c++20 -I${prefix}/include/keelson\n"
            f"Libs: -L${{prefix}}/lib -lkeelson {' '.join(options)} -pthread\n")


def check_headers(prefix, names):
    """Compiles one file that includes every installed header, with nothing of the tree in sight."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "all.cc")
        source.write_text("".join(f'#include "{name}"\n' for name in sorted(names)))
        result = subprocess.run(["g++", "-std=c++20", "-fsyntax-only", f"-I{prefix}/include/keelson", str(source)],
                                cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        raise Failure(f"install: the installed headers do not compile:\n{result.stdout[-2000:]}")


def check_library(prefix):
    """Builds an example with what is installed and nothing of the tree."""
    environment = {**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
    options = subprocess.run(["pkg-config", "--cflags", "--libs", "keelson"], env=environment, check=True,
                             stdout=subprocess.PIPE, text=True).stdout.split()
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "main.cc")
        shutil.copyfile(EXAMPLE, source)
        result = subprocess.run(["g++", str(source), *options, "-o", str(source.with_suffix(""))], cwd=folder,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        raise Failure(f"install: {EXAMPLE} does not build with the installed library:\n{result.stdout[-2000:]}")


def main(arguments):
    prefix = parse(arguments)
    programs = common.bazel_query(PROGRAMS).split()
    public = common.query_rules(PUBLIC)
    libraries = [rule.get("name") for rule in public]
    # Also those that only other libraries use: linked by object files, they get no archive otherwise.
    closure = common.query_rules(f"kind('cc_library rule', deps(set({' '.join(libraries)})))")
    ours = [rule.get("name") for rule in closure if rule.get("name").startswith("//")]
    startup = [f"--output_base={common.output_base('release')}"]
    try:
        with common.Stage("release build"):
            code = common.bazel("build", "--config=release", f"--symlink_prefix={PREFIX_IN_TREE}",
                                *programs, *ours, startup=startup)
            if code != 0:
                raise Failure("install: the build failed")
    finally:
        subprocess.run(["bazel", *startup, "shutdown"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    with common.Stage(f"copies below {prefix}"):
        for label in programs:
            put(PREFIX_IN_TREE + "bin/" + path_of(label), prefix / "bin" / label.split(":")[1], 0o755)
        names = [path_of(value.get("value")) for rule in public for value in rule.findall("list[@name='hdrs']/label")]
        headers = common.with_included(names, [".", PREFIX_IN_TREE + "bin"])
        for name, path in headers.items():
            put(path, prefix / "include/keelson" / name)

        built = [pathlib.Path(PREFIX_IN_TREE + "bin", path_of(label)) for label in sorted(ours)]
        archives = [path.with_name(f"lib{path.name}.a") for path in built]
        merge_archives([archive for archive in archives if archive.exists()], prefix / "lib/libkeelson.a")
        options = [value.get("value") for rule in closure if rule.get("name").startswith("@debian//")
                   for value in rule.findall("list[@name='linkopts']/string")]
        version = common.output(["tools/version"]).split()[1]
        put_text(pkg_config(prefix, version, dict.fromkeys(options)), prefix / "lib/pkgconfig/keelson.pc")
        install_units(prefix)
        for document in common.tracked_files(".md") + ["LICENSE"]:
            put(document, prefix / "share/doc/keelson" / document)
    with common.Stage(f"check of {len(headers)} installed headers"):
        check_headers(prefix, headers)
    with common.Stage(f"check of the library, by {EXAMPLE}"):
        check_library(prefix)
    say(f"installed {', '.join(label.split(':')[1] for label in programs) or 'no program'} below {prefix}")
    return 0


if __name__ == "__main__":
    common.run_main(main)
