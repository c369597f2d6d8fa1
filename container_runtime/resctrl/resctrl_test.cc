#include "container_runtime/resctrl/resctrl.h"

#include <catch2/catch.hpp>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "container_runtime/cgroup/testing/fake_cgroup_system.h"

namespace keelson::container {
namespace {

namespace fs = std::filesystem;

constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;
constexpr const char* kDefault = "    L3:0=7ff;1=7ff\n    MB:0=100;1=100\n";

void Put(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

std::string Get(const fs::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// What the kernel does in resctrl: folders are born with files and go with them.
class FakeResctrl final : public testing::FakeCgroupSystem {
 public:
  explicit FakeResctrl(const fs::path& root) : FakeCgroupSystem(root), root_(root) {
    Populate("");
    for (const char* feature : {"L3", "MB", "L3_MON"})
      fs::create_directories(root / "info" / feature);
    Put(root / "info/last_cmd_status", "ok\n");
  }

  int fail_schemata = 0;

  int OpenRoot(const std::string& place) override { return Real().OpenRoot(place); }
  int OpenFolder(int parent, const std::string& path) override {
    return Real().OpenFolder(parent, path);
  }
  int Read(int folder, const std::string& file, std::string* text) override {
    return Real().Read(folder, file, text);
  }
  int Write(int folder, const std::string& file, std::string_view value) override {
    if (file == "schemata" && fail_schemata != 0) {
      Put(root_ / "info/last_cmd_status", "Mask f0f has non-consecutive 1-bits\n");
      return -fail_schemata;
    }
    const fs::path path = FolderOf(folder) / file;
    const std::string text(value);
    // Each write of a task adds one; schemata are replaced here, as if all were named.
    Put(path, file == "tasks" ? absl::StrCat(Get(path), text, "\n") : text);
    return 0;
  }
  int MakeFolder(int parent, const std::string& name) override {
    if (const int error = Real().MakeFolder(parent, name); error < 0) return error;
    Populate(FolderOf(parent).lexically_relative(root_) / name);
    return 0;
  }
  int RemoveFolder(int parent, const std::string& name) override {
    return fs::remove_all(FolderOf(parent) / name) == 0 ? -ENOENT : 0;
  }

 private:
  static CgroupSystem& Real() { return RealCgroupSystem(); }
  static fs::path FolderOf(int fd) { return fs::read_symlink(absl::StrCat("/proc/self/fd/", fd)); }
  void Populate(const fs::path& name) {
    Put(root_ / name / "tasks", "");
    if (absl::StrCat("/", name.string()).find("mon_groups") != std::string::npos) return;
    Put(root_ / name / "schemata", kDefault);
    fs::create_directory(root_ / name / "mon_groups");
  }

  const fs::path root_;
};

struct Tree {
  Tree() {
    const char* tmp = std::getenv("TEST_TMPDIR");
    std::string pattern = absl::StrCat(tmp == nullptr ? "/tmp" : tmp, "/resctrl-XXXXXX");
    root = ::mkdtemp(pattern.data());
    system = std::make_unique<FakeResctrl>(root);
    mounts = absl::StrCat("30 1 0:1 / / rw - ext4 /dev/vda rw\n31 30 0:2 / ", root.string(),
                          " rw,nosuid - resctrl resctrl rw\n");
  }
  ~Tree() { fs::remove_all(root); }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  absl::StatusOr<ResctrlGroup> Open(const IntelRdt& config) const {
    return ResctrlGroup::Open(*system, mounts, config, "web");
  }

  fs::path root;
  std::unique_ptr<FakeResctrl> system;
  std::string mounts;
};

TEST_CASE("resctrl is found by its mount, wherever that is", "[container][resctrl]") {
  CHECK(FindResctrl("") == "");
  CHECK(FindResctrl("31 30 0:2 / /sys rw - sysfs sysfs rw\n") == "");
  CHECK(FindResctrl("31 30 0:2 / /a\\040b rw shared:3 - resctrl resctrl rw\n") == "/a b");
  for (const char* text :
       {"-", "31 30 - resctrl", "31 30 0:2 / /x rw -", "\\", "a b c d \\07 f - resctrl"}) {
    (void)FindResctrl(text);
  }
}

TEST_CASE("A machine without resctrl says so, and so does one without a feature",
          "[container][resctrl]") {
  const Tree tree;
  KEELSON_CHECK_ERROR(ResctrlGroup::Open(*tree.system, "", {}, "web").status(), kPrecondition,
                      "no resctrl file system mounted");
  fs::remove_all(tree.root / "info");
  KEELSON_CHECK_ERROR(tree.Open({.l3_cache_schema = "L3:0=f"}).status(), kPrecondition,
                      "linux.intelRdt.l3CacheSchema");
  KEELSON_CHECK_ERROR(tree.Open({.mem_bw_schema = "MB:0=10"}).status(), kPrecondition,
                      "linux.intelRdt.memBwSchema");
  KEELSON_CHECK_ERROR(tree.Open({.enable_monitoring = true}).status(), kPrecondition,
                      "linux.intelRdt.enableMonitoring");
}

TEST_CASE("A container without closID has a group of its own, and takes it along",
          "[container][resctrl]") {
  const Tree tree;
  const IntelRdt config = {.l3_cache_schema = "L3:0=7f0;1=1f",
                           .mem_bw_schema = "MB:0=20;1=70",
                           .schemata = {"L2:0=3"},
                           .enable_monitoring = true};
  KEELSON_ASSIGN_OR_FAIL(ResctrlGroup group, tree.Open(config));
  CHECK(group.IsMissing().value());
  CHECK(group.Create().value());
  CHECK_FALSE(group.IsMissing().value());
  CHECK(Get(tree.root / "web/schemata") == "L3:0=7f0;1=1f\nMB:0=20;1=70\nL2:0=3\n");
  KEELSON_REQUIRE_OK(group.Join(42));
  KEELSON_REQUIRE_OK(group.Join(43));
  CHECK(Get(tree.root / "web/tasks") == "42\n43\n");
  CHECK(Get(tree.root / "web/mon_groups/web/tasks") == "42\n43\n");
  KEELSON_REQUIRE_OK(group.Update({"MB:0=30"}));
  CHECK(Get(tree.root / "web/schemata") == "MB:0=30\n");

  KEELSON_REQUIRE_OK(group.Remove(true));
  CHECK_FALSE(fs::exists(tree.root / "web"));
  KEELSON_REQUIRE_OK(group.Remove(true));
}

TEST_CASE("A group of somebody else is joined as it is, and stays", "[container][resctrl]") {
  const Tree tree;
  IntelRdt config = {.clos_id = "shared"};
  KEELSON_ASSIGN_OR_FAIL(ResctrlGroup absent, tree.Open(config));
  KEELSON_CHECK_ERROR(absent.IsMissing().status(), kPrecondition, "linux.intelRdt.closID");
  KEELSON_CHECK_ERROR(absent.Create().status(), kPrecondition, "'shared'");

  fs::create_directories(tree.root / "shared/mon_groups");
  Put(tree.root / "shared/tasks", "");
  Put(tree.root / "shared/schemata", "    L3:0=0ff;1=700\n    MB:0= 20;1=100\n");
  config.enable_monitoring = true;
  config.l3_cache_schema = "L3:1=700;0=FF";
  KEELSON_ASSIGN_OR_FAIL(ResctrlGroup group, tree.Open(config));
  CHECK_FALSE(group.Create().value());
  KEELSON_REQUIRE_OK(group.Join(42));
  CHECK(Get(tree.root / "shared/tasks") == "42\n");
  KEELSON_REQUIRE_OK(group.Remove(false));
  CHECK(fs::exists(tree.root / "shared"));
  CHECK_FALSE(fs::exists(tree.root / "shared/mon_groups/web"));

  config.mem_bw_schema = "MB:0=30";
  KEELSON_ASSIGN_OR_FAIL(ResctrlGroup other, tree.Open(config));
  KEELSON_CHECK_ERROR(other.Create().status(), kPrecondition, "has '20' for MB:0, not '30'");
  config.mem_bw_schema = "SMBA:0=30";
  KEELSON_ASSIGN_OR_FAIL(ResctrlGroup unknown, tree.Open(config));
  KEELSON_CHECK_ERROR(unknown.Create().status(), kPrecondition, "has 'nothing' for SMBA:0");
}

TEST_CASE("The root is a group that is never removed", "[container][resctrl]") {
  const Tree tree;
  KEELSON_ASSIGN_OR_FAIL(ResctrlGroup group, tree.Open({.clos_id = "/"}));
  CHECK_FALSE(group.IsMissing().value());
  CHECK_FALSE(group.Create().value());
  KEELSON_REQUIRE_OK(group.Join(7));
  CHECK(Get(tree.root / "tasks") == "7\n");
  KEELSON_REQUIRE_OK(group.Remove(true));
  CHECK(fs::exists(tree.root / "schemata"));
}

TEST_CASE("A refused schema is told with the kernel's reason", "[container][resctrl]") {
  const Tree tree;
  tree.system->fail_schemata = EINVAL;
  KEELSON_ASSIGN_OR_FAIL(ResctrlGroup group, tree.Open({.l3_cache_schema = "L3:0=f0f"}));
  const absl::Status status = group.Create().status();
  KEELSON_CHECK_ERROR(status, absl::StatusCode::kInvalidArgument, "write 'L3:0=f0f' to 'schemata'");
  KEELSON_CHECK_ERROR(status, absl::StatusCode::kInvalidArgument, "non-consecutive 1-bits");
}

}  // namespace
}  // namespace keelson::container
