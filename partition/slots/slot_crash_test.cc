// A model check of updates under power cuts: every sector that a commit writes is cut before, in
// the middle and after, and after each the boot loader's choice is the old system or the new one.
#include <catch2/catch.hpp>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/testing/status_matchers.h"
#include "partition/gpt_disk.h"
#include "partition/partition_types.h"
#include "partition/slots/slot_manager.h"
#include "partition/testing/fake_disk.h"

namespace keelson::partition {
namespace {

constexpr Geometry kGeometry = {.sectors = 160};
constexpr uint64_t kWantedCuts = 100'000;

// What the loader boots from a disk, with the table that its repair would give; 0: nothing.
int BootsFrom(const BlockDevice& disk) {
  const absl::StatusOr<GptReading> reading = ReadGpt(disk);
  KEELSON_REQUIRE_OK(reading);
  REQUIRE(PlanRepair(*reading).ok());
  return NextSlot(SlotsOf(reading->table, CoreOsUsrType())).value_or(0);
}

class Machine {
 public:
  explicit Machine(uint64_t seed) : random_(seed), disk_(kGeometry) {
    slots_ = 2 + static_cast<int>(random_.Below(3));
    GptTable table = *EmptyTable(kGeometry, {.bytes = {77}});
    for (int i = 0; i < slots_; ++i) {
      const uint64_t first = 40 + 10 * static_cast<uint64_t>(i);
      GptEntry& entry = table.entries[i * 3];
      entry = {.type = CoreOsUsrType(),
               .unique = {.bytes = {static_cast<uint8_t>(i + 1)}},
               .first_lba = first,
               .last_lba = first + 7,
               .attributes = WithSlotBits(
                   random_() & 7, {.priority = i == 0 ? 1 : 0, .tries = 0, .successful = i == 0})};
      KEELSON_REQUIRE_OK(SetName(entry, absl::StrCat("v", i)));
    }
    const auto writes = PlanCreate(kGeometry, disk_.image().substr(0, 512), table);
    KEELSON_REQUIRE_OK(writes);
    KEELSON_REQUIRE_OK(Apply(disk_, *writes));
    running_ = 1;
  }

  // One boot with what a running system may do then.
  void Live() {
    Boot();
    Step(Booted{});
    if (random_.Bernoulli(0.6)) Step(MarkGood{.slot = running_});
    if (random_.Bernoulli(0.7)) Update();
    if (random_.Bernoulli(0.1)) Step(MarkBad{.slot = Any()});
    if (random_.Bernoulli(0.1)) Damage();
  }

  [[nodiscard]] uint64_t cuts() const { return cuts_; }

 private:
  int Any() { return 1 + 3 * static_cast<int>(random_.Below(static_cast<uint64_t>(slots_))); }

  SlotView View() {
    const absl::StatusOr<GptReading> reading = ReadGpt(disk_);
    KEELSON_REQUIRE_OK(reading);
    return {.table = *Relocated(reading->table, kGeometry),
            .type = CoreOsUsrType(),
            .running = running_ == 0 ? std::nullopt : std::optional(running_),
            .failed_versions = failed_};
  }

  // The loader: takes a try, durably, before it starts the system.
  void Boot() {
    const int expected = BootsFrom(disk_);
    REQUIRE(expected != 0);
    SlotView view = View();
    REQUIRE(TakeNext(view.table, view.type) == expected);
    // While it writes, the same slot boots; or the next one if that was the last try.
    GptTable after = view.table;
    const int then = NextSlot(SlotsOf(after, view.type)).value_or(0);
    Commit(view.table, {expected, then});
    running_ = expected;
  }

  void Step(const SlotInput& input) {
    const SlotView view = View();
    const int before = BootsFrom(disk_);
    const absl::StatusOr<SlotStep> step = StepSlots(view, input);
    if (!step.ok()) return;  // Refusals write nothing.
    failed_ = step->failed_versions;
    const int after = NextSlot(SlotsOf(step->table, view.type)).value_or(0);
    // A system on its last try is no bootable slot any more; all others stay bootable.
    if (before != 0) REQUIRE(after != 0);
    Commit(step->table, {before, after});
  }

  void Update() {
    const std::optional<int> passive = PassiveSlot(View());
    if (!passive.has_value()) return;
    const std::string version = absl::StrCat("w", random_.Below(1000));
    const absl::StatusOr<SlotStep> begin =
        StepSlots(View(), BeginInstall{.slot = *passive, .version = version});
    if (!begin.ok()) return;
    Step(BeginInstall{.slot = *passive, .version = version});
    WriteData(*passive);
    // Here a power cut may leave an update that never goes on.
    if (random_.Bernoulli(0.3)) return;
    Step(FinishInstall{.slot = *passive,
                       .label = version,
                       .unique = Guid{.bytes = {static_cast<uint8_t>(random_()), 1, 2, 3, 4}},
                       .tries = 1 + static_cast<int>(random_.Below(3))});
  }

  void WriteData(int slot) {
    const int boots = BootsFrom(disk_);
    REQUIRE(boots != slot);  // What is written over is not what a cut would boot.
    const std::string before = disk_.image();
    disk_.ForgetHistory();
    const GptEntry entry = View().table.entries[slot - 1];
    KEELSON_REQUIRE_OK(disk_.Write(entry.first_lba * 512, std::string(entry.sectors() * 512, 'n')));
    KEELSON_REQUIRE_OK(disk_.Flush());
    cuts_ += ForEachPowerCut(before, disk_, [&](FakeDisk& cut, const std::string& when) {
      if (BootsFrom(cut) != boots) FAIL("another system boots " << when);
    });
  }

  void Commit(const GptTable& next, const std::vector<int>& allowed) {
    const absl::StatusOr<GptReading> reading = ReadGpt(disk_);
    KEELSON_REQUIRE_OK(reading);
    const auto writes = PlanCommit(*reading, next);
    KEELSON_REQUIRE_OK(writes);
    const std::string before = disk_.image();
    disk_.ForgetHistory();
    KEELSON_REQUIRE_OK(Apply(disk_, *writes));
    const bool bootable = allowed[0] != 0 && allowed[1] != 0;
    cuts_ += ForEachPowerCut(before, disk_, [&](FakeDisk& cut, const std::string& when) {
      const int boots = BootsFrom(cut);
      if (bootable && boots == 0) FAIL("nothing boots " << when);
      if (boots != allowed[0] && boots != allowed[1]) FAIL("slot " << boots << " boots " << when);
    });
    REQUIRE(BootsFrom(disk_) == allowed[1]);
  }

  // A cut that left one copy torn, to be repaired by the next commit.
  void Damage() {
    const uint64_t lba = random_.Bernoulli(0.5) ? 1 + random_.Below(33) : 127 + random_.Below(33);
    disk_.image()[lba * 512 + random_.Below(512)] ^= 1;
  }

  Random random_;
  FakeDisk disk_;
  int slots_ = 2;
  int running_ = 0;
  FailedVersions failed_;
  uint64_t cuts_ = 0;
};

TEST_CASE("No power cut in the life of a machine leaves it without a system", "[slots][crash]") {
  uint64_t cuts = 0;
  for (uint64_t seed = 1; cuts < kWantedCuts; ++seed) {
    INFO("seed " << seed);
    Machine machine(seed);
    for (int i = 0; i < 6; ++i) machine.Live();
    cuts += machine.cuts();
  }
  CHECK(cuts >= kWantedCuts);
}

}  // namespace
}  // namespace keelson::partition
