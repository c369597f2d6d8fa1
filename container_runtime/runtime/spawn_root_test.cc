// A child that is born in the PID namespace of another process, and what is left of that in the caller.
#include <catch2/catch.hpp>

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "container_runtime/plan/compiler.h"
#include "container_runtime/runtime/spawn.h"

namespace keelson::container {
namespace {

ino_t Inode(const std::string& path) {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

// The first process of a PID namespace of its own; killed at the end.
class Init {
 public:
  Init() {
    pid_ = static_cast<pid_t>(::syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0));
    while (pid_ == 0) ::pause();
    if (pid_ > 0) pidfd_.Reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  }
  ~Init() { End(); }
  Init(const Init&) = delete;
  Init& operator=(const Init&) = delete;

  void End() {
    if (pid_ > 0) {
      (void)::kill(pid_, SIGKILL);
      (void)::waitpid(pid_, nullptr, 0);
    }
    pid_ = -1;
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
};

absl::StatusOr<Plan> PlanToJoin() {
  Process process;
  process.args = {"/bin/true"};
  process.cwd = std::string(1, '/');
  process.capabilities.emplace();
  ExecOptions options;
  options.join = CLONE_NEWPID;
  return CompileExec(process, options);
}

void CheckCallerAsBefore() {
  CHECK(::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1);
  CHECK(Inode("/proc/thread-self/ns/pid_for_children") == Inode("/proc/thread-self/ns/pid"));
}

TEST_CASE("a child is born in the PID namespace, and its parent stays outside",
          "[container][spawn]") {
  if (::geteuid() != 0) {
    std::cout << "SKIPPED ALL: needs root\n";
    return;
  }
  const Init init;
  REQUIRE(init.pid() > 0);
  KEELSON_ASSIGN_OR_FAIL(Plan plan, PlanToJoin());
  SpawnRequest request;
  request.registers = {{kProcess, init.pidfd()}};
  ino_t space = 0;
  request.reached = [&](SyncPoint, const Child& child) {
    space = Inode(absl::StrCat("/proc/", child.pid, "/ns/pid"));
    return absl::OkStatus();
  };

  KEELSON_ASSIGN_OR_FAIL(const Child child, Spawn(plan, request));

  CHECK(space == Inode(absl::StrCat("/proc/", init.pid(), "/ns/pid")));
  CHECK(space != Inode("/proc/self/ns/pid"));
  CheckCallerAsBefore();
  int status = -1;
  REQUIRE(::waitpid(child.pid, &status, 0) == child.pid);
  CHECK(status == 0);
}

TEST_CASE("a PID namespace that has ended is an error, and changes nothing", "[container][spawn]") {
  if (::geteuid() != 0) return;
  Init init;
  REQUIRE(init.pid() > 0);
  KEELSON_ASSIGN_OR_FAIL(Plan plan, PlanToJoin());
  SpawnRequest request;
  request.registers = {{kProcess, init.pidfd()}};
  init.End();

  const absl::StatusOr<Child> child = Spawn(plan, request);

  REQUIRE_FALSE(child.ok());
  CHECK(absl::StrContains(child.status().message(), "join the container's namespaces: setns"));
  CheckCallerAsBefore();
}

}  // namespace
}  // namespace keelson::container
