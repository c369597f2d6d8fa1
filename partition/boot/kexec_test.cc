#include "partition/boot/kexec.h"

#include <catch2/catch.hpp>

#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "partition/boot/testing/fake_boot_control.h"
#include "partition/boot/uki.h"
#include "partition/trust/testing/pe_builder.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;
using testing::FakeBootControl;
using testing::MakePe;

class FakeKexecKernel final : public KexecKernel {
 public:
  absl::Status Load(std::string_view linux, std::string_view initrd,
                    const std::string& cmdline) override {
    if (!refusal.ok()) return refusal;
    loaded = std::string(linux) + "|" + std::string(initrd) + "|" + cmdline;
    return absl::OkStatus();
  }
  absl::Status Unload() override {
    loaded.clear();
    return absl::OkStatus();
  }
  absl::Status Start() override { return absl::UnimplementedError("this machine stays"); }

  absl::Status refusal;
  std::string loaded;
};

struct World {
  FakeKexecKernel kernel;
  FakeBootControl control;
  SimFileSystem fs{Random(1), {}};
  KexecActivation activation{kernel, control, fs, "state/cold-boot"};
  const std::string linux = MakePe({{".text", "kernel"}});
  const std::string image = *AssembleUki(MakePe({{".text", "stub"}}),
                                         {.cmdline = "quiet", .initrd = "initrd", .linux = linux});

  World() {
    KEELSON_REQUIRE_OK(fs.CreateDirectories("state"));
    KEELSON_REQUIRE_OK(control.Commit({.id = "a", .contents = "old"}, std::nullopt));
    KEELSON_REQUIRE_OK(control.Commit({.id = "b", .contents = image}, 2));
  }

  int TriesLeft() { return control.Candidates()->at(0).tries_left; }
};

TEST_CASE("kexec takes a try, as a loader would", "[partition][kexec]") {
  World world;
  KEELSON_REQUIRE_OK(world.activation.Prepare("b", world.image));
  CHECK(world.kernel.loaded == world.linux + "|initrd|quiet keelson.kexec=1");
  CHECK(world.TriesLeft() == 1);
  KEELSON_REQUIRE_OK(world.activation.Prepare("b", world.image));
  KEELSON_CHECK_ERROR(world.activation.Prepare("b", world.image), Code::kFailedPrecondition,
                      "no tries left");
  CHECK(world.kernel.loaded.empty());
}

TEST_CASE("A start from cold is owed until there was one", "[partition][kexec]") {
  World world;
  KEELSON_ASSIGN_OR_FAIL(ColdBoot cold, world.activation.NoteStart("quiet\n"));
  CHECK_FALSE(cold.owed);
  KEELSON_REQUIRE_OK(world.activation.Prepare("b", world.image));
  world.fs.PowerLoss();
  for (int i = 0; i < 2; ++i) {
    KEELSON_ASSIGN_OR_FAIL(cold, world.activation.NoteStart("quiet keelson.kexec=1\n"));
    CHECK(cold.owed);
    CHECK(cold.id == "b");
  }
  KEELSON_ASSIGN_OR_FAIL(cold, world.activation.NoteStart("quiet keelson.kexec=10\n"));
  CHECK_FALSE(cold.owed);
  KEELSON_ASSIGN_OR_FAIL(cold, world.activation.NoteStart("quiet keelson.kexec=1\n"));
  CHECK_FALSE(cold.owed);
}

TEST_CASE("What fails leaves nothing loaded and no try taken", "[partition][kexec]") {
  World world;
  SECTION("the kernel refuses") {
    world.kernel.refusal = absl::PermissionDeniedError("lockdown");
    KEELSON_CHECK_ERROR(world.activation.Prepare("b", world.image), Code::kPermissionDenied,
                        "load 'b': lockdown");
  }
  SECTION("the record cannot be written") {
    world.fs.FailNext(SimOperation::kSync, "state/");
    CHECK_FALSE(world.activation.Prepare("b", world.image).ok());
  }
  SECTION("the try cannot be taken") {
    world.control.FailNext(absl::UnavailableError("busy"));
    KEELSON_CHECK_ERROR(world.activation.Prepare("b", world.image), Code::kUnavailable, "busy");
  }
  SECTION("it is no image") {
    KEELSON_CHECK_ERROR(world.activation.Prepare("b", "junk"), Code::kDataLoss, "PE");
  }
  SECTION("the command line is too long") {
    const std::string image = *AssembleUki(
        MakePe({{".text", "s"}}), {.cmdline = std::string(2040, 'x'), .linux = world.linux});
    KEELSON_CHECK_ERROR(world.activation.Prepare("b", image), Code::kInvalidArgument,
                        "at most 2047 bytes");
  }
  CHECK(world.kernel.loaded.empty());
  CHECK(world.TriesLeft() == 2);
}

TEST_CASE("The fake loader counts down and falls back", "[partition][boot]") {
  World world;
  CHECK(world.control.Boot() == "b");
  CHECK(world.control.Boot() == "b");
  CHECK(world.control.Boot() == "a");
  CHECK(*world.control.Running() == "a");
  KEELSON_REQUIRE_OK(world.control.Mark("b", BootVerdict::kGood, ""));
  CHECK(world.control.Boot() == "b");
  KEELSON_REQUIRE_OK(world.control.Mark("b", BootVerdict::kBad, ""));
  KEELSON_CHECK_ERROR(world.control.Mark("a", BootVerdict::kBad, ""), Code::kFailedPrecondition,
                      "");
  KEELSON_CHECK_ERROR(world.control.Remove("b"), Code::kFailedPrecondition, "is running");
}

}  // namespace
}  // namespace keelson::partition
