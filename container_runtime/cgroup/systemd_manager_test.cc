#include "container_runtime/cgroup/systemd_manager.h"

#include <catch2/catch.hpp>

#include <stdlib.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "container_runtime/cgroup/testing/fake_cgroup_system.h"

namespace keelson::container {
namespace {

using Code = absl::StatusCode;
using testing::FakeCgroupSystem;
using testing::FakeHost;

// A systemd that keeps what it was asked for, and makes the folder of a unit.
struct FakeUnits {
  std::vector<std::string> calls;
  std::vector<UnitProperty> properties;
  std::vector<absl::Status> start_answers;  // in order, then OK
  int connections = 0;
};

class FakeUnitControl final : public UnitControl {
 public:
  explicit FakeUnitControl(FakeUnits& units) : units_(units) {}
  absl::Status Start(const std::string& unit,
                     const std::vector<UnitProperty>& properties) override {
    units_.calls.push_back("start " + unit);
    units_.properties = properties;
    if (units_.start_answers.empty()) return absl::OkStatus();
    const absl::Status answer = units_.start_answers.front();
    units_.start_answers.erase(units_.start_answers.begin());
    return answer;
  }
  absl::Status Stop(const std::string& unit) override {
    units_.calls.push_back("stop " + unit);
    return absl::OkStatus();
  }
  absl::Status Set(const std::string& unit, const std::vector<UnitProperty>& properties) override {
    units_.calls.push_back("set " + unit);
    units_.properties = properties;
    return absl::OkStatus();
  }
  absl::Status AttachProcesses(const std::string& unit, const std::string& sub,
                               const std::vector<uint32_t>& pids) override {
    units_.calls.push_back(absl::StrCat("attach ", unit, " ", sub, " ", pids.at(0)));
    return absl::OkStatus();
  }
  absl::Status ResetFailed(const std::string& unit) override {
    units_.calls.push_back("reset " + unit);
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> ManagerCgroup() override { return "/"; }

 private:
  FakeUnits& units_;
};

class World {
 public:
  explicit World(FakeHost kind, bool rootless = false) : system(Folder()), host(system.Host(kind)) {
    const auto location = LocateUnit(
        host, {.container_id = "id", .cgroups_path = "a.slice:p:n", .rootless = rootless}, "/");
    KEELSON_REQUIRE_OK(location);
    manager = NewSystemdManager(
        system, host, *location,
        [this]() -> absl::StatusOr<std::unique_ptr<UnitControl>> {
          ++units.connections;
          return std::unique_ptr<UnitControl>(std::make_unique<FakeUnitControl>(units));
        },
        {.description = "container id", .properties = {{"CollectMode", std::string("x")}}});
  }
  ~World() { std::filesystem::remove_all(folder_); }

  bool Has(const UnitProperty& property) const {
    return std::find(units.properties.begin(), units.properties.end(), property) !=
           units.properties.end();
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
  FakeUnits units;
  std::unique_ptr<CgroupManager> manager;
};

TEST_CASE("The unit starts around the first process, with its limits", "[cgroup][systemd]") {
  World world(FakeHost::kUnified);
  Resources r;
  r.memory = MemoryLimits{.limit = 1000000};
  r.cpu = CpuLimits{.quota = 12345, .period = 100000};

  KEELSON_REQUIRE_OK(world.manager->Create());
  KEELSON_REQUIRE_OK(world.manager->Apply(r));
  CHECK(world.units.connections == 0);
  CHECK(world.manager->PrepareAttach({})->by_call);
  KEELSON_REQUIRE_OK(world.manager->Attach(42));

  CHECK(world.units.calls == std::vector<std::string>{"start p-n.scope"});
  CHECK(world.Has({"PIDs", std::vector<uint32_t>{42}}));
  CHECK(world.Has({"Slice", std::string("a.slice")}));
  CHECK(world.Has({"Delegate", true}));
  CHECK(world.Has({"DefaultDependencies", false}));
  CHECK(world.Has({"IOAccounting", true}));
  CHECK(world.Has({"MemoryMax", uint64_t{1000000}}));
  CHECK(world.units.properties.back() == UnitProperty{"CollectMode", std::string("x")});
  // And the files, with the quota that systemd has made of it.
  CHECK(world.system.Contents("unified", "/a.slice/p-n.scope", "memory.max") == "1000000\n");
  CHECK(world.system.Contents("unified", "/a.slice/p-n.scope", "cpu.max") == "13000 100000\n");
  CHECK(world.system.Contents("unified", "/a.slice/p-n.scope", "cgroup.procs") == "42\n");
  CHECK_FALSE(world.system.device_program.empty());
}

TEST_CASE("What is left of a failed unit is reset, once", "[cgroup][systemd]") {
  World world(FakeHost::kUnified);
  KEELSON_REQUIRE_OK(world.manager->Create());

  SECTION("and then it starts") {
    world.units.start_answers = {absl::AlreadyExistsError("x")};
    KEELSON_REQUIRE_OK(world.manager->Attach(42));
  }
  SECTION("and it is there still") {
    world.units.start_answers = {absl::AlreadyExistsError("x"), absl::AlreadyExistsError("y")};
    CHECK(world.manager->Attach(42).code() == Code::kAlreadyExists);
  }
  CHECK(world.units.calls ==
        std::vector<std::string>{"start p-n.scope", "reset p-n.scope", "start p-n.scope"});
}

TEST_CASE("A bad limit is refused before anything starts", "[cgroup][systemd]") {
  World world(FakeHost::kUnified);
  KEELSON_REQUIRE_OK(world.manager->Create());
  Resources r;
  r.cpu = CpuLimits{.cpus = "x"};

  CHECK(world.manager->Apply(r).code() == Code::kInvalidArgument);
  CHECK(world.units.calls.empty());
}

TEST_CASE("An update goes to systemd and to the files", "[cgroup][systemd]") {
  World world(FakeHost::kHybrid);
  KEELSON_REQUIRE_OK(world.manager->Create());
  KEELSON_REQUIRE_OK(world.manager->Attach(42));
  Resources r;
  r.memory = MemoryLimits{.limit = 5000};

  KEELSON_REQUIRE_OK(world.manager->Update(r));

  CHECK(world.units.calls.back() == "set p-n.scope");
  CHECK(world.units.properties == std::vector<UnitProperty>{{"MemoryLimit", uint64_t{5000}}});
  CHECK(world.system.Contents("memory", "/a.slice/p-n.scope", "memory.limit_in_bytes") == "5000\n");
}

TEST_CASE("v1 devices change while the container stands still", "[cgroup][systemd]") {
  World world(FakeHost::kLegacy);
  KEELSON_REQUIRE_OK(world.manager->Create());
  KEELSON_REQUIRE_OK(world.manager->Attach(42));
  world.system.writes.clear();
  Resources r;
  r.devices = {{.allow = true, .type = 'c', .major = 7, .minor = 7, .access = "r"}};

  KEELSON_REQUIRE_OK(world.manager->Update(r));

  CHECK(world.system.writes.front() == "freezer:/a.slice/p-n.scope/freezer.state=FROZEN");
  CHECK(world.system.writes.back() == "freezer:/a.slice/p-n.scope/freezer.state=THAWED");
  CHECK(world.Has({"DevicePolicy", std::string("strict")}));
}

TEST_CASE("exec of root goes by the folder, of a user by systemd", "[cgroup][systemd]") {
  World root(FakeHost::kUnified);
  KEELSON_REQUIRE_OK(root.manager->Create());
  KEELSON_REQUIRE_OK(root.manager->Attach(42));
  KEELSON_ASSIGN_OR_FAIL(const Attachment attachment, root.manager->PrepareAttach({}));
  CHECK_FALSE(attachment.by_call);
  CHECK(attachment.clone_into.ok());

  World user(FakeHost::kUnified, true);
  KEELSON_REQUIRE_OK(user.manager->Create());
  KEELSON_REQUIRE_OK(user.manager->Attach(42));
  CHECK(user.manager->PrepareAttach({.path = "sub/x"})->by_call);
  KEELSON_REQUIRE_OK(user.manager->Attach(43));
  CHECK(user.units.calls.back() == "attach p-n.scope /sub/x 43");
}

TEST_CASE("A cgroup with processes is not taken for a new container", "[cgroup][systemd]") {
  World world(FakeHost::kUnified);
  KEELSON_REQUIRE_OK(world.manager->Create());
  KEELSON_REQUIRE_OK(world.manager->Attach(42));

  KEELSON_CHECK_ERROR(world.manager->Create(), Code::kFailedPrecondition, "not empty");
}

TEST_CASE("Destroy stops the unit and removes what is left", "[cgroup][systemd]") {
  World world(FakeHost::kHybrid);
  KEELSON_REQUIRE_OK(world.manager->Create());
  KEELSON_REQUIRE_OK(world.manager->Attach(42));
  KEELSON_REQUIRE_OK(world.manager->Kill(absl::Seconds(1)));
  for (const Hierarchy& h : world.host.hierarchies) {
    world.system.Set(h.name, "/a.slice/p-n.scope", "cgroup.procs", "");
  }

  KEELSON_REQUIRE_OK(world.manager->Destroy());

  CHECK(world.units.calls.back() == "stop p-n.scope");
  CHECK_FALSE(world.manager->Exists());
}

TEST_CASE("Signals, freezing and statistics need no connection", "[cgroup][systemd]") {
  World world(FakeHost::kUnified);
  KEELSON_REQUIRE_OK(world.manager->Create());
  KEELSON_REQUIRE_OK(world.manager->Attach(42));
  const int before = world.units.connections;

  KEELSON_REQUIRE_OK(world.manager->Freeze(absl::Seconds(1)));
  KEELSON_REQUIRE_OK(world.manager->Thaw());
  KEELSON_REQUIRE_OK(world.manager->Signal(15));
  CHECK(world.manager->Pids()->size() == 1);

  CHECK(world.units.connections == before);
}

}  // namespace
}  // namespace keelson::container
