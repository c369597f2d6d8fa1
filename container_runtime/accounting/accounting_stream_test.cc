#include "container_runtime/accounting/accounting_stream.h"

#include <catch2/catch.hpp>

#include <stdlib.h>
#include <sys/resource.h>

#include <filesystem>
#include <iostream>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/testing/status_matchers.h"
#include "container_runtime/cgroup/testing/fake_cgroup_system.h"

namespace keelson::container {
namespace {

using Code = absl::StatusCode;
using testing::FakeHost;

// Counts what is opened.
class CountingSystem : public testing::FakeCgroupSystem {
 public:
  using FakeCgroupSystem::FakeCgroupSystem;
  int OpenFile(int folder, const std::string& file, int flags) override {
    ++opened;
    if (fail_open == file) return -EMFILE;
    return FakeCgroupSystem::OpenFile(folder, file, flags);
  }
  int opened = 0;
  std::string fail_open;
};

class World {
 public:
  explicit World(FakeHost kind) : system(Folder()), host(system.Host(kind)) {
    // So that containers have the files of every controller.
    if (host.Unified() != nullptr) {
      const int root = system.OpenRoot(host.Unified()->mount_point);
      for (const std::string& c : host.Unified()->controllers) {
        (void)system.Write(root, "cgroup.subtree_control", "+" + c);
      }
    }
  }
  ~World() { std::filesystem::remove_all(folder_); }

  CgroupLocation Make(const std::string& name) {
    CgroupLocation location;
    for (const Hierarchy& h : host.hierarchies) {
      const int root = system.OpenRoot(h.mount_point);
      CHECK(system.MakeFolder(root, name) == 0);
      (void)::close(root);
      location.paths[h.name] = "/" + name;
    }
    return location;
  }

 private:
  std::string Folder() {
    // In memory where there is such a folder: a thousand cgroups have 25,000 files.
    const std::filesystem::path shm = "/dev/shm";
    const auto base = std::filesystem::exists(shm) ? shm : std::filesystem::temp_directory_path();
    std::string name = (base / "cgroup-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
    return name;
  }
  std::string folder_;

 public:
  CountingSystem system;
  const HostLayout host;
};

std::string Name(int i) { return absl::StrFormat("c%04d", i); }

TEST_CASE("A thousand containers are read from files that are opened once", "[accounting]") {
  World world(FakeHost::kUnified);
  KEELSON_ASSIGN_OR_FAIL(const auto stream, AccountingStream::Open(world.system, world.host, {}));
  rlimit files = {};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = files.rlim_max;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &files) == 0);
  int containers = 1000;
  const auto most = static_cast<int>((files.rlim_max - 100) / stream->DescriptorsPerContainer());
  if (most < containers) {
    std::cout << "SKIPPED: some containers: " << files.rlim_max << " open files are enough for "
              << most << "\n";
    containers = most;
  }
  for (int i = 0; i < containers; ++i) {
    const CgroupLocation location = world.Make(Name(i));
    world.system.Set("unified", "/" + Name(i), "memory.current", absl::StrCat(4096 * i, "\n"));
    world.system.Set("unified", "/" + Name(i), "pids.current", absl::StrCat(i, "\n"));
    KEELSON_REQUIRE_OK(stream->Add(Name(i), location));
  }
  const int opened = world.system.opened;

  for (const int factor : {1, 3}) {
    for (int i = 0; i < containers; ++i) {
      world.system.Set("unified", "/" + Name(i), "cpu.stat",
                       absl::StrCat("usage_usec ", factor * i, "\nuser_usec 1\nsystem_usec 2\n"));
    }
    int next = 0;
    KEELSON_REQUIRE_OK(stream->Sample([&](const std::string& id, const CgroupStats& stats) {
      if (id != Name(next) || stats.cpu.total != static_cast<uint64_t>(factor * next) * 1000 ||
          stats.memory.usage.usage != static_cast<uint64_t>(next) * 4096 ||
          stats.pids.current != static_cast<uint64_t>(next)) {
        FAIL("container " << id << " has cpu " << stats.cpu.total);
      }
      ++next;
    }));
    CHECK(next == containers);
  }

  CHECK(world.system.opened == opened);
  CHECK(stream->size() == static_cast<size_t>(containers));
}

TEST_CASE("A hybrid host is read from both sides, each number once", "[accounting]") {
  World world(FakeHost::kHybrid);
  KEELSON_ASSIGN_OR_FAIL(const auto stream,
                         AccountingStream::Open(world.system, world.host, {.oom = false}));
  const CgroupLocation location = world.Make("a");
  world.system.Set("unified", "/a", "memory.pressure",
                   "some avg10=1.50 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 "
                   "avg300=0.00 total=7\n");
  KEELSON_REQUIRE_OK(stream->Add("a", location));

  CgroupStats seen;
  KEELSON_REQUIRE_OK(
      stream->Sample([&](const std::string&, const CgroupStats& stats) { seen = stats; }));

  CHECK(seen.cpu.total == 5000);  // of v1, not the 7000 of v2
  CHECK(seen.memory.usage.usage == 4096);
  CHECK(seen.memory.WorkingSet() == 4000);
  CHECK(seen.memory.raw.empty());
  REQUIRE(seen.memory.pressure.has_value());
  CHECK(seen.memory.pressure->some.avg10 == 1.5);
  CHECK(seen.memory.pressure->full.total == 7);
}

TEST_CASE("Only what is asked for is opened", "[accounting]") {
  World world(FakeHost::kHybrid);
  KEELSON_ASSIGN_OR_FAIL(
      const auto stream,
      AccountingStream::Open(
          world.system, world.host,
          {.memory = false, .io = false, .pids = false, .pressure = false, .oom = false}));
  world.system.opened = 0;
  KEELSON_REQUIRE_OK(stream->Add("a", world.Make("a")));

  CHECK(world.system.opened == 3);  // cpuacct.usage, cpuacct.stat, cpu.stat
  CHECK(stream->DescriptorsPerContainer() == 3);
}

TEST_CASE("A container is added once, and only if it has cgroups", "[accounting]") {
  World world(FakeHost::kUnified);
  KEELSON_ASSIGN_OR_FAIL(const auto stream, AccountingStream::Open(world.system, world.host, {}));
  const CgroupLocation location = world.Make("a");
  KEELSON_REQUIRE_OK(stream->Add("a", location));

  CHECK(stream->Add("a", location).code() == Code::kAlreadyExists);
  CHECK(stream->Add("b", {.paths = {{"unified", "/none"}}}).code() == Code::kNotFound);
  CHECK(stream->size() == 1);
  KEELSON_REQUIRE_OK(stream->Remove("a"));
  CHECK(stream->Remove("a").code() == Code::kNotFound);
}

TEST_CASE("Without descriptors nothing is added, and the file is named", "[accounting]") {
  World world(FakeHost::kUnified);
  KEELSON_ASSIGN_OR_FAIL(const auto stream, AccountingStream::Open(world.system, world.host, {}));
  world.system.fail_open = "pids.current";

  KEELSON_CHECK_ERROR(stream->Add("a", world.Make("a")), Code::kResourceExhausted,
                      "'pids.current'");
  CHECK(stream->size() == 0);
}

TEST_CASE("A file that makes no sense spoils one container only", "[accounting]") {
  World world(FakeHost::kUnified);
  KEELSON_ASSIGN_OR_FAIL(const auto stream, AccountingStream::Open(world.system, world.host, {}));
  for (const char* name : {"a", "b", "c"}) KEELSON_REQUIRE_OK(stream->Add(name, world.Make(name)));
  world.system.Set("unified", "/b", "memory.current", "lots\n");

  std::set<std::string> seen;
  const absl::Status status =
      stream->Sample([&](const std::string& id, const CgroupStats&) { seen.insert(id); });

  KEELSON_CHECK_ERROR(status, Code::kInvalidArgument,
                      "container 'b': 'memory.current' holds 'lots'");
  CHECK(seen == std::set<std::string>{"a", "c"});
}

}  // namespace
}  // namespace keelson::container
