#include "partition/slots/slot_manager.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "base/random.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "partition/partition_types.h"
#include "partition/slots/running_slot.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

constexpr SlotBits kGood = {.priority = 1, .successful = true};
constexpr SlotBits kEmptySlot = {};

// Slots in partitions 1, 2, ...
SlotView ViewOf(const std::vector<SlotBits>& slots, std::optional<int> running) {
  SlotView view = {.table = *EmptyTable({.sectors = 4096}, {}),
                   .type = CoreOsUsrType(),
                   .running = running,
                   .unix_time = 1700000000};
  for (size_t i = 0; i < slots.size(); ++i) {
    view.table.entries[i] = {.type = CoreOsUsrType(),
                             .unique = {.bytes = {static_cast<uint8_t>(i + 1)}},
                             .attributes = WithSlotBits(0, slots[i])};
    KEELSON_REQUIRE_OK(SetName(view.table.entries[i], "v" + std::to_string(i + 1)));
  }
  return view;
}

SlotBits BitsOf(const GptTable& table, int number) {
  return SlotBitsOf(table.entries[number - 1].attributes);
}

// Takes the step as the world would.
std::string Take(SlotView& view, const SlotInput& input) {
  absl::StatusOr<SlotStep> step = StepSlots(view, input);
  KEELSON_REQUIRE_OK(step);
  view.table = std::move(step->table);
  view.failed_versions = std::move(step->failed_versions);
  return step->what;
}

TEST_CASE("An update that works: written, tried, good", "[slots][manager]") {
  SlotView view = ViewOf({kGood, kEmptySlot}, 1);
  Take(view, BeginInstall{.slot = 2, .version = "v3"});
  CHECK(ReportSlots(view)[1].state == SlotState::kEmpty);
  CHECK(Take(view,
             FinishInstall{.slot = 2, .label = "v3", .unique = Guid{.bytes = {9}}, .tries = 2}) ==
        "slot 2 boots next, with 2 tries");
  CHECK(BitsOf(view.table, 2) == SlotBits{.priority = 2, .tries = 2});
  CHECK(view.table.entries[1].unique.bytes[0] == 9);
  CHECK(ReportSlots(view)[1].state == SlotState::kWritten);

  CHECK(TakeNext(view.table, view.type) == 2);
  view.running = 2;
  CHECK(ReportSlots(view)[1].state == SlotState::kTrying);
  CHECK(Take(view, Booted{}).empty());
  Take(view, MarkGood{.slot = 2});
  CHECK(BitsOf(view.table, 2) == SlotBits{.priority = 2, .successful = true});
  CHECK(BitsOf(view.table, 1) == kGood);
  CHECK(view.failed_versions.records().empty());
}

TEST_CASE("An update that does not: tried, rolled back, not installed again", "[slots][manager]") {
  SlotView view = ViewOf({kGood, kEmptySlot}, 1);
  Take(view, BeginInstall{.slot = 2, .version = "v3"});
  Take(view, FinishInstall{.slot = 2, .label = "v3", .tries = 3});
  for (int i = 0; i < 3; ++i) CHECK(TakeNext(view.table, view.type) == 2);
  CHECK(TakeNext(view.table, view.type) == 1);

  CHECK(ReportSlots(view)[1].state == SlotState::kFailed);
  CHECK(Take(view, Booted{}) == "version 'v3' was rolled back");
  CHECK(Take(view, Booted{}).empty());  // once
  KEELSON_CHECK_ERROR(StepSlots(view, BeginInstall{.slot = 2, .version = "v3"}),
                      Code::kFailedPrecondition,
                      "version 'v3' failed here before, in partition 2 at 2023-11-14T22:13:20Z: "
                      "its tries were used up");
  KEELSON_REQUIRE_OK(StepSlots(view, BeginInstall{.slot = 2, .version = "v4"}));
  Take(view, BeginInstall{.slot = 2, .version = "v3", .force = true});
  Take(view, FinishInstall{.slot = 2, .label = "v3"});
  Take(view, MarkGood{.slot = 2});
  CHECK(view.failed_versions.Find("v3") == nullptr);
}

TEST_CASE("The way back is never overwritten", "[slots][manager]") {
  const BeginInstall into_two = {.slot = 2, .version = "v3"};
  SECTION("the running slot") {
    KEELSON_CHECK_ERROR(StepSlots(ViewOf({kGood, kGood}, 2), into_two), Code::kFailedPrecondition,
                        "slot 2 is running");
    KEELSON_CHECK_ERROR(
        StepSlots(ViewOf({kGood, kGood}, 2), BeginInstall{.slot = 2, .force = true}),
        Code::kFailedPrecondition, "slot 2 is running");
  }
  SECTION("while the running one is on trial") {
    const SlotView view = ViewOf({{.priority = 2, .tries = 1}, kGood}, 1);
    KEELSON_CHECK_ERROR(StepSlots(view, into_two), Code::kFailedPrecondition,
                        "no other slot is marked good");
    KEELSON_REQUIRE_OK(StepSlots(view, BeginInstall{.slot = 2, .force = true}));
  }
  SECTION("the only bootable one, not even by force") {
    const SlotView view = ViewOf({kEmptySlot, kGood}, std::nullopt);
    KEELSON_CHECK_ERROR(StepSlots(view, BeginInstall{.slot = 2, .force = true}),
                        Code::kFailedPrecondition, "no other slot is bootable");
  }
  SECTION("but a disk with no bootable slot can be filled") {
    KEELSON_REQUIRE_OK(StepSlots(ViewOf({kEmptySlot, kEmptySlot}, std::nullopt), into_two));
  }
}

TEST_CASE("Steps that do not fit the slot are refused", "[slots][manager]") {
  const SlotView view = ViewOf({kGood, {.priority = 2, .tries = 3}, {.priority = 3}}, 1);
  KEELSON_CHECK_ERROR(StepSlots(view, FinishInstall{.slot = 2}), Code::kFailedPrecondition,
                      "slot 2 is not being installed");
  KEELSON_CHECK_ERROR(StepSlots(view, FinishInstall{.slot = 1}), Code::kFailedPrecondition,
                      "slot 1");
  KEELSON_CHECK_ERROR(StepSlots(view, FinishInstall{.slot = 2, .tries = 0}), Code::kInvalidArgument,
                      "tries 0");
  KEELSON_CHECK_ERROR(StepSlots(view, FinishInstall{.slot = 2, .tries = 16}),
                      Code::kInvalidArgument, "tries 16");
  KEELSON_CHECK_ERROR(StepSlots(view, MarkGood{.slot = 3}), Code::kFailedPrecondition,
                      "neither running nor bootable");
  KEELSON_CHECK_ERROR(StepSlots(view, MarkGood{.slot = 4}), Code::kNotFound, "slots are: 1, 2, 3");
  KEELSON_CHECK_ERROR(StepSlots(view, BeginInstall{.slot = 9}), Code::kNotFound, "partition 9");
  SlotView only = ViewOf({kGood, kEmptySlot}, 1);
  KEELSON_CHECK_ERROR(StepSlots(only, MarkBad{.slot = 1}), Code::kFailedPrecondition,
                      "no other slot is marked good");
  Take(only, BeginInstall{.slot = 2});
  KEELSON_CHECK_ERROR(StepSlots(only, FinishInstall{.slot = 2, .label = std::string(37, 'x')}),
                      Code::kInvalidArgument, "36");
}

TEST_CASE("A slot marked bad does not boot, and says why its version failed", "[slots][manager]") {
  SlotView view = ViewOf({kGood, {.priority = 2, .successful = true}}, 1);
  Take(view, MarkBad{.slot = 2, .reason = "health check failed"});
  CHECK(NextSlot(SlotsOf(view.table, view.type)) == 1);
  CHECK(view.failed_versions.Find("v2")->reason == "health check failed");
  CHECK(view.failed_versions.Find("v2")->unix_time == 1700000000);
}

TEST_CASE("A slot on its last try can still be marked good", "[slots][manager]") {
  SlotView view = ViewOf({kGood, {.priority = 2, .tries = 0}}, 2);
  CHECK(ReportSlots(view)[1].state == SlotState::kTrying);
  Take(view, MarkGood{.slot = 2});
  CHECK(NextSlot(SlotsOf(view.table, view.type)) == 2);
}

TEST_CASE("Each slot says whether it boots next and why", "[slots][why]") {
  const SlotView view = ViewOf({{.priority = 2, .successful = true},
                                {.priority = 2, .tries = 1},
                                {.priority = 1, .tries = 1},
                                {.priority = 3},
                                {.priority = 4, .tries = 0},
                                kEmptySlot},
                               5);
  std::vector<std::string> why;
  for (const SlotReport& report : ReportSlots(view)) why.push_back(report.why);
  CHECK(why ==
        std::vector<std::string>{
            "boots next: priority 2 is the greatest of the bootable slots, and it is marked good",
            "boots if slot 1 fails: the same priority, but later in the table",
            "boots if slot 1 fails: priority 1 is less than 2",
            "does not boot: 0 tries left and not marked good",
            "does not boot: 0 tries left and not marked good; it runs on its last try",
            "does not boot: its priority is 0"});
}

TEST_CASE("An installation takes the slot that is needed least", "[slots][passive]") {
  CHECK(PassiveSlot(ViewOf({kGood, kEmptySlot}, 1)) == 2);
  CHECK(PassiveSlot(ViewOf({kGood, kEmptySlot}, 2)) == 1);
  CHECK(PassiveSlot(ViewOf({kGood, {.priority = 3, .successful = true}}, std::nullopt)) == 1);
  CHECK(PassiveSlot(ViewOf({{.priority = 3, .successful = true}, kGood, {.priority = 5}}, 1)) == 3);
  CHECK(!PassiveSlot(ViewOf({kGood}, 1)).has_value());
}

TEST_CASE("The running slot is found on the kernel's command line", "[slots][running]") {
  SlotView view = ViewOf({kGood, kGood}, std::nullopt);
  view.table.entries[0].unique = *ParseGuid("7130c94a-213a-4e5a-8e26-6cce9662f132");
  view.table.entries[1].unique = *ParseGuid("01234567-89ab-cdef-0011-223344556677");
  const std::string hash = "0123456789abcdef00112233445566778899aabbccddeeff0123456789abcdef";
  const auto running = [&](const std::string& line) {
    return RunningSlot(view.table, view.type, line).value_or(0);
  };
  CHECK(running("quiet mount.usr=PARTUUID=7130C94A-213A-4E5A-8E26-6CCE9662F132 x\n") == 1);
  CHECK(running("usrhash=" + hash) == 2);
  CHECK(running("usr=PARTUUID=7130c94a-213a-4e5a-8e26-6cce9662f132 usrhash=" + hash) == 2);
  CHECK(running("mount.usr=/dev/sda3 usrhash=12 xusrhash=" + hash) == 0);
  CHECK(running("usrhash=" + std::string(64, '0')) == 0);
}

TEST_CASE("The ledger of failed versions is kept, and a file that is none is refused",
          "[slots][ledger]") {
  SimFileSystem fs(Random(1), {});
  FailedVersions versions;
  for (int i = 0; i < 70; ++i) {
    versions.Add({.version = "v" + std::to_string(i),
                  .partition = 4,
                  .reason = "bad \"quote\"",
                  .unix_time = i});
  }
  CHECK(versions.records().size() == 64);
  CHECK(versions.Find("v5") == nullptr);
  KEELSON_REQUIRE_OK(WriteFailedVersions(fs, "state/failed.json", versions));
  KEELSON_ASSIGN_OR_FAIL(const FailedVersions read, ReadFailedVersions(fs, "state/failed.json"));
  CHECK(read == versions);
  CHECK(ReadFailedVersions(fs, "state/missing.json")->records().empty());

  for (const char* bad :
       {"", "[]", "{}", R"({"failed_versions": {}})", R"({"failed_versions": [1]})",
        R"({"failed_versions": [{"version": 1}]})", R"({"failed_versions": [{"partition": 1}]})",
        R"({"failed_versions": [{"version": "a", "partition": -1}]})",
        R"({"failed_versions": [{"version": "a", "more": 1}]})",
        R"({"failed_versions": [], "more": 1})"}) {
    KEELSON_CHECK_ERROR(FailedVersions::Parse(bad), Code::kInvalidArgument, "failed versions");
  }
}

}  // namespace
}  // namespace keelson::partition
