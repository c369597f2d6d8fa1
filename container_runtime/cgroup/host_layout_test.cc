#include "container_runtime/cgroup/host_layout.h"

#include <catch2/catch.hpp>

#include "base/testing/status_matchers.h"
#include "container_runtime/cgroup/cgroup_location.h"

namespace keelson::container {
namespace {

// A machine with most controllers on v1 and hugetlb on v2; /proc/self/mountinfo of Linux 6.18.
constexpr char kHybridMounts[] =
    "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
    "30 22 0:25 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "31 30 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "32 30 0:27 / /sys/fs/cgroup/memory rw,relatime shared:7 - cgroup cgroup rw,memory\n"
    "33 30 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n"
    "34 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr char kHybridSelf[] = "9:name=systemd:/\n4:memory:/service/job\n2:cpuacct,cpu:/\n0::/\n";

constexpr char kUnifiedMounts[] =
    "30 22 0:25 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";

TEST_CASE("A hybrid host shows each controller on its own hierarchy", "[cgroup][layout]") {
  KEELSON_ASSIGN_OR_FAIL(const HostLayout host, ParseHostLayout(kHybridMounts, kHybridSelf));

  CHECK(host.mode() == HostMode::kHybrid);
  REQUIRE(host.hierarchies.size() == 4);
  REQUIRE(host.OfController("cpuacct") != nullptr);
  CHECK(host.OfController("cpu") == host.OfController("cpuacct"));
  CHECK(host.OfController("cpu")->mount_point == "/sys/fs/cgroup/cpu,cpuacct");
  CHECK(host.OfController("memory")->own_path == "/service/job");
  CHECK(host.OfController("pids") == nullptr);
  REQUIRE(host.Find("name=systemd") != nullptr);
  CHECK(host.Find("name=systemd")->controllers.empty());
  REQUIRE(host.Unified() != nullptr);
  CHECK(host.Unified()->mount_point == "/sys/fs/cgroup/unified");
  CHECK(host.hierarchies.back().unified);
}

TEST_CASE("A host is what its mounts are", "[cgroup][layout]") {
  struct Row {
    std::string name, mounts, self;
    HostMode want;
  };
  const auto row = GENERATE(values<Row>({
      {"v2 alone", kUnifiedMounts, "0::/a/b\n", HostMode::kUnified},
      {"v1 alone", "32 30 0:27 / /c/memory rw - cgroup cgroup rw,memory\n", "4:memory:/\n",
       HostMode::kLegacy},
      {"none", "22 1 254:0 / / rw - ext4 /dev/vda rw\n", "", HostMode::kNone},
  }));

  DYNAMIC_SECTION(row.name) {
    KEELSON_ASSIGN_OR_FAIL(const HostLayout host, ParseHostLayout(row.mounts, row.self));
    CHECK(host.mode() == row.want);
  }
}

TEST_CASE("Paths below a mount of a part of the tree are relative to that part",
          "[cgroup][layout]") {
  KEELSON_ASSIGN_OR_FAIL(
      const HostLayout host,
      ParseHostLayout("32 30 0:27 /docker/x /c/memory rw - cgroup cgroup rw,memory\n",
                      "4:memory:/docker/x/inner\n"));

  CHECK(host.Find("memory")->own_path == "/inner");
}

TEST_CASE("Of two mounts of a hierarchy the one that shows the own cgroup counts",
          "[cgroup][layout]") {
  KEELSON_ASSIGN_OR_FAIL(
      const HostLayout host,
      ParseHostLayout("32 30 0:27 /other /elsewhere rw - cgroup cgroup rw,memory\n"
                      "33 30 0:27 / /c/my\\040memory rw - cgroup cgroup rw,memory\n",
                      "4:memory:/mine\n"));

  REQUIRE(host.hierarchies.size() == 1);
  CHECK(host.hierarchies[0].mount_point == "/c/my memory");
  CHECK(host.hierarchies[0].own_path == "/mine");
}

TEST_CASE("Lines that the kernel does not write are refused", "[cgroup][layout]") {
  CHECK_FALSE(ParseHostLayout("32 30 0:27 / /c cgroup\n", "").ok());
  CHECK_FALSE(ParseHostLayout("32 30 - cgroup cgroup rw\n", "").ok());
  CHECK_FALSE(ParseHostLayout("32 30 0:27 / /c rw - \n", "").ok());
  CHECK_FALSE(ParseHostLayout("", "4:memory\n").ok());
  CHECK_FALSE(ParseHostLayout("", "4:memory:relative\n").ok());
}

TEST_CASE("A noted layout holds as long as cgroups are mounted there", "[cgroup][layout]") {
  KEELSON_ASSIGN_OR_FAIL(HostLayout host, DetectHost());
  CHECK(IsMounted(host));

  host.hierarchies.push_back({.name = "memory", .mount_point = "/proc"});
  CHECK_FALSE(IsMounted(host));

  host.hierarchies.back().mount_point = "/missing";
  CHECK_FALSE(IsMounted(host));
}

TEST_CASE("cgroupsPath is resolved in every hierarchy", "[cgroup][location]") {
  KEELSON_ASSIGN_OR_FAIL(const HostLayout hybrid, ParseHostLayout(kHybridMounts, kHybridSelf));
  KEELSON_ASSIGN_OR_FAIL(const HostLayout unified, ParseHostLayout(kUnifiedMounts, "0::/a/b\n"));
  struct Row {
    std::string asked, memory, v2;
  };
  const auto row = GENERATE(values<Row>({
      {"/x/y", "/x/y", "/x/y"},
      {"x/y/", "/service/job/x/y", "/a/x/y"},
      {"", "/service/job/id", "/a/id"},
      {"/../../etc", "/etc", "/etc"},
      {"../../x", "/service/job/x", "/a/x"},
      {"//x/./y//", "/x/y", "/x/y"},
  }));

  const LocateOptions options{.container_id = "id", .cgroups_path = row.asked};
  KEELSON_ASSIGN_OR_FAIL(const CgroupLocation on_hybrid, LocateCgroups(hybrid, options));
  KEELSON_ASSIGN_OR_FAIL(const CgroupLocation on_v2, LocateCgroups(unified, options));

  CHECK(on_hybrid.paths.at("memory") == row.memory);
  CHECK(on_hybrid.paths.size() == 4);
  CHECK(on_v2.paths == std::map<std::string, std::string>{{"unified", row.v2}});
}

TEST_CASE("A cgroupsPath that names no cgroup below the root is refused", "[cgroup][location]") {
  KEELSON_ASSIGN_OR_FAIL(const HostLayout host, ParseHostLayout(kUnifiedMounts, "0::/\n"));
  const std::string bad = GENERATE(std::string("/"), std::string("/a/.."), std::string("."),
                                   std::string("/a\0b", 4), "/" + std::string(256, 'x'));

  KEELSON_CHECK_ERROR(LocateCgroups(host, {.container_id = "id", .cgroups_path = bad}).status(),
                      absl::StatusCode::kInvalidArgument, "cgroupsPath");
}

TEST_CASE("Only a rootless container without a path does without cgroups", "[cgroup][location]") {
  KEELSON_ASSIGN_OR_FAIL(const HostLayout host, ParseHostLayout(kUnifiedMounts, "0::/\n"));

  CHECK(LocateCgroups(host, {.container_id = "i", .rootless = true})->tolerate_permission);
  CHECK_FALSE(LocateCgroups(host, {.container_id = "i"})->tolerate_permission);
  CHECK_FALSE(LocateCgroups(host, {.container_id = "i", .cgroups_path = "/x", .rootless = true})
                  ->tolerate_permission);
}

TEST_CASE("slice:prefix:name becomes a unit and its path", "[cgroup][location][systemd]") {
  KEELSON_ASSIGN_OR_FAIL(const HostLayout host, ParseHostLayout(kUnifiedMounts, "0::/\n"));
  struct Row {
    std::string asked;
    bool rootless = false;
    std::string unit, slice, path;
  };
  const auto row = GENERATE(values<Row>({
      {"machine.slice:libpod:abc", false, "libpod-abc.scope", "machine.slice",
       "/machine.slice/libpod-abc.scope"},
      {"a-b.slice:p:n", false, "p-n.scope", "a-b.slice", "/a.slice/a-b.slice/p-n.scope"},
      {":p:n", false, "p-n.scope", "system.slice", "/system.slice/p-n.scope"},
      {":p:n", true, "p-n.scope", "user.slice", "/user.slice/p-n.scope"},
      {"-.slice:p:n", false, "p-n.scope", "-.slice", "/p-n.scope"},
      {"", false, "cradle-id.scope", "system.slice", "/system.slice/cradle-id.scope"},
      {"system.slice:p:pod-x.slice", false, "pod-x.slice", "system.slice",
       "/pod.slice/pod-x.slice"},
      {"system.slice::n", false, "n.scope", "system.slice", "/system.slice/n.scope"},
  }));

  DYNAMIC_SECTION(row.asked) {
    KEELSON_ASSIGN_OR_FAIL(
        const CgroupLocation location,
        LocateUnit(host,
                   {.container_id = "id", .cgroups_path = row.asked, .rootless = row.rootless},
                   "/"));
    CHECK(location.unit == row.unit);
    CHECK(location.slice == row.slice);
    CHECK(location.paths.at("unified") == row.path);
    CHECK(location.user_manager == row.rootless);
  }
}

TEST_CASE("Names that systemd does not take are refused", "[cgroup][location][systemd]") {
  KEELSON_ASSIGN_OR_FAIL(const HostLayout host, ParseHostLayout(kUnifiedMounts, "0::/\n"));
  const std::string bad = GENERATE("/abs/path", "a:b", "a:b:c:d", "x:p:n", "a--b.slice:p:n",
                                   "-a.slice:p:n", ".slice:p:n", "s/x.slice:p:n", ":p:a/b", ":p:");

  CHECK(LocateUnit(host, {.container_id = "id", .cgroups_path = bad}, "/").status().code() ==
        absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace keelson::container
