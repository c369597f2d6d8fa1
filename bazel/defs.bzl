"""The rules that every BUILD file of Keelson uses: one place for warnings and defaults."""

# Warnings are errors for our code; generated code is compiled without them.
_WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wno-missing-field-initializers",  # designated initializers leave the rest at its default
    "-Wshadow",
    "-Wnon-virtual-dtor",
    "-Wimplicit-fallthrough",
    "-Wformat=2",
    "-Wvla",
    "-Werror",
]

# What a test needs with --config=tsan: the suppressions, which that configuration names relative to
# the folder in which tests run, and what makes Abseil's locks visible.
_TSAN_DATA = ["//bazel:tsan_suppressions.txt"]
_TSAN_DEPS = select({
    "//bazel:thread_sanitizer": ["//bazel/tsan:absl_synchronization"],
    "//conditions:default": [],
})

def keelson_cc_library(name, copts = [], **kwargs):
    native.cc_library(name = name, copts = _WARNINGS + copts, linkstatic = True, **kwargs)

def keelson_cc_binary(name, copts = [], **kwargs):
    native.cc_binary(name = name, copts = _WARNINGS + copts, **kwargs)

def keelson_cc_test(name, size = "small", copts = [], deps = [], **kwargs):
    """A Catch2 test. The test main comes from //base/testing:catch_main, listed in deps."""

    data = kwargs.pop("data", []) + _TSAN_DATA
    native.cc_test(name = name, size = size, copts = _WARNINGS + copts, data = data, deps = deps + _TSAN_DEPS, **kwargs)

def keelson_cc_fuzz_test(name, srcs, corpus = [], deps = [], copts = [], **kwargs):
    """A fuzz target: `srcs` define LLVMFuzzerTestOneInput.

    As a test (any compiler) it replays `corpus`, a list of files, and some inputs
    made from them; built with --config=fuzz it is a libFuzzer program.
    """
    native.cc_test(
        name = name,
        size = "small",
        srcs = srcs,
        copts = _WARNINGS + copts,
        args = ["$(location %s)" % f for f in corpus],
        data = corpus + _TSAN_DATA,
        linkopts = select({
            "//bazel:fuzzing": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        deps = deps + select({
            "//bazel:fuzzing": [],
            "//conditions:default": ["//base/testing:fuzz_replay_main"],
        }) + _TSAN_DEPS,
        tags = kwargs.pop("tags", []) + ["fuzz"],
        **kwargs
    )

def keelson_python_test(name, srcs, data = [], size = "small", **kwargs):
    """A test in Python's unittest: the one file of `srcs`, run in the folder of the runfiles.

    Not py_test, whose rules and tool chain are a download.
    """
    native.sh_test(
        name = name,
        size = size,
        srcs = ["//bazel:python_test.sh"],
        args = ["$(location %s)" % srcs[0]],
        data = srcs + data,
        **kwargs
    )

def keelson_proto_library(name, srcs, deps = [], grpc = False, visibility = None):
    """C++ code of .proto files by Debian's protoc; imports are workspace-relative.

    Args:
      name: the cc_library to depend on.
      srcs: .proto files of this package.
      deps: other keelson_proto_library targets that `srcs` import.
      grpc: also generate services, in code that needs gRPC C++; NAME_messages is the rest, descriptors
        of the services among it.
      visibility: of the cc_library and of the .proto files.
    """
    proto_deps = [dep + "_protos" if ":" in dep else dep + ":" + dep.split("/")[-1] + "_protos" for dep in deps]
    native.filegroup(name = name + "_protos", srcs = srcs + proto_deps, visibility = visibility)

    stems = [src[:-len(".proto")] for src in srcs]
    suffixes = [".pb"] + ([".grpc.pb"] if grpc else [])
    headers = [stem + suffix + ".h" for stem in stems for suffix in suffixes]
    sources = [stem + suffix + ".cc" for stem in stems for suffix in suffixes]

    plugin = "--plugin=protoc-gen-grpc=$$(command -v grpc_cpp_plugin) --grpc_out=$(GENDIR)" if grpc else ""

    # The pragma keeps our warnings out of generated headers.
    native.genrule(
        name = name + "_generate",
        srcs = srcs + proto_deps,
        outs = headers + sources,
        cmd = "\n".join([
            "set -e",
            "protoc -I. --cpp_out=$(GENDIR) " + plugin + " " + " ".join(["$(location %s)" % src for src in srcs]),
            "for f in " + " ".join(["$(location %s)" % h for h in headers]) + "; do",
            "  sed -i '1i #pragma GCC system_header' $$f",
            "done",
        ]),
        message = "Generating C++ of",
    )
    messages = name + "_messages" if grpc else name
    native.cc_library(
        name = messages,
        srcs = [source for source in sources if not source.endswith(".grpc.pb.cc")],
        hdrs = [header for header in headers if not header.endswith(".grpc.pb.h")],
        copts = ["-w"],
        linkstatic = True,
        # Nothing refers to the descriptors of services; they register themselves.
        alwayslink = grpc,
        visibility = visibility,
        deps = deps + ["@debian//:protobuf"],
    )
    if grpc:
        native.cc_library(
            name = name,
            srcs = [source for source in sources if source.endswith(".grpc.pb.cc")],
            hdrs = [header for header in headers if header.endswith(".grpc.pb.h")],
            copts = ["-w"],
            linkstatic = True,
            visibility = visibility,
            deps = deps + [messages, "@debian//:grpc"],
        )
