"""Libraries that are compiled twice: for the product, and with the simulator's planted defects.

The second library of NAME is NAME_mutable. The two must never be linked into one program.
"""

load("//bazel:defs.bzl", "keelson_cc_library")

def raft_cc_library(name, parts = [], deps = [], visibility = None, **kwargs):
    """A library that holds Mutated(...) conditions, or depends on one that does.

    Args:
      name: of the library; NAME_mutable is the other one, for tests only.
      parts: dependencies that have two forms, too.
      deps: dependencies that have one.
      visibility: of the library; NAME_mutable is seen in raft/sim.
    """
    keelson_cc_library(
        name = name,
        deps = parts + deps + ["//raft:mutation"],
        visibility = visibility,
        **kwargs
    )
    keelson_cc_library(
        name = name + "_mutable",
        testonly = True,
        deps = [part + "_mutable" for part in parts] + deps + ["//raft:mutation_mutable"],
        visibility = ["//raft/sim:__pkg__"],
        **kwargs
    )
