#include "container_runtime/seccomp/seccomp_filter.h"

#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <catch2/catch.hpp>

#include <cerrno>

#include "base/testing/status_matchers.h"

namespace keelson::container {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

Seccomp Profile(const std::string& default_action, std::vector<SeccompSyscall> rules) {
  return {.default_action = default_action, .syscalls = std::move(rules)};
}

TEST_CASE("A filter answers as its profile says", "[container][seccomp]") {
  KEELSON_ASSIGN_OR_FAIL(
      const SeccompFilter filter,
      CompileSeccomp(Profile("SCMP_ACT_ALLOW",
                             {{.names = {"mkdir"}, .action = "SCMP_ACT_ERRNO", .errno_ret = 7},
                              {.names = {"chmod"}, .action = "SCMP_ACT_ERRNO"},
                              {.names = {"kill"}, .action = "SCMP_ACT_KILL_PROCESS"}})));

  CHECK(EvaluateFilter(filter.code, SYS_getpid) == SECCOMP_RET_ALLOW);
  CHECK(EvaluateFilter(filter.code, SYS_mkdir) == (SECCOMP_RET_ERRNO | 7));
  CHECK(EvaluateFilter(filter.code, SYS_chmod) == (SECCOMP_RET_ERRNO | EPERM));
  CHECK(EvaluateFilter(filter.code, SYS_kill) == SECCOMP_RET_KILL_PROCESS);
  CHECK(AllowsExecveat(filter));
}

#if defined(__x86_64__)
TEST_CASE("System calls newer than a list of allowed ones do not exist", "[container][seccomp]") {
  KEELSON_ASSIGN_OR_FAIL(const SeccompFilter filter,
                         CompileSeccomp(Profile("SCMP_ACT_ERRNO", {{.names = {"read", "openat2"},
                                                                    .action = "SCMP_ACT_ALLOW"}})));

  CHECK(EvaluateFilter(filter.code, SYS_read) == SECCOMP_RET_ALLOW);
  CHECK(EvaluateFilter(filter.code, SYS_write) == (SECCOMP_RET_ERRNO | EPERM));
  CHECK(EvaluateFilter(filter.code, SYS_openat2) == SECCOMP_RET_ALLOW);
  CHECK(EvaluateFilter(filter.code, SYS_openat2 + 100) == (SECCOMP_RET_ERRNO | ENOSYS));
  CHECK_FALSE(AllowsExecveat(filter));
}
#endif

TEST_CASE("Names that nobody knows are skipped and told", "[container][seccomp]") {
  KEELSON_ASSIGN_OR_FAIL(const SeccompFilter filter,
                         CompileSeccomp(Profile("SCMP_ACT_ALLOW", {{.names = {"no_such_call"},
                                                                    .action = "SCMP_ACT_ERRNO"}})));
  REQUIRE(filter.warnings.size() == 1);
  CHECK(filter.warnings[0].find("no_such_call") != std::string::npos);
}

TEST_CASE("Two comparisons of one argument are two rules", "[container][seccomp]") {
  const SeccompSyscall rule = {.names = {"personality"},
                               .action = "SCMP_ACT_ERRNO",
                               .args = {{.index = 0, .value = 0, .op = "SCMP_CMP_EQ"},
                                        {.index = 0, .value = 8, .op = "SCMP_CMP_EQ"}}};
  KEELSON_ASSIGN_OR_FAIL(const SeccompFilter filter,
                         CompileSeccomp(Profile("SCMP_ACT_ALLOW", {rule})));
  // Arguments are 0 where filters are evaluated.
  CHECK(EvaluateFilter(filter.code, SYS_personality) == (SECCOMP_RET_ERRNO | EPERM));
}

TEST_CASE("Profiles that make no sense are refused with the place", "[container][seccomp]") {
  KEELSON_CHECK_ERROR(CompileSeccomp(Profile("X", {})).status(), kInvalid, "unknown value 'X'");
  Seccomp profile = Profile("SCMP_ACT_ALLOW", {});
  profile.architectures = {"SCMP_ARCH_X"};
  KEELSON_CHECK_ERROR(CompileSeccomp(profile).status(), kInvalid, "architectures[0]");
  KEELSON_CHECK_ERROR(
      CompileSeccomp(Profile("SCMP_ACT_ALLOW", {{.names = {"mkdir"}, .action = "SCMP_ACT_NOTIFY"}}))
          .status(),
      kInvalid, "listenerPath");
}

TEST_CASE("A program that is none kills", "[container][seccomp]") {
  CHECK(EvaluateFilter({}, 0) == SECCOMP_RET_KILL_PROCESS);
  CHECK(EvaluateFilter({{0xffff, 0, 0, 0}}, 0) == SECCOMP_RET_KILL_PROCESS);
}

}  // namespace
}  // namespace keelson::container
