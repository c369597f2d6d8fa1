"""Wraps the Debian -dev packages that Keelson links as cc_library targets.

Headers live in /usr/include and libraries in the system's library folder, so a
target here only carries linker options. Each library is probed when the
repository is made; a missing one fails at once, naming the package to install.
"""

# name -> (Debian package, header that proves it, pkg-config modules, extra linker options).
# pkg-config modules are asked for `--libs-only-l`; their answers are shared libraries.
_LIBRARIES = {
    "absl": (
        "libabsl-dev",
        "absl/status/statusor.h",
        [
            "absl_base",
            "absl_cord",
            "absl_flat_hash_map",
            "absl_flat_hash_set",
            "absl_random_random",
            "absl_status",
            "absl_statusor",
            "absl_str_format",
            "absl_strings",
            "absl_synchronization",
            "absl_time",
        ],
        [],
    ),
    "boost": ("libboost1.81-dev", "boost/beast.hpp", [], []),
    "catch2": ("catch2", "catch2/catch.hpp", [], []),
    "cli11": ("libcli11-dev", "CLI/CLI.hpp", [], []),
    "crypt": ("libcrypt-dev", "crypt.h", [], ["-lcrypt"]),
    "grpc": ("libgrpc++-dev", "grpcpp/grpcpp.h", [], ["-lgrpc++", "-lgrpc", "-lgpr"]),
    "jemalloc": ("libjemalloc-dev", "jemalloc/jemalloc.h", [], ["-ljemalloc"]),
    "nghttp2": ("libnghttp2-dev", "nghttp2/nghttp2.h", ["libnghttp2"], []),
    "nlohmann_json": ("nlohmann-json3-dev", "nlohmann/json.hpp", [], []),
    "openssl": ("libssl-dev", "openssl/ssl.h", ["libssl", "libcrypto"], []),
    "protobuf": ("libprotobuf-dev", "google/protobuf/message.h", ["protobuf"], []),
    "rocksdb": ("librocksdb-dev", "rocksdb/db.h", [], ["-lrocksdb"]),
    "seccomp": ("libseccomp-dev", "seccomp.h", [], ["-lseccomp"]),
    "yaml": ("libyaml-dev", "yaml.h", ["yaml-0.1"], []),
    "spdlog": ("libspdlog-dev", "spdlog/spdlog.h", [], ["-lspdlog", "-lfmt"]),
}

# Programs that the build calls, and the package of each.
_PROGRAMS = {
    "grpc_cpp_plugin": "protobuf-compiler-grpc",
    "pkg-config": "pkg-config",
    "protoc": "protobuf-compiler",
}

def _missing(what, package):
    fail(("\n\n%s was not found. Install it with:\n\n    apt-get install %s\n\n" +
          "or let `./keelson setup` install everything at once.\n") % (what, package))

def _linkopts(ctx, modules):
    """The `-l` options of pkg-config for `modules`, each once, last use kept."""
    result = ctx.execute(["pkg-config", "--libs-only-l"] + modules)
    if result.return_code != 0:
        fail("pkg-config %s: %s" % (" ".join(modules), result.stderr))
    seen = {}
    ordered = []
    for option in reversed(result.stdout.split(" ")):
        option = option.strip()
        if option and option not in seen:
            seen[option] = True
            ordered.append(option)
    return reversed(ordered)

def _debian_libraries_impl(ctx):
    for program, package in _PROGRAMS.items():
        if ctx.which(program) == None:
            _missing("The program '%s'" % program, package)

    build = ["package(default_visibility = [\"//visibility:public\"])"]
    for name, (package, header, modules, extra) in _LIBRARIES.items():
        if not ctx.path("/usr/include/" + header).exists:
            _missing("The header <%s>" % header, package)
        options = list(extra)
        if modules:
            options += _linkopts(ctx, modules)
        build.append("cc_library(name = \"%s\", linkopts = %s)" % (name, repr(options)))
    ctx.file("BUILD.bazel", "\n".join(build) + "\n")
    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)

debian_libraries = repository_rule(
    implementation = _debian_libraries_impl,
    doc = "Makes @debian//:NAME for each library of the table in this file.",
    local = True,
)
