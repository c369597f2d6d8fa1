#include "partition/boot/systemd_boot.h"

#include <catch2/catch.hpp>

#include <functional>
#include <set>

#include "base/testing/status_matchers.h"
#include "partition/boot/testing/fat_file_system.h"
#include "partition/boot/uki.h"
#include "partition/trust/testing/pe_builder.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;
using testing::FatFileSystem;
using testing::MakePe;

std::string Uki(const std::string& version) {
  return *AssembleUki(MakePe({{".text", "stub"}}),
                      {.os_release = "ID=os\nVERSION_ID=" + version + "\n",
                       .linux = MakePe({{".text", "kernel " + version}})});
}

std::string Id(const std::string& version) { return "os_" + version + ".efi"; }

// A boot partition with one good image, version 1.
struct World {
  FatFileSystem fs;
  SystemdBoot control{fs, {.root = "esp", .efi_variables = "efivars"}};

  World() { KEELSON_REQUIRE_OK(control.Commit({.id = Id("1"), .contents = image1}, std::nullopt)); }

  const std::string image1 = Uki("1");
  const std::string image2 = Uki("2");

  absl::Status Commit2() { return control.Commit({.id = Id("2"), .contents = image2}, 3); }

  std::vector<std::string> Names() {
    const absl::StatusOr<std::vector<std::string>> names = fs.List("esp/EFI/Linux");
    KEELSON_REQUIRE_OK(names);
    return *names;
  }

  // What the loader does at a boot. The id of what it starts.
  std::string Boot() {
    KEELSON_ASSIGN_OR_FAIL(const auto entries, ReadLoaderEntries(fs, "esp"));
    const LoaderEntry* entry = ChooseEntry(entries, {});
    REQUIRE(entry != nullptr);
    const std::string next = FileName(AfterOneTry(entry->name));
    if (next != entry->file_name) {
      KEELSON_REQUIRE_OK(fs.Rename("esp/" + entry->path(), "esp/" + entry->folder + "/" + next));
      KEELSON_REQUIRE_OK(fs.SyncDirectory("esp/" + entry->folder));
    }
    SetVariable("LoaderBootCountPath", "\\EFI\\Linux\\" + next);
    return entry->name.id();
  }

  void SetVariable(const std::string& name, const std::string& value) {
    std::string bytes("\6\0\0\0", 4);
    for (const char c : value + '\0') bytes += {c, '\0'};
    KEELSON_REQUIRE_OK(fs.CreateDirectories("efivars"));
    const std::string path = "efivars/" + name + "-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    KEELSON_ASSIGN_OR_FAIL(const auto file,
                           fs.Open(path, {.write = true, .create = true, .truncate = true}));
    KEELSON_REQUIRE_OK(file->WriteAt(0, bytes));
    KEELSON_REQUIRE_OK(file->SyncData());
    KEELSON_REQUIRE_OK(fs.SyncDirectory("efivars"));
  }
};

TEST_CASE("A new image boots next, on trial", "[partition][boot]") {
  World world;
  KEELSON_REQUIRE_OK(world.Commit2());

  CHECK(world.Names() == std::vector<std::string>{"os_1.efi", "os_2+3.efi"});
  KEELSON_ASSIGN_OR_FAIL(const auto candidates, world.control.Candidates());
  REQUIRE(candidates.size() == 2);
  CHECK(candidates[0].id == "os_2.efi");
  CHECK(candidates[0].next);
  CHECK(candidates[0].state == BootState::kTrial);
  CHECK(candidates[0].tries_left == 3);
  CHECK(candidates[0].why == "the first of the entries, on trial with 3 tries left");
  CHECK(candidates[1].why == "'os_2.efi' comes before it");
}

TEST_CASE("An image that nobody marks good loses its tries, and the old one boots",
          "[partition][boot]") {
  World world;
  KEELSON_REQUIRE_OK(world.Commit2());
  for (const char* name : {"os_2+2-1.efi", "os_2+1-2.efi", "os_2+0-3.efi"}) {
    CHECK(world.Boot() == "os_2.efi");
    CHECK(world.Names()[1] == name);
  }
  CHECK(world.Boot() == "os_1.efi");
  KEELSON_ASSIGN_OR_FAIL(const auto candidates, world.control.Candidates());
  CHECK(candidates[1].state == BootState::kBad);
  CHECK(candidates[1].why == "its tries are gone");
}

TEST_CASE("An image that is marked good stays", "[partition][boot]") {
  World world;
  KEELSON_REQUIRE_OK(world.Commit2());
  CHECK(world.Boot() == "os_2.efi");
  KEELSON_ASSIGN_OR_FAIL(const std::string running, world.control.Running());
  CHECK(running == "os_2.efi");
  KEELSON_REQUIRE_OK(world.control.Mark(running, BootVerdict::kGood, ""));
  KEELSON_REQUIRE_OK(world.control.Mark(running, BootVerdict::kGood, ""));
  CHECK(world.Names() == std::vector<std::string>{"os_1.efi", "os_2.efi"});
  for (int i = 0; i < 5; ++i) CHECK(world.Boot() == "os_2.efi");
}

TEST_CASE("A verdict can be taken back", "[partition][boot]") {
  World world;
  KEELSON_REQUIRE_OK(world.Commit2());
  CHECK(world.Boot() == "os_2.efi");
  KEELSON_REQUIRE_OK(world.control.Mark("os_2.efi", BootVerdict::kBad, "no network"));
  CHECK(world.Names()[1] == "os_2+0-1.efi");
  KEELSON_REQUIRE_OK(world.control.Mark("os_2.efi", BootVerdict::kIndeterminate, ""));
  CHECK(world.Names()[1] == "os_2+2-1.efi");
  KEELSON_CHECK_ERROR(world.control.Mark("os_1.efi", BootVerdict::kIndeterminate, ""),
                      Code::kFailedPrecondition, "with which counter");
}

TEST_CASE("The last image that boots can neither be marked bad nor removed", "[partition][boot]") {
  World world;
  KEELSON_CHECK_ERROR(world.control.Mark("os_1.efi", BootVerdict::kBad, ""),
                      Code::kFailedPrecondition, "no other entry is known to boot");
  KEELSON_CHECK_ERROR(world.control.Remove("os_1.efi"), Code::kFailedPrecondition, "stays");
  KEELSON_REQUIRE_OK(world.Commit2());
  KEELSON_CHECK_ERROR(world.control.Remove("os_1.efi"), Code::kFailedPrecondition, "stays");
  CHECK(world.Boot() == "os_2.efi");
  KEELSON_CHECK_ERROR(world.control.Remove("os_2.efi"), Code::kFailedPrecondition, "is running");
  KEELSON_REQUIRE_OK(world.control.Mark("os_2.efi", BootVerdict::kGood, ""));
  KEELSON_REQUIRE_OK(world.control.Remove("os_1.efi"));
  CHECK(world.Names() == std::vector<std::string>{"os_2.efi"});
}

TEST_CASE("An image that a cut rename left under two names goes with both", "[partition][boot]") {
  World world;
  KEELSON_REQUIRE_OK(world.Commit2());
  KEELSON_REQUIRE_OK(world.control.Commit({.id = "os_3.efi", .contents = Uki("3")}, std::nullopt));
  FatFileSystem::Tree tree;
  world.fs.on_step = [&] {
    for (FatFileSystem::Tree& state : world.fs.CrashStates()) {
      if (state.names.contains("esp/efi/linux/os_2.efi") &&
          state.names.contains("esp/efi/linux/os_2+3.efi")) {
        tree = std::move(state);
      }
    }
  };
  KEELSON_REQUIRE_OK(world.control.Mark("os_2.efi", BootVerdict::kGood, ""));
  REQUIRE_FALSE(tree.names.empty());

  FatFileSystem fs(tree);
  SystemdBoot control(fs, {.root = "esp", .efi_variables = "efivars"});
  KEELSON_REQUIRE_OK(control.Remove("os_2.efi"));
  CHECK(*fs.List("esp/EFI/Linux") == std::vector<std::string>{"os_1.efi", "os_3.efi"});
}

TEST_CASE("Room is asked for before anything is written", "[partition][boot]") {
  World world;
  KEELSON_REQUIRE_OK(world.Commit2());
  KEELSON_REQUIRE_OK(world.control.Mark("os_2.efi", BootVerdict::kBad, ""));
  world.fs.capacity_bytes = 40000;
  int steps = 0;
  world.fs.on_step = [&] { ++steps; };
  KEELSON_CHECK_ERROR(world.control.Commit({.id = "os_3.efi", .contents = Uki("3")}, 3),
                      Code::kResourceExhausted, "these are bad and could go: 'os_2.efi'");
  CHECK(steps == 0);
}

TEST_CASE("The same image again is fine, another under its name is not", "[partition][boot]") {
  World world;
  KEELSON_REQUIRE_OK(world.Commit2());
  CHECK(world.Boot() == "os_2.efi");
  KEELSON_REQUIRE_OK(world.Commit2());
  CHECK(world.Names()[1] == "os_2+2-1.efi");
  KEELSON_CHECK_ERROR(world.control.Commit({.id = "OS_2.efi", .contents = world.image1}, 3),
                      Code::kAlreadyExists, "EFI/Linux/os_2+2-1.efi");
  KEELSON_CHECK_ERROR(world.control.Commit({.id = "x", .contents = ""}, 3), Code::kInvalidArgument,
                      "");
  KEELSON_CHECK_ERROR(world.control.Commit({.id = "x.efi", .contents = ""}, 0),
                      Code::kInvalidArgument, "at least one try, found 0");
  KEELSON_CHECK_ERROR(
      world.control.Commit({.id = "x.conf", .contents = "", .files = {{"../up", ""}}}, 1),
      Code::kInvalidArgument, "'../up' is no path");
}

TEST_CASE("An entry of type 1 comes after its files and goes before them", "[partition][boot]") {
  World world;
  const std::string entry = "linux /os/2/linux\ninitrd /os/2/initrd\nsort-key os\nversion 2\n";
  const BootImage image = {.id = "os_2.conf",
                           .contents = entry,
                           .files = {{"os/2/linux", world.image1}, {"os/2/initrd", "initrd"}}};
  KEELSON_REQUIRE_OK(world.control.Commit(image, 3));
  CHECK(world.Boot() == "os_2.conf");
  KEELSON_CHECK_ERROR(
      world.control.Commit(
          {.id = "os_3.conf", .contents = entry, .files = {{"os/2/linux", "another kernel"}}}, 3),
      Code::kAlreadyExists, "'os/2/linux' is there with other contents");
  CHECK(world.fs.List("esp/loader/entries")->at(0) == "os_2+2-1.conf");
  world.SetVariable("LoaderBootCountPath", "\\EFI\\Linux\\os_1.efi");
  KEELSON_REQUIRE_OK(world.control.Remove("os_2.conf"));
  CHECK(world.fs.List("esp/os/2")->empty());
}

TEST_CASE("What a loader was set to is seen", "[partition][boot]") {
  World world;
  KEELSON_REQUIRE_OK(world.Commit2());
  KEELSON_REQUIRE_OK(world.control.SetLoaderConf("default", "os_1*"));
  KEELSON_ASSIGN_OR_FAIL(auto candidates, world.control.Candidates());
  CHECK(candidates[1].next);
  CHECK(candidates[1].why == "a setting of the loader names it");
  world.SetVariable("LoaderEntryOneShot", "os_2+3.efi");
  KEELSON_ASSIGN_OR_FAIL(candidates, world.control.Candidates());
  CHECK(candidates[0].next);
  KEELSON_CHECK_ERROR(world.control.SetLoaderConf("default", "a\nb"), Code::kInvalidArgument,
                      "read back");
}

// The crash model. A disk boots if the loader's first choice is whole, and is one that the call
// allows.
void ExpectBootable(const FatFileSystem::Tree& tree, const std::set<std::string>& images) {
  FatFileSystem fs(tree);
  KEELSON_ASSIGN_OR_FAIL(const auto entries, ReadLoaderEntries(fs, "esp"));
  bool good = false;
  for (const LoaderEntry& entry : entries) {
    KEELSON_ASSIGN_OR_FAIL(const std::string contents,
                           ReadFile(fs, "esp/" + entry.path(), 1 << 20));
    INFO(entry.path());
    CHECK(images.count(contents) == 1);  // The loader lists nothing that is not whole.
    good = good || entry.name.state() != BootState::kBad;
  }
  CHECK(good);
}

// Runs `action` on a disk that `prepare` made and looks at what a power cut leaves after each step.
// After each of those states the action is done again, as the next start would, and must come to
// the same end.
void CutEverywhere(const std::function<void(World&)>& prepare,
                   const std::function<absl::Status(SystemdBoot&, World&)>& action) {
  World world;
  prepare(world);
  const std::set<std::string> images = {world.image1, world.image2};
  std::vector<FatFileSystem::Tree> states;
  world.fs.on_step = [&] {
    for (FatFileSystem::Tree& tree : world.fs.CrashStates()) states.push_back(std::move(tree));
  };
  KEELSON_REQUIRE_OK(action(world.control, world));
  world.fs.on_step = nullptr;
  CHECK(states.size() >= 3);
  for (const FatFileSystem::Tree& tree : states) {
    ExpectBootable(tree, images);

    FatFileSystem fs(tree);
    SystemdBoot control(fs, {.root = "esp", .efi_variables = "efivars"});
    KEELSON_REQUIRE_OK(control.Tidy());
    const absl::Status again = action(control, world);
    INFO(again);
    CHECK((again.ok() || absl::IsNotFound(again)));
    for (const FatFileSystem::Tree& after : fs.CrashStates()) ExpectBootable(after, images);
  }
}

TEST_CASE("Every power cut while an image is written leaves a bootable disk", "[partition][boot]") {
  CutEverywhere([](World&) {},
                [](SystemdBoot& control, World& world) {
                  return control.Commit({.id = Id("2"), .contents = world.image2}, 3);
                });
}

TEST_CASE("Every power cut while an image is marked leaves a bootable disk", "[partition][boot]") {
  const auto verdict = GENERATE(BootVerdict::kGood, BootVerdict::kBad);
  CutEverywhere([](World& world) { KEELSON_REQUIRE_OK(world.Commit2()); },
                [=](SystemdBoot& control, World&) { return control.Mark(Id("2"), verdict, ""); });
}

// FAT may lose both names of a rename, so this one must be a copy.
TEST_CASE("Every power cut while the only image is marked good leaves a bootable disk",
          "[partition][boot]") {
  const auto only_on_trial = [](World& world) {
    KEELSON_REQUIRE_OK(world.fs.Rename("esp/EFI/Linux/os_1.efi", "esp/EFI/Linux/os_1+5.efi"));
    KEELSON_REQUIRE_OK(world.fs.SyncDirectory("esp/EFI/Linux"));
  };
  CutEverywhere(only_on_trial, [](SystemdBoot& control, World&) {
    return control.Mark(Id("1"), BootVerdict::kGood, "");
  });
  CutEverywhere(only_on_trial,
                [](SystemdBoot& control, World&) { return control.CountTry(Id("1")); });
}

TEST_CASE("Every power cut while an image is removed leaves a bootable disk", "[partition][boot]") {
  CutEverywhere([](World& world) { KEELSON_REQUIRE_OK(world.Commit2()); },
                [](SystemdBoot& control, World&) { return control.Remove(Id("2")); });
}

TEST_CASE("Every power cut while loader.conf is written leaves the old or the new one",
          "[partition][boot]") {
  World world;
  KEELSON_REQUIRE_OK(world.control.SetLoaderConf("timeout", "1"));
  std::vector<FatFileSystem::Tree> states;
  world.fs.on_step = [&] {
    for (FatFileSystem::Tree& tree : world.fs.CrashStates()) states.push_back(std::move(tree));
  };
  KEELSON_REQUIRE_OK(world.control.SetLoaderConf("timeout", "2"));
  std::set<std::string> seen;
  for (const FatFileSystem::Tree& tree : states) {
    FatFileSystem fs(tree);
    KEELSON_ASSIGN_OR_FAIL(const std::string text, ReadFile(fs, "esp/loader/loader.conf", 100));
    seen.insert(text);
  }
  CHECK(seen == std::set<std::string>{"timeout 1\n", "timeout 2\n"});
}

TEST_CASE("What interrupted calls leave is removed unless it may share clusters",
          "[partition][boot]") {
  World world;
  std::vector<FatFileSystem::Tree> states;
  world.fs.on_step = [&] {
    for (FatFileSystem::Tree& tree : world.fs.CrashStates()) states.push_back(std::move(tree));
  };
  KEELSON_REQUIRE_OK(world.Commit2());
  int removed = 0;
  int kept = 0;
  for (const FatFileSystem::Tree& tree : states) {
    FatFileSystem fs(tree);
    SystemdBoot control(fs, {.root = "esp", .efi_variables = "efivars"});
    KEELSON_ASSIGN_OR_FAIL(const std::vector<std::string> done, control.Tidy());
    for (const std::string& line : done) {
      ++(line.ends_with("is removed") ? removed : kept);
    }
    ExpectBootable(fs.CrashStates().back(), {world.image1, world.image2});
  }
  CHECK(removed > 0);
  CHECK(kept > 0);
}

}  // namespace
}  // namespace keelson::partition
