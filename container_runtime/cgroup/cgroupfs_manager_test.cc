// Managers over folders that act as cgroups (testing/fake_cgroup_system.h); the kernel itself is asked in
// cgroup_root_test.cc.
#include "container_runtime/cgroup/cgroupfs_manager.h"

#include <catch2/catch.hpp>

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "container_runtime/cgroup/cgroup_stats.h"
#include "container_runtime/cgroup/testing/fake_cgroup_system.h"

namespace keelson::container {
namespace {

using Code = absl::StatusCode;
using testing::FakeCgroupSystem;
using testing::FakeHost;

// A host, and a container's cgroup "/a/b" on it.
class World {
 public:
  explicit World(FakeHost kind) : system(Folder()), host(system.Host(kind)) {}
  ~World() { std::filesystem::remove_all(folder_); }

  std::unique_ptr<CgroupManager> Manager(const std::string& path = "/a/b",
                                         const CgroupfsOptions& options = {},
                                         bool rootless = false) {
    const auto location =
        LocateCgroups(host, {.container_id = "id", .cgroups_path = path, .rootless = rootless});
    KEELSON_REQUIRE_OK(location);
    return NewCgroupfsManager(system, host, *location, options);
  }
  std::unique_ptr<CgroupManager> Created(const std::string& path = "/a/b") {
    auto manager = Manager(path);
    KEELSON_REQUIRE_OK(manager->Create());
    return manager;
  }
  bool Wrote(const std::string& write) const {
    return std::find(system.writes.begin(), system.writes.end(), write) != system.writes.end();
  }

 private:
  std::string Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "cgroup-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
    return name;
  }
  std::string folder_;

 public:
  FakeCgroupSystem system;
  const HostLayout host;
};

constexpr absl::Duration kLimit = absl::Seconds(1);

TEST_CASE("Create makes the folder in every hierarchy", "[cgroup][manager]") {
  World world(FakeHost::kHybrid);

  auto manager = world.Created();

  for (const Hierarchy& h : world.host.hierarchies) {
    INFO(h.name);
    CHECK(world.system.FolderExists(h.name, "/a/b"));
    CHECK(manager->FolderFd(h.name) >= 0);
  }
  CHECK(manager->Exists());
  CHECK(manager->FolderFd("nothing") == -1);
}

TEST_CASE("On v2 every controller reaches the container, and on a hybrid host none is touched",
          "[cgroup][manager]") {
  World unified(FakeHost::kUnified);
  auto manager = unified.Created();
  CHECK(unified.system.Contents("unified", "/a/b", "cgroup.controllers") ==
        "cpu cpuset hugetlb io memory pids\n");
  CHECK(unified.system.Contents("unified", "/a/b", "cgroup.subtree_control").empty());

  World hybrid(FakeHost::kHybrid);
  auto other = hybrid.Created();
  CHECK(hybrid.system.Contents("unified", "", "cgroup.subtree_control").empty());
}

TEST_CASE("A controller that cannot be enabled does not keep the others out", "[cgroup][manager]") {
  World world(FakeHost::kUnified);
  // The write of all together fails at the root, and so does the first one alone.
  world.system.FailWrite("cgroup.subtree_control", ENOENT, 2);

  auto manager = world.Created();

  CHECK(absl::StrContains(world.system.Contents("unified", "/a", "cgroup.controllers"), "memory"));
}

TEST_CASE("A level with processes is not made a threaded one for the sake of some controllers",
          "[cgroup][manager]") {
  World world(FakeHost::kUnified);
  world.system.FailWrite("cgroup.subtree_control", EBUSY, 2);  // at the root, and at "/a"
  auto manager = world.Created();
  CHECK(world.system.Contents("unified", "", "cgroup.subtree_control").empty());
  CHECK(world.system.writes.empty());

  Resources r;
  r.memory = MemoryLimits{.limit = 1000};
  world.system.FailWrite("cgroup.subtree_control", EBUSY, 2);
  KEELSON_CHECK_ERROR(manager->Apply(r), Code::kFailedPrecondition,
                      "controller 'memory' is not enabled there");
}

TEST_CASE("A v1 cpuset copies processors and nodes from the parent, level by level",
          "[cgroup][manager]") {
  World world(FakeHost::kLegacy);

  auto manager = world.Created();

  CHECK(world.system.Contents("cpuset", "/a", "cpuset.cpus") == "0-1\n");
  CHECK(world.system.Contents("cpuset", "/a/b", "cpuset.cpus") == "0-1\n");
  CHECK(world.system.Contents("cpuset", "/a/b", "cpuset.mems") == "0\n");
}

TEST_CASE("A cgroup with processes, or frozen, is not taken for a new container",
          "[cgroup][manager]") {
  World world(FakeHost::kHybrid);
  (void)world.Created();

  SECTION("processes below it") {
    (void)world.Created("/a/b/c");
    world.system.AddProcess("devices", "/a/b/c", 7);
    KEELSON_CHECK_ERROR(world.Manager()->Create(), Code::kFailedPrecondition,
                        "not empty: 1 process");
  }
  SECTION("frozen") {
    world.system.Set("freezer", "/a/b", "freezer.state", "FROZEN\n");
    world.system.Set("freezer", "/a/b", "freezer.self_freezing", "1\n");
    KEELSON_CHECK_ERROR(world.Manager()->Create(), Code::kFailedPrecondition, "frozen");
  }
  SECTION("frozen from above only") {
    world.system.Set("freezer", "/a/b", "freezer.state", "FROZEN\n");
    KEELSON_CHECK_ERROR(world.Manager()->Create(), Code::kOk, "");
  }
}

TEST_CASE("A cgroup below a threaded one is refused", "[cgroup][manager]") {
  World world(FakeHost::kUnified);
  (void)world.Created();
  world.system.Set("unified", "/a/b", "cgroup.type", "domain invalid\n");

  KEELSON_CHECK_ERROR(world.Manager()->Create(), Code::kFailedPrecondition, "domain invalid");
}

TEST_CASE("Limits land in the hierarchy that has the controller", "[cgroup][manager]") {
  World world(FakeHost::kHybrid);
  auto manager = world.Created();
  Resources r;
  r.memory = MemoryLimits{.limit = 1000000, .swap = 3000000};
  r.pids_limit = 20;
  r.hugepage_limits = {{"2MB", 4194304}};

  KEELSON_REQUIRE_OK(manager->Apply(r));

  CHECK(world.Wrote("memory:/a/b/memory.limit_in_bytes=1000000"));
  CHECK(world.Wrote("memory:/a/b/memory.memsw.limit_in_bytes=3000000"));
  CHECK(world.Wrote("pids:/a/b/pids.max=20"));
  // Enabled now, from the root down, as a limit asks for it.
  CHECK(world.Wrote("unified:/cgroup.subtree_control=+hugetlb"));
  CHECK(world.Wrote("unified:/a/cgroup.subtree_control=+hugetlb"));
  CHECK(world.Wrote("unified:/a/b/hugetlb.2MB.max=4194304"));
  CHECK(world.Wrote("devices:/a/b/devices.deny=a"));
  CHECK(world.Wrote("devices:/a/b/devices.allow=c 1:3 rwm"));
}

TEST_CASE("Writes that the kernel refuses in one order are done in another", "[cgroup][manager]") {
  World world(FakeHost::kLegacy);
  auto manager = world.Created();
  world.system.writes.clear();
  Resources r;
  r.memory = MemoryLimits{.limit = 2000000, .swap = 3000000};
  world.system.FailWrite("memory.limit_in_bytes", EINVAL);

  KEELSON_REQUIRE_OK(manager->Update(r));

  CHECK(world.system.writes ==
        std::vector<std::string>{"memory:/a/b/memory.memsw.limit_in_bytes=3000000",
                                 "memory:/a/b/memory.limit_in_bytes=2000000"});
}

TEST_CASE("A value that no order makes good is an error with file, value and reason",
          "[cgroup][manager]") {
  World world(FakeHost::kLegacy);
  auto manager = world.Created();
  Resources r;
  r.cpu = CpuLimits{.quota = 5, .period = 10000};
  world.system.FailWrite("cpu.cfs_quota_us", EINVAL, 2);

  KEELSON_CHECK_ERROR(manager->Apply(r), Code::kInvalidArgument,
                      "write '5' to 'cpu.cfs_quota_us' of cgroup '/a/b' (cpu,cpuacct): Invalid");
}

TEST_CASE("Errors of the kernel keep their meaning", "[cgroup][manager]") {
  World world(FakeHost::kLegacy);
  auto manager = world.Created();
  Resources r;

  SECTION("a limit below what is used") {
    r.memory = MemoryLimits{.limit = 1000};
    world.system.FailWrite("memory.limit_in_bytes", EBUSY);
    KEELSON_CHECK_ERROR(
        manager->Update(r), Code::kFailedPrecondition,
        "unable to set memory limit to 1000 (current usage: 4096, peak usage: 8192)");
  }
  SECTION("no permission") {
    r.pids_limit = 3;
    world.system.FailWrite("pids.max", EACCES);
    KEELSON_CHECK_ERROR(manager->Update(r), Code::kPermissionDenied, "'pids.max'");
  }
}

TEST_CASE("Shares that the kernel clamps are an error", "[cgroup][manager]") {
  // A plain file keeps what is written, so the fake kernel has to lie.
  class Clamping : public FakeCgroupSystem {
   public:
    using FakeCgroupSystem::FakeCgroupSystem;
    int Read(int folder, const std::string& file, std::string* text) override {
      const int error = FakeCgroupSystem::Read(folder, file, text);
      if (file == "cpu.shares") *text = "262144\n";
      return error;
    }
  };
  std::string name = (std::filesystem::temp_directory_path() / "cgroup-XXXXXX").string();
  REQUIRE(::mkdtemp(name.data()) != nullptr);
  Clamping system(name);
  const HostLayout host = system.Host(FakeHost::kLegacy);
  const auto location = LocateCgroups(host, {.container_id = "id", .cgroups_path = "/a"});
  auto manager = NewCgroupfsManager(system, host, *location, {});
  KEELSON_REQUIRE_OK(manager->Create());
  Resources r;
  r.cpu = CpuLimits{.shares = 1000000};

  KEELSON_CHECK_ERROR(manager->Apply(r), Code::kInvalidArgument,
                      "the maximum allowed cpu-shares is 262144");
  std::filesystem::remove_all(name);
}

TEST_CASE("A limit for a controller that the host lacks is refused before any write",
          "[cgroup][manager]") {
  World world(FakeHost::kLegacy);
  auto manager = world.Created();
  world.system.writes.clear();
  Resources r;
  r.pids_limit = 3;

  SECTION("by its field") { r.hugepage_limits = {{"2MB", 1}}; }
  SECTION("by its v2 file") { r.unified = {{"memory.high", "1"}}; }

  CHECK(manager->Apply(r).code() == Code::kFailedPrecondition);
  CHECK(world.system.writes.empty());
}

TEST_CASE("checkBeforeUpdate refuses a v2 limit below what is used", "[cgroup][manager]") {
  World world(FakeHost::kUnified);
  auto manager = world.Created();
  Resources r;
  r.memory = MemoryLimits{.limit = 4095, .check_before_update = true};

  KEELSON_CHECK_ERROR(manager->Update(r), Code::kFailedPrecondition, "current usage is 4096");
  CHECK(world.system.Contents("unified", "/a/b", "memory.max") == "max\n");

  r.memory->check_before_update = false;
  KEELSON_REQUIRE_OK(manager->Update(r));
}

TEST_CASE("Settings go to the file that this kernel has", "[cgroup][manager]") {
  World world(FakeHost::kUnified);
  world.system.Hide("memory.swap.max");
  auto manager = world.Created();
  Resources r;
  r.block_io = BlockIoLimits{.weight = 10};
  r.memory = MemoryLimits{.limit = 1000, .swap = 1000};

  KEELSON_REQUIRE_OK(manager->Apply(r));

  CHECK(world.Wrote("unified:/a/b/io.weight=default 1"));
  CHECK(world.Wrote("unified:/a/b/memory.max=1000"));
}

TEST_CASE("Devices of v2 are a program; without permission an error, unless tolerated",
          "[cgroup][manager]") {
  World world(FakeHost::kUnified);
  auto manager = world.Created();

  KEELSON_REQUIRE_OK(manager->Apply({}));
  CHECK_FALSE(world.system.device_program.empty());

  world.system.device_status = absl::PermissionDeniedError("bpf");
  CHECK(manager->Apply({}).code() == Code::kPermissionDenied);
  KEELSON_REQUIRE_OK(world.Manager("/a/b", {.tolerate_devices = true})->Apply({}));
  KEELSON_REQUIRE_OK(world.Manager("/a/b", {.skip_devices = true})->Apply({}));
}

TEST_CASE("An update without device rules leaves devices alone", "[cgroup][manager]") {
  World world(FakeHost::kUnified);
  auto manager = world.Created();

  KEELSON_REQUIRE_OK(manager->Update({}));
  CHECK(world.system.device_program.empty());
}

TEST_CASE("A rootless container without a path goes without the cgroups it may not have",
          "[cgroup][manager][rootless]") {
  World world(FakeHost::kHybrid);
  world.system.FailMake("memory", EACCES);
  world.system.FailMake("pids", EROFS);
  auto manager = world.Manager("", {.tolerate_devices = true}, true);

  KEELSON_REQUIRE_OK(manager->Create());

  CHECK(manager->location().paths.count("memory") == 0);
  CHECK(manager->location().paths.count("pids") == 0);
  CHECK(manager->location().paths.count("cpuset") == 1);
  KEELSON_REQUIRE_OK(manager->Apply({}));
  Resources r;
  r.pids_limit = 3;
  KEELSON_CHECK_ERROR(manager->Apply(r), Code::kFailedPrecondition,
                      "cannot set pids limit: container could not join or create cgroup");
}

TEST_CASE("With a path, or for other reasons, a folder that cannot be made is an error",
          "[cgroup][manager][rootless]") {
  World world(FakeHost::kHybrid);

  world.system.FailMake("memory", EACCES);
  KEELSON_CHECK_ERROR(world.Manager("/a/b", {}, true)->Create(), Code::kPermissionDenied,
                      "mkdir 'a' of cgroup '/a/b' (memory)");
  world.system.FailMake("memory", ENOSPC);
  CHECK_FALSE(world.Manager("", {}, true)->Create().ok());
}

TEST_CASE("A rootless container on v2 without permission is told what it may not ask for",
          "[cgroup][manager][rootless]") {
  World world(FakeHost::kUnified);
  world.system.FailMake("unified", EACCES);
  auto manager = world.Manager("", {.tolerate_devices = true}, true);

  KEELSON_REQUIRE_OK(manager->Create());
  KEELSON_REQUIRE_OK(manager->Apply({}));
  Resources r;
  r.memory = MemoryLimits{.limit = 1000};
  KEELSON_CHECK_ERROR(manager->Apply(r), Code::kFailedPrecondition,
                      "rootless needs no limits + no cgrouppath when no permission");
}

TEST_CASE("Attaching needs a folder on v2 and a tasks file of each v1 hierarchy",
          "[cgroup][manager]") {
  World world(FakeHost::kHybrid);
  auto manager = world.Created();

  KEELSON_ASSIGN_OR_FAIL(const Attachment attachment, manager->PrepareAttach({}));

  CHECK(attachment.clone_into.ok());
  CHECK(attachment.tasks.size() == 8);
  CHECK_FALSE(attachment.by_call);
  REQUIRE(AttachSelf(attachment, nullptr));
  CHECK(world.system.Contents("memory", "/a/b", "tasks") == "0");
  CHECK(world.system.Contents("cpu,cpuacct", "/a/b", "tasks") == "0");
}

TEST_CASE("AttachSelf says which hierarchy refused", "[cgroup][manager]") {
  Attachment attachment;
  attachment.tasks.push_back({.fd = UniqueFd(), .hierarchy = "memory", .path = "/a"});
  AttachFailure failed;

  CHECK_FALSE(AttachSelf(attachment, &failed));
  CHECK(failed.index == 0);
  CHECK(failed.errno_value == EBADF);
}

TEST_CASE("exec can choose a sub-cgroup, which must exist and be below", "[cgroup][manager]") {
  World world(FakeHost::kHybrid);
  auto manager = world.Created();
  (void)world.Created("/a/b/sub");

  KEELSON_ASSIGN_OR_FAIL(const Attachment all, manager->PrepareAttach({.path = "/sub"}));
  REQUIRE(AttachSelf(all, nullptr));
  CHECK(world.system.Contents("memory", "/a/b/sub", "tasks") == "0");
  CHECK(world.system.Contents("pids", "/a/b/sub", "tasks") == "0");

  KEELSON_ASSIGN_OR_FAIL(const Attachment one,
                         manager->PrepareAttach({.path_of = {{"cpu", "sub"}}}));
  REQUIRE(AttachSelf(one, nullptr));
  CHECK(world.system.Contents("pids", "/a/b", "tasks") == "0");
  CHECK(world.system.Contents("cpu,cpuacct", "/a/b", "tasks").empty());

  (void)world.Created("/a/b/other");
  KEELSON_ASSIGN_OR_FAIL(const Attachment two,
                         manager->PrepareAttach({.path_of = {{"cpu", "sub"}, {"pids", "other"}}}));
  REQUIRE(AttachSelf(two, nullptr));
  CHECK(world.system.Contents("cpu,cpuacct", "/a/b/sub", "tasks") == "0");
  CHECK(world.system.Contents("pids", "/a/b/other", "tasks") == "0");

  CHECK(manager->PrepareAttach({.path = "none"}).status().code() == Code::kNotFound);
  KEELSON_CHECK_ERROR(manager->PrepareAttach({.path = "sub/../../x"}).status(),
                      Code::kInvalidArgument, "bad sub cgroup path");
  KEELSON_CHECK_ERROR(manager->PrepareAttach({.path_of = {{"what", "sub"}}}).status(),
                      Code::kInvalidArgument, "unknown controller what");
}

TEST_CASE("exec can follow a process that went further down", "[cgroup][manager]") {
  World world(FakeHost::kUnified);
  auto manager = world.Created();
  (void)world.Created("/a/b/init.scope");
  world.system.SetProcessCgroups(42, "0::/a/b/init.scope\n");
  world.system.SetProcessCgroups(43, "0::/elsewhere\n");
  const auto path_of = [](const Attachment& a) {
    return std::filesystem::read_symlink(absl::StrCat("/proc/self/fd/", a.clone_into.get()))
        .string();
  };

  KEELSON_ASSIGN_OR_FAIL(const Attachment inside, manager->PrepareAttach({.same_as = 42}));
  KEELSON_ASSIGN_OR_FAIL(const Attachment outside, manager->PrepareAttach({.same_as = 43}));

  CHECK(absl::EndsWith(path_of(inside), "/a/b/init.scope"));
  CHECK(absl::EndsWith(path_of(outside), "/a/b"));
}

TEST_CASE("Attach writes the pid everywhere", "[cgroup][manager]") {
  World world(FakeHost::kHybrid);
  auto manager = world.Created();

  KEELSON_REQUIRE_OK(manager->Attach(42));

  CHECK(world.system.Contents("unified", "/a/b", "cgroup.procs") == "42\n");
  CHECK(manager->Pids().value() == std::vector<pid_t>{42});
}

TEST_CASE("Pids lists every process once, also of sub-cgroups", "[cgroup][manager]") {
  World world(FakeHost::kHybrid);
  auto manager = world.Created();
  (void)world.Created("/a/b/c/d");
  world.system.AddProcess("unified", "/a/b", 5);
  world.system.AddProcess("devices", "/a/b", 5);
  world.system.AddProcess("unified", "/a/b/c/d", 3);
  world.system.AddProcess("devices", "/a/b/c", 9);
  world.system.AddProcess("devices", "/a/b/c", 0);  // of another PID namespace

  CHECK(manager->Pids().value() == std::vector<pid_t>{3, 5, 9});
}

TEST_CASE("Freezing uses the v2 tree where there is one", "[cgroup][manager][freezer]") {
  World world(FakeHost::kHybrid);
  auto manager = world.Created();

  KEELSON_REQUIRE_OK(manager->Freeze(kLimit));
  CHECK(manager->Freezer().value() == FreezerState::kFrozen);
  CHECK(world.system.Contents("unified", "/a/b", "cgroup.freeze") == "1\n");
  CHECK(world.system.Contents("freezer", "/a/b", "freezer.state") == "THAWED\n");

  KEELSON_REQUIRE_OK(manager->Thaw());
  CHECK(manager->Freezer().value() == FreezerState::kThawed);
}

TEST_CASE("A v1 freezer is written again until it is frozen", "[cgroup][manager][freezer]") {
  World world(FakeHost::kLegacy);
  auto manager = world.Created();

  SECTION("it gets there") {
    world.system.SlowFreezer(20);
    KEELSON_REQUIRE_OK(manager->Freeze(kLimit));
    CHECK(manager->Freezer().value() == FreezerState::kFrozen);
  }
  SECTION("it never does, and is thawed") {
    world.system.SlowFreezer(1000000);
    CHECK_FALSE(manager->Freeze(kLimit).ok());
    world.system.SlowFreezer(0);
    CHECK(manager->Freezer().value() == FreezerState::kThawed);
  }
}

TEST_CASE("A v2 cgroup that does not freeze in time is thawed", "[cgroup][manager][freezer]") {
  World world(FakeHost::kUnified);
  auto manager = world.Created();
  class Stubborn : public FakeCgroupSystem {
   public:
    using FakeCgroupSystem::FakeCgroupSystem;
    int WaitUntil(int, const std::string&, absl::Duration, bool (*)(const std::string&)) override {
      return -ETIMEDOUT;
    }
  };
  std::string name = (std::filesystem::temp_directory_path() / "cgroup-XXXXXX").string();
  REQUIRE(::mkdtemp(name.data()) != nullptr);
  Stubborn system(name);
  const HostLayout host = system.Host(FakeHost::kUnified);
  auto stubborn = NewCgroupfsManager(
      system, host, *LocateCgroups(host, {.container_id = "id", .cgroups_path = "/a"}), {});
  KEELSON_REQUIRE_OK(stubborn->Create());

  CHECK_FALSE(stubborn->Freeze(kLimit).ok());
  CHECK(system.Contents("unified", "/a", "cgroup.freeze") == "0\n");
  std::filesystem::remove_all(name);
}

TEST_CASE("Kill empties v2, v1 and both, whatever is frozen", "[cgroup][manager][kill]") {
  const auto kind = GENERATE(FakeHost::kUnified, FakeHost::kLegacy, FakeHost::kHybrid);
  World world(kind);
  auto manager = world.Created();
  (void)world.Created("/a/b/sub");
  if (kind != FakeHost::kLegacy) world.system.AddProcess("unified", "/a/b/sub", 5);
  if (kind != FakeHost::kUnified) {
    world.system.AddProcess("devices", "/a/b", 5);
    world.system.AddProcess("devices", "/a/b/sub", 6);  // only in v1
    world.system.Set("freezer", "/a/b/sub", "freezer.state", "FROZEN\n");
  }

  KEELSON_REQUIRE_OK(manager->Kill(kLimit));

  CHECK(manager->Pids().value().empty());
  if (kind != FakeHost::kUnified) {
    CHECK(world.system.Contents("freezer", "/a/b/sub", "freezer.state") == "THAWED\n");
    CHECK(world.system.Contents("freezer", "/a/b", "freezer.state") == "THAWED\n");
  }
}

TEST_CASE("Kill without cgroup.kill stops the cgroup, signals each process, and lets it go",
          "[cgroup][manager][kill]") {
  World world(FakeHost::kUnified);
  world.system.Hide("cgroup.kill");
  auto manager = world.Created();
  world.system.AddProcess("unified", "/a/b", 5);

  KEELSON_REQUIRE_OK(manager->Kill(kLimit));

  CHECK(world.system.signals == std::vector<std::pair<pid_t, int>>{{5, SIGKILL}});
  CHECK(world.Wrote("unified:/a/b/cgroup.freeze=1"));
  CHECK(world.system.Contents("unified", "/a/b", "cgroup.freeze") == "0\n");
}

TEST_CASE("Kill says which processes do not die", "[cgroup][manager][kill]") {
  World world(FakeHost::kHybrid);
  auto manager = world.Created();
  world.system.AddProcess("unified", "/a/b", 5);
  world.system.MakeImmortal(5);

  KEELSON_CHECK_ERROR(manager->Kill(kLimit), Code::kDeadlineExceeded, "such as 5");
}

TEST_CASE("A signal reaches every process once", "[cgroup][manager][kill]") {
  World world(FakeHost::kHybrid);
  auto manager = world.Created();
  world.system.AddProcess("unified", "/a/b", 5);
  world.system.AddProcess("devices", "/a/b", 5);
  world.system.AddProcess("devices", "/a/b", 6);

  KEELSON_REQUIRE_OK(manager->Signal(SIGTERM));

  CHECK(world.system.signals == std::vector<std::pair<pid_t, int>>{{5, SIGTERM}, {6, SIGTERM}});
}

TEST_CASE("Destroy removes the container's folders and those below, and nothing else",
          "[cgroup][manager]") {
  World world(FakeHost::kHybrid);
  auto manager = world.Created();
  (void)world.Created("/a/b/c/d");
  (void)world.Created("/a/other");

  KEELSON_REQUIRE_OK(manager->Destroy());

  CHECK_FALSE(manager->Exists());
  for (const Hierarchy& h : world.host.hierarchies) {
    CHECK_FALSE(world.system.FolderExists(h.name, "/a/b"));
    CHECK(world.system.FolderExists(h.name, "/a/other"));
  }
  KEELSON_REQUIRE_OK(manager->Destroy());
}

TEST_CASE("Destroy of a cgroup in use says by whom, and removes the rest", "[cgroup][manager]") {
  World world(FakeHost::kHybrid);
  auto manager = world.Created();
  world.system.AddProcess("memory", "/a/b", 42);

  KEELSON_CHECK_ERROR(manager->Destroy(), Code::kFailedPrecondition, "such as 42");
  CHECK(world.system.FolderExists("memory", "/a/b"));
  CHECK_FALSE(world.system.FolderExists("pids", "/a/b"));
}

TEST_CASE("Delegation hands over the v2 folder and its files, and nothing of v1",
          "[cgroup][manager]") {
  World world(FakeHost::kHybrid);
  auto manager = world.Created();

  KEELSON_REQUIRE_OK(manager->Delegate(1000, 1001));

  CHECK(world.system.chowned.back() == " 1000:1001");
  CHECK(std::count(world.system.chowned.begin(), world.system.chowned.end(),
                   "cgroup.procs 1000:1001") == 1);
}

TEST_CASE("Statistics come from whichever hierarchy has them", "[cgroup][manager][stats]") {
  World v1(FakeHost::kHybrid);
  KEELSON_ASSIGN_OR_FAIL(const CgroupStats a, v1.Created()->Stats());
  CHECK(a.cpu.total == 5000);
  CHECK(a.cpu.user == 30000000);
  CHECK(a.cpu.per_cpu == std::vector<uint64_t>{2000, 3000});
  CHECK(a.cpu.throttled_time == 30);
  CHECK(a.memory.usage.usage == 4096);
  CHECK(a.memory.cache == 100);
  CHECK(a.memory.WorkingSet() == 4000);

  World v2(FakeHost::kUnified);
  KEELSON_ASSIGN_OR_FAIL(const CgroupStats b, v2.Created()->Stats());
  CHECK(b.cpu.total == 7000);
  CHECK(b.memory.usage.limit == UINT64_MAX);
  CHECK(b.pids.limit == 0);
}

}  // namespace
}  // namespace keelson::container
