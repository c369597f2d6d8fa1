#include "container_runtime/config/parser.h"

#include <catch2/catch.hpp>

#include <string>

#include "base/testing/status_matchers.h"
#include "container_runtime/config/default_spec.h"

namespace keelson::container {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

std::string With(const std::string& fields) { return R"({"ociVersion":"1.0.2",)" + fields + "}"; }

TEST_CASE("What spec writes is read back", "[container][config]") {
  KEELSON_ASSIGN_OR_FAIL(const Spec spec, ParseSpec(DefaultSpec(true)));

  CHECK(spec.hostname == "cradle");
  CHECK(spec.process->args == std::vector<std::string>{"sh"});
  CHECK(spec.mounts.size() == 7);
  CHECK(spec.linux_.namespaces.size() == 6);
  KEELSON_REQUIRE_OK(ParseSpec(RootlessSpec(1000, 1000, true)));
}

TEST_CASE("Unknown properties and null are skipped", "[container][config]") {
  KEELSON_ASSIGN_OR_FAIL(const Spec spec, ParseSpec(With(R"("new":{"a":[1]},"hooks":null)")));
  CHECK(spec.hooks.prestart.empty());
}

TEST_CASE("Limits that are absent differ from limits of zero", "[container][config]") {
  KEELSON_ASSIGN_OR_FAIL(const Resources resources,
                         ParseResources(R"({"pids":{"limit":0},"memory":{"limit":-1}})"));
  CHECK(resources.pids_limit == 0);
  CHECK(resources.memory->limit == -1);
  CHECK_FALSE(resources.memory->swap.has_value());
  CHECK_FALSE(resources.cpu.has_value());
}

TEST_CASE("A bad property is named by its place", "[container][config]") {
  struct Row {
    std::string fields, words;
  };
  const auto row = GENERATE(values<Row>({
      {R"("hostname":1)", "hostname: want a string, have 1"},
      {R"("root":{})", "root.path: is missing"},
      {R"("root":[])", "root: want an object"},
      {R"("process":{"args":"sh"})", "process.args: want an array"},
      {R"("process":{"args":["a",{}]})", "process.args[1]: want a string"},
      {R"("process":{"args":["a\u0000b"]})", "process.args[0]: has a NUL byte"},
      {R"("process":{"env":["X"]})", "process.env[0]: 'X' has no '='"},
      {R"("process":{"user":{"uid":-1}})", "process.user.uid: the number -1 is out of range"},
      {R"("process":{"user":{"uid":4294967296}})", "process.user.uid: the number"},
      {R"("process":{"user":{"uid":1.5}})", "process.user.uid: want an integer, have the fraction"},
      {R"("process":{"rlimits":[{"type":"RLIMIT_X"}]})", "process.rlimits[0].type: unknown value"},
      {R"("process":{"rlimits":[{"type":"RLIMIT_AS","soft":2,"hard":1}]})", "above the hard limit"},
      {R"("process":{"rlimits":[{"type":"RLIMIT_AS"},{"type":"RLIMIT_AS"}]})", "listed twice"},
      {R"("process":{"oomScoreAdj":1001})", "process.oomScoreAdj: must be in [-1000, 1000]"},
      {R"("process":{"scheduler":{"policy":"X"}})", "process.scheduler.policy: unknown value 'X'"},
      {R"("process":{"scheduler":{"policy":"SCHED_OTHER","priority":1}})", "SCHED_FIFO"},
      {R"("process":{"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":8}})", "in [0, 7]"},
      {R"("mounts":[{"type":"x"}])", "mounts[0].destination: is missing"},
      {R"("mounts":[{"destination":"/a","uidMappings":[{"size":1}]}])", "both or neither"},
      {R"("hooks":{"prestart":[{"path":"rel"}]})", "hooks.prestart[0].path: 'rel' is not absolute"},
      {R"("hooks":{"poststop":[{"path":"/a","timeout":0}]})", "more than 0"},
      {R"("linux":{"namespaces":[{"type":"x"}]})", "linux.namespaces[0].type: unknown namespace"},
      {R"("linux":{"namespaces":[{"type":"pid"},{"type":"pid"}]})", "'pid' is listed twice"},
      {R"("linux":{"namespaces":[{"type":"pid","path":"x"}]})", "is not absolute"},
      {R"("linux":{"uidMappings":[{"size":0}]})", "linux.uidMappings[0].size: must be at least 1"},
      {R"("linux":{"devices":[{"type":"q","path":"/dev/x"}]})", "unknown device type 'q'"},
      {R"("linux":{"devices":[{"type":"c","path":"/dev/x","major":-1}]})", "out of range"},
      {R"("linux":{"timeOffsets":{"wall":{}}})", "linux.timeOffsets.wall: unknown clock"},
      {R"("linux":{"timeOffsets":{"boottime":{"nanosecs":1000000000}}})", "below 1000000000"},
      {R"("linux":{"personality":{"domain":"X"}})", "unknown execution domain"},
      {R"("linux":{"intelRdt":{"closID":"a/b"}})", "is not one name"},
      {R"("linux":{"sysctl":{"a":1}})", "linux.sysctl.a: want a string"},
      {R"("linux":{"resources":{"devices":[{"allow":true,"access":"x"}]}})",
       "other than r, w and m"},
      {R"("linux":{"resources":{"devices":[{"access":"r"}]}})", "devices[0].allow: is missing"},
      {R"("linux":{"seccomp":{}})", "linux.seccomp.defaultAction: is missing"},
      {R"("linux":{"memoryPolicy":{}})", "linux.memoryPolicy.mode: invalid memory policy mode"},
      {R"("linux":{"seccomp":{"defaultAction":"SCMP_ACT_NOTIFY"}})", "cannot be the default"},
  }));
  DYNAMIC_SECTION(row.words) {
    KEELSON_CHECK_ERROR(ParseSpec(With(row.fields)).status(), kInvalid, row.words);
  }
}

TEST_CASE("What is no config is refused", "[container][config]") {
  KEELSON_CHECK_ERROR(ParseSpec("").status(), kInvalid, "not JSON");
  KEELSON_CHECK_ERROR(ParseSpec("[]").status(), kInvalid, "not a JSON object");
  KEELSON_CHECK_ERROR(ParseSpec(R"({"ociVersion":"2.0"})").status(), kInvalid, "ociVersion");
  KEELSON_CHECK_ERROR(ParseSpec(R"({})").status(), kInvalid, "ociVersion: is missing");
  KEELSON_CHECK_ERROR(ParseSpec(std::string(100000, '[')).status(), kInvalid, "deeper than 64");
  KEELSON_CHECK_ERROR(ParseSpec(std::string((16 << 20) + 1, ' ')).status(), kInvalid, "bytes");
}

TEST_CASE("Brackets inside strings do not count as depth", "[container][config]") {
  KEELSON_REQUIRE_OK(ParseSpec(With(R"("hostname":"\")" + std::string(100, '[') + R"(")")));
}

}  // namespace
}  // namespace keelson::container
