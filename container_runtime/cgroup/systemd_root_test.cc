// The systemd driver against a real systemd as process 1; for virtual machines (tests/vm), as it starts units.
#include <catch2/catch.hpp>

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/testing/status_matchers.h"
#include "container_runtime/cgroup/systemd_manager.h"

namespace keelson::container {
namespace {

constexpr absl::Duration kLimit = absl::Seconds(30);

std::string Output(const std::string& command) {
  std::string text;
  FILE* pipe = ::popen(command.c_str(), "re");
  REQUIRE(pipe != nullptr);
  char buffer[4096];
  while (const size_t n = ::fread(buffer, 1, sizeof buffer, pipe)) text.append(buffer, n);
  (void)::pclose(pipe);
  return text;
}

std::string Show(const std::string& unit, const std::string& property) {
  return std::string(absl::StripAsciiWhitespace(
      Output(absl::StrCat("systemctl show --value -p ", property, " ", unit))));
}

std::string ReadText(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// A child that does nothing, and is not a test when a signal ends it.
pid_t StartWaiter() {
  const pid_t pid = ::fork();
  if (pid == 0) {
    (void)::signal(SIGTERM, SIG_DFL);
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (true) (void)::pause();
  }
  REQUIRE(pid > 0);
  return pid;
}

class Scope {
 public:
  explicit Scope(const std::string& name, std::vector<UnitProperty> properties = {}) {
    KEELSON_ASSIGN_OR_FAIL(host, DetectHost());
    KEELSON_ASSIGN_OR_FAIL(
        const CgroupLocation location,
        LocateUnit(host, {.container_id = name, .cgroups_path = "system.slice:test:" + name}, "/"));
    unit = location.unit;
    manager =
        NewSystemdManager(RealCgroupSystem(), host, location, [] { return ConnectUnitControl({}); },
                          {.description = "a test", .properties = std::move(properties)});
    KEELSON_REQUIRE_OK(manager->Create());
  }
  ~Scope() {
    (void)manager->Kill(kLimit);
    if (child > 0) (void)::waitpid(child, nullptr, 0);
    CHECK(manager->Destroy().ok());
    CHECK_FALSE(manager->Exists());
    CHECK(Show(unit, "ActiveState") == "inactive");
  }

  // A child that waits, in its unit.
  void Start(const Resources& resources) {
    KEELSON_REQUIRE_OK(manager->Apply(resources));
    KEELSON_ASSIGN_OR_FAIL(const Attachment attachment, manager->PrepareAttach({}));
    REQUIRE(attachment.by_call);
    child = StartWaiter();
    KEELSON_REQUIRE_OK(manager->Attach(child));
  }

  [[nodiscard]] std::string File(const std::string& name) const {
    const Hierarchy* v2 = host.Unified();
    return ReadText(
        absl::StrCat(v2->mount_point, manager->location().paths.at("unified"), "/", name));
  }

  HostLayout host;
  std::string unit;
  std::unique_ptr<CgroupManager> manager;
  pid_t child = -1;
};

TEST_CASE("A container is a scope with limits that systemd and the kernel know", "[systemd]") {
  Scope scope("limits", {{"CollectMode", std::string("inactive-or-failed")}});
  Resources r;
  r.memory = MemoryLimits{.limit = 64 << 20, .swap = 96 << 20};
  r.pids_limit = 20;
  r.cpu = CpuLimits{.shares = 1024, .quota = 12345, .period = 100000, .cpus = "0"};

  scope.Start(r);

  CHECK(Show(scope.unit, "ActiveState") == "active");
  CHECK(Show(scope.unit, "Description") == "a test");
  CHECK(Show(scope.unit, "Slice") == "system.slice");
  CHECK(Show(scope.unit, "Delegate") == "yes");
  CHECK(Show(scope.unit, "CollectMode") == "inactive-or-failed");
  CHECK(Show(scope.unit, "MemoryMax") == absl::StrCat(64 << 20));
  CHECK(Show(scope.unit, "TasksMax") == "20");
  CHECK(Show(scope.unit, "CPUQuotaPerSecUSec") == "130ms");
  CHECK(scope.File("memory.max") == absl::StrCat(64 << 20, "\n"));
  CHECK(scope.File("pids.max") == "20\n");
  CHECK(scope.File("cpu.max") == "13000 100000\n");
  CHECK(scope.File("cpu.weight") == "100\n");
  CHECK(scope.File("cpuset.cpus") == "0\n");
  CHECK(scope.manager->Pids().value() == std::vector<pid_t>{scope.child});
  CHECK(absl::StrContains(ReadText(absl::StrCat("/proc/", scope.child, "/cgroup")),
                          "/system.slice/test-limits.scope"));
}

TEST_CASE("An update survives systemd's reload", "[systemd]") {
  Scope scope("update");
  scope.Start({});
  Resources r;
  r.memory = MemoryLimits{.limit = 32 << 20};
  r.pids_limit = 7;

  KEELSON_REQUIRE_OK(scope.manager->Update(r));
  (void)Output("systemctl daemon-reload");

  CHECK(Show(scope.unit, "MemoryMax") == absl::StrCat(32 << 20));
  CHECK(scope.File("memory.max") == absl::StrCat(32 << 20, "\n"));
  CHECK(scope.File("pids.max") == "7\n");
}

TEST_CASE("Device rules hold, also after systemd's reload", "[systemd]") {
  Scope scope("devices");
  scope.Start({});
  (void)Output("systemctl daemon-reload");
  KEELSON_ASSIGN_OR_FAIL(const Attachment attachment, scope.manager->PrepareAttach({}));
  REQUIRE(attachment.clone_into.ok());

  // Through the shell, which moves itself into the scope.
  const std::string folder = absl::StrCat(scope.host.Unified()->mount_point,
                                          scope.manager->location().paths.at("unified"));
  const std::string said = Output(absl::StrCat(
      "echo $$ >", folder, "/cgroup.procs; cat </dev/null && echo null; head -c1 /dev/kmsg 2>&1"));

  CHECK(absl::StrContains(said, "null"));
  CHECK(absl::StrContains(said, "Operation not permitted"));
}

TEST_CASE("systemd's words reach the caller", "[systemd]") {
  Scope good("twice");
  good.Start({});

  Scope bad("wrong", {{"NoSuchProperty", true}});
  KEELSON_REQUIRE_OK(bad.manager->Apply({}));
  const absl::Status status = bad.manager->Attach(::getpid());
  INFO(status.ToString());
  CHECK_FALSE(status.ok());
  CHECK(absl::StrContains(std::string(status.message()), "NoSuchProperty"));
}

TEST_CASE("A process can be attached through systemd", "[systemd]") {
  Scope scope("attach");
  scope.Start({});
  const pid_t other = StartWaiter();
  KEELSON_ASSIGN_OR_FAIL(const auto control, ConnectUnitControl({}));

  KEELSON_REQUIRE_OK(control->AttachProcesses(scope.unit, "", {static_cast<uint32_t>(other)}));

  CHECK(scope.manager->Pids()->size() == 2);
  CHECK(control->ManagerCgroup().ok());
  KEELSON_REQUIRE_OK(scope.manager->Kill(kLimit));
  (void)::waitpid(other, nullptr, 0);
}

TEST_CASE("The message bus serves as well as the private socket", "[systemd]") {
  const std::string socket = "/run/dbus/system_bus_socket";
  if (::access(socket.c_str(), F_OK) != 0) {
    std::cout << "SKIPPED: the message bus: this machine has no dbus-daemon\n";
    return;
  }
  KEELSON_ASSIGN_OR_FAIL(const auto control, ConnectUnitControl({.socket = socket, .bus = true}));
  const pid_t child = StartWaiter();

  KEELSON_REQUIRE_OK(
      control->Start("bus.scope", {{"PIDs", std::vector<uint32_t>{static_cast<uint32_t>(child)}}}));
  CHECK(Show("bus.scope", "ActiveState") == "active");
  KEELSON_CHECK_ERROR(control->Start("bus.scope", {}), absl::StatusCode::kAlreadyExists,
                      "bus.scope");
  KEELSON_REQUIRE_OK(control->Set("bus.scope", {{"TasksMax", uint64_t{5}}}));
  CHECK(Show("bus.scope", "TasksMax") == "5");
  KEELSON_REQUIRE_OK(control->Stop("bus.scope"));
  CHECK(Show("bus.scope", "ActiveState") == "inactive");
  KEELSON_REQUIRE_OK(control->Stop("bus.scope"));  // There is none any more.
  (void)::waitpid(child, nullptr, 0);
}

TEST_CASE("Nobody at the socket is said so", "[systemd]") {
  KEELSON_CHECK_ERROR(ConnectUnitControl({.socket = "/no/such/socket"}).status(),
                      absl::StatusCode::kUnavailable, "/no/such/socket: No such file");
}

}  // namespace
}  // namespace keelson::container
