#include "partition/boot/gpt_boot_control.h"

#include <catch2/catch.hpp>

#include "base/random.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "partition/partition_types.h"
#include "partition/testing/fake_disk.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

constexpr Geometry kGeometry = {.sectors = 4096};
constexpr char kLedger[] = "/failed.json";

// Slot 3 is good, slot 4 is empty, the tries of slot 6 are gone.
FakeDisk NewDisk() {
  GptTable table = *EmptyTable(kGeometry, RandomGuid());
  const auto add = [&](int number, const std::string& label, const SlotBits& bits) {
    const uint64_t first_lba = 40 + 10 * static_cast<uint64_t>(number);
    table.entries[number - 1] = {.type = CoreOsUsrType(),
                                 .unique = RandomGuid(),
                                 .first_lba = first_lba,
                                 .last_lba = first_lba + 9};
    KEELSON_REQUIRE_OK(SetName(table.entries[number - 1], label));
    SetSlotBits(table, number, bits);
  };
  add(3, "A", {.priority = 1, .successful = true});
  add(4, "B", {});
  add(6, "C", {.priority = 2});
  FakeDisk disk(kGeometry);
  KEELSON_REQUIRE_OK(Apply(disk, *PlanCreate(kGeometry, std::string(512, '\0'), table)));
  return disk;
}

struct Machine {
  FakeDisk disk = NewDisk();
  SimFileSystem fs{Random(1), {}};
  SlotDisk slots = *SlotDisk::Open(
      disk, {.type = CoreOsUsrType(), .running = 3, .ledger_fs = &fs, .ledger = kLedger});
  GptBootControl control{slots};

  // As they are on the disk, whatever is held in memory.
  [[nodiscard]] SlotBits BitsOf(int number) const {
    const absl::StatusOr<GptReading> reading = ReadGpt(disk);
    KEELSON_REQUIRE_OK(reading);
    return SlotBitsOf(reading->table.entries[number - 1].attributes);
  }
};

TEST_CASE("Slots are candidates in gptprio's order, empty ones none", "[partition][boot]") {
  Machine machine;
  KEELSON_ASSIGN_OR_FAIL(auto candidates, machine.control.Candidates());
  REQUIRE(candidates.size() == 2);
  CHECK(candidates[0].id == "slot-3");
  CHECK(candidates[0].next);
  CHECK(candidates[1].id == "slot-6");
  CHECK(candidates[1].state == BootState::kBad);

  KEELSON_REQUIRE_OK(machine.control.Commit({.id = "slot-4"}, 2));
  KEELSON_REQUIRE_OK(machine.control.Commit({.id = "slot-4"}, 2));  // The same again.
  KEELSON_ASSIGN_OR_FAIL(candidates, machine.control.Candidates());
  CHECK(candidates[0].id == "slot-4");
  CHECK(candidates[0].state == BootState::kTrial);
  CHECK(candidates[0].tries_left == 2);
  CHECK(machine.BitsOf(4) == SlotBits{.priority = 3, .tries = 2});
  CHECK(*machine.control.Running() == "slot-3");
}

TEST_CASE("A slot on trial is counted down and marked", "[partition][boot]") {
  Machine machine;
  GptBootControl& control = machine.control;
  KEELSON_REQUIRE_OK(control.Commit({.id = "slot-4"}, 2));
  KEELSON_REQUIRE_OK(control.CountTry("slot-4"));
  CHECK(machine.BitsOf(4).tries == 1);
  KEELSON_REQUIRE_OK(control.Mark("slot-4", BootVerdict::kGood, ""));
  KEELSON_REQUIRE_OK(control.CountTry("slot-4"));
  CHECK(machine.BitsOf(4).successful);
  KEELSON_REQUIRE_OK(control.Mark("slot-4", BootVerdict::kBad, "no network"));
  KEELSON_CHECK_ERROR(control.CountTry("slot-4"), Code::kFailedPrecondition, "0 tries left");
  CHECK(control.Candidates()->at(0).id == "slot-3");
  KEELSON_REQUIRE_OK(control.Remove("slot-4"));
  CHECK(machine.BitsOf(4).priority == 0);
}

TEST_CASE("What was marked bad is on the ledger, and its slot takes no such version again",
          "[partition][boot]") {
  Machine machine;
  KEELSON_REQUIRE_OK(machine.control.Commit({.id = "slot-4"}, 1));
  KEELSON_REQUIRE_OK(machine.control.Mark("slot-4", BootVerdict::kBad, "no network"));
  KEELSON_ASSIGN_OR_FAIL(const FailedVersions ledger, ReadFailedVersions(machine.fs, kLedger));
  REQUIRE(ledger.Find("B") != nullptr);
  CHECK(ledger.Find("B")->reason == "no network");
  KEELSON_CHECK_ERROR(machine.slots.Take(BeginInstall{.slot = 4, .version = "B"}),
                      Code::kFailedPrecondition, "no network");
}

TEST_CASE("The ledger is durable before the table changes", "[partition][boot]") {
  Machine machine;
  KEELSON_REQUIRE_OK(machine.control.Commit({.id = "slot-4"}, 1));
  machine.disk.FailAfter(0);
  CHECK_FALSE(machine.control.Mark("slot-4", BootVerdict::kBad, "no network").ok());
  CHECK(machine.BitsOf(4).tries == 1);
  machine.fs.PowerLoss();
  KEELSON_ASSIGN_OR_FAIL(const FailedVersions ledger, ReadFailedVersions(machine.fs, kLedger));
  CHECK(ledger.Find("B") != nullptr);
}

TEST_CASE("What would leave no slot that boots is refused", "[partition][boot]") {
  Machine machine;
  GptBootControl& control = machine.control;
  KEELSON_CHECK_ERROR(control.Mark("slot-3", BootVerdict::kBad, ""), Code::kFailedPrecondition,
                      "no other slot is marked good");
  KEELSON_CHECK_ERROR(control.Remove("slot-3"), Code::kFailedPrecondition, "is running");
  KEELSON_CHECK_ERROR(control.Mark("slot-3", BootVerdict::kIndeterminate, ""),
                      Code::kFailedPrecondition, "do not say");
  KEELSON_CHECK_ERROR(control.Mark("slot-5", BootVerdict::kGood, ""), Code::kNotFound, "'slot-5'");
  KEELSON_CHECK_ERROR(control.Commit({.id = "slot-5"}, 1), Code::kInvalidArgument, "'slot-5'");
  KEELSON_CHECK_ERROR(control.Commit({.id = "slot-4"}, 16), Code::kInvalidArgument, "1 to 15");
  KEELSON_CHECK_ERROR(control.Commit({.id = "slot-4", .contents = "x"}, 1), Code::kInvalidArgument,
                      "the installer writes");
  CHECK(machine.BitsOf(4).priority == 0);
}

TEST_CASE("A table that contradicts itself is not opened", "[partition][boot]") {
  Machine machine;
  GptTable table = machine.slots.view().table;
  table.entries[3].first_lba = table.entries[2].first_lba;  // On top of slot 3.
  KEELSON_CHECK_ERROR(machine.slots.PlanTable(table, "x").status(), Code::kInvalidArgument, "3");
}

}  // namespace
}  // namespace keelson::partition
