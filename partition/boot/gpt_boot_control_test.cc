#include "partition/boot/gpt_boot_control.h"

#include <catch2/catch.hpp>

#include <algorithm>

#include "base/testing/status_matchers.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

// Three slots in memory, which keep the rule of gptprio.
class FakeSlots final : public SlotTableAccess {
 public:
  absl::StatusOr<std::vector<SlotFacts>> Read() override {
    SlotFacts* best = nullptr;
    for (SlotFacts& slot : slots) {
      slot.next = false;
      const bool bootable = slot.priority > 0 && (slot.tries > 0 || slot.successful);
      if (bootable && (best == nullptr || slot.priority > best->priority)) best = &slot;
    }
    if (best != nullptr) best->next = true;
    return slots;
  }
  absl::Status FinishInstall(int number, int tries) override {
    return Set(number, 15, tries, false);
  }
  absl::Status MarkGood(int number) override { return Set(number, 15, 0, true); }
  absl::Status MarkBad(int number, const std::string& /*reason*/) override {
    return Set(number, At(number).priority, 0, false);
  }
  absl::Status TakeTry(int number) override {
    --At(number).tries;
    return absl::OkStatus();
  }
  absl::Status Empty(int number) override { return Set(number, 0, 0, false); }

  SlotFacts& At(int number) {
    return *std::find_if(slots.begin(), slots.end(),
                         [&](const SlotFacts& slot) { return slot.number == number; });
  }

  std::vector<SlotFacts> slots = {
      {.number = 3, .label = "A", .priority = 1, .successful = true, .running = true},
      {.number = 4, .label = "B"},
      {.number = 6, .label = "C", .priority = 2}};

 private:
  absl::Status Set(int number, int priority, int tries, bool successful) {
    for (SlotFacts& slot : slots) {
      if (slot.priority == priority && priority == 15) slot.priority = 14;
    }
    SlotFacts& slot = At(number);
    slot.priority = priority;
    slot.tries = tries;
    slot.successful = successful;
    return absl::OkStatus();
  }
};

TEST_CASE("Slots are candidates in gptprio's order, empty ones none", "[partition][boot]") {
  FakeSlots slots;
  GptBootControl control(slots);
  KEELSON_ASSIGN_OR_FAIL(auto candidates, control.Candidates());
  REQUIRE(candidates.size() == 2);
  CHECK(candidates[0].id == "slot-3");
  CHECK(candidates[0].next);
  CHECK(candidates[1].id == "slot-6");
  CHECK(candidates[1].state == BootState::kBad);

  KEELSON_REQUIRE_OK(control.Commit({.id = "slot-4"}, 2));
  KEELSON_ASSIGN_OR_FAIL(candidates, control.Candidates());
  CHECK(candidates[0].id == "slot-4");
  CHECK(candidates[0].state == BootState::kTrial);
  CHECK(candidates[0].tries_left == 2);
  CHECK(*control.Running() == "slot-3");
}

TEST_CASE("A slot on trial is counted down and marked", "[partition][boot]") {
  FakeSlots slots;
  GptBootControl control(slots);
  KEELSON_REQUIRE_OK(control.Commit({.id = "slot-4"}, 1));
  KEELSON_REQUIRE_OK(control.CountTry("slot-4"));
  KEELSON_CHECK_ERROR(control.CountTry("slot-4"), Code::kFailedPrecondition, "no tries left");
  KEELSON_REQUIRE_OK(control.Mark("slot-4", BootVerdict::kGood, ""));
  KEELSON_REQUIRE_OK(control.CountTry("slot-4"));
  CHECK(slots.At(4).successful);
  KEELSON_REQUIRE_OK(control.Mark("slot-4", BootVerdict::kBad, "no network"));
  CHECK(control.Candidates()->at(0).id == "slot-3");
  KEELSON_REQUIRE_OK(control.Remove("slot-4"));
  CHECK(slots.At(4).priority == 0);
}

TEST_CASE("What would leave no slot that boots is refused", "[partition][boot]") {
  FakeSlots slots;
  GptBootControl control(slots);
  KEELSON_CHECK_ERROR(control.Mark("slot-3", BootVerdict::kBad, ""), Code::kFailedPrecondition,
                      "no other slot is known to boot");
  KEELSON_CHECK_ERROR(control.Remove("slot-3"), Code::kFailedPrecondition, "is running");
  KEELSON_CHECK_ERROR(control.Mark("slot-3", BootVerdict::kIndeterminate, ""),
                      Code::kFailedPrecondition, "do not say");
  KEELSON_CHECK_ERROR(control.Mark("slot-5", BootVerdict::kGood, ""), Code::kNotFound, "'slot-5'");
  KEELSON_CHECK_ERROR(control.Commit({.id = "slot-5"}, 1), Code::kInvalidArgument, "'slot-5'");
  KEELSON_CHECK_ERROR(control.Commit({.id = "slot-4"}, 16), Code::kInvalidArgument, "1 to 15");
  KEELSON_CHECK_ERROR(control.Commit({.id = "slot-4", .contents = "x"}, 1), Code::kInvalidArgument,
                      "the installer writes");
  CHECK(slots.At(4).priority == 0);
}

}  // namespace
}  // namespace keelson::partition
