// The life of a system slot: written, tried, good or failed.
//
//   KEELSON_ASSIGN_OR_RETURN(SlotStep step, StepSlots(view, BeginInstall{.slot = 4, .version = v}));
//   ... make step.failed_versions durable, then commit step.table ...
//
// Pure: a step takes what the disk and the ledger say, and gives what they should say. Steps never
// leave a disk without a bootable slot that had one, and each is one commit of the table, which a
// power cut leaves old or new:
//
//   BeginInstall   the slot can no longer boot (0, 0, no)  and may be overwritten
//   FinishInstall  it boots next, `tries` times at most    (top, tries, no)
//   TakeTry        a boot that no loader sees (kexec)      (priority stays, one less, stays)
//   Booted         what the boot has shown: versions that were rolled back are put on the ledger
//   MarkGood       it boots from now on                    (top, 0, yes)
//   MarkBad        it does not boot any more               (priority stays, 0, no)
//
// In parentheses: priority, tries left, successful. A boot loader takes a try at each boot; a slot
// whose tries are gone without MarkGood has failed, and the next best one boots.
#ifndef KEELSON_PARTITION_SLOTS_SLOT_MANAGER_H_
#define KEELSON_PARTITION_SLOTS_SLOT_MANAGER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "partition/slots/failed_versions.h"
#include "partition/slots/slot_table.h"

namespace keelson::partition {

enum class SlotState : uint8_t {
  kEmpty,    // priority 0: nothing in it, or being written
  kWritten,  // installed, not booted yet
  kTrying,   // booted, or being so, and not marked good
  kGood,     // successful
  kFailed,   // its tries are gone
};

// "empty", "written", ...
std::string_view SlotStateName(SlotState state);

// What is known when a step is taken.
struct SlotView {
  GptTable table;
  Guid type;                   // of the slots
  std::optional<int> running;  // the slot that this system booted from; empty: none of this disk
  FailedVersions failed_versions;
  int64_t unix_time = 0;
};

struct BeginInstall {
  int slot = 0;
  std::string version;
  bool force = false;  // though the version failed before, or the running slot is on trial
};
struct FinishInstall {
  int slot = 0;
  std::string label;           // empty: as it is
  std::optional<Guid> unique;  // empty: as it is
  int tries = 3;               // [1, 15]
  // The partition with the hash tree, if it has one of its own: gets label and GUID of the same
  // commit.
  int hash_partition = 0;
  std::optional<Guid> hash_unique;
};
struct TakeTry {
  int slot = 0;
};
struct Booted {};
struct MarkGood {
  int slot = 0;
};
struct MarkBad {
  int slot = 0;
  std::string reason;
  bool force = false;  // though no other slot is marked good
};
using SlotInput = std::variant<BeginInstall, FinishInstall, TakeTry, Booted, MarkGood, MarkBad>;

struct SlotStep {
  // To be made durable in this order. Equal to what the view had where nothing changes.
  FailedVersions failed_versions;
  GptTable table;
  std::string what;  // for people: "slot 4 boots next, with 3 tries"
};

// Errors:
//   NOT_FOUND            no such slot.
//   INVALID_ARGUMENT     tries out of range, or a label that is no name of a partition.
//   FAILED_PRECONDITION  the slot is running; without it no slot would be left that is known
//                        to boot; the version failed before (the message says why and when); the slot
//                        is in a state to which the input does not fit.
absl::StatusOr<SlotStep> StepSlots(const SlotView& view, const SlotInput& input);

// The state of each slot, in the order of the table.
struct SlotReport {
  Slot slot;
  SlotState state = SlotState::kEmpty;
  bool running = false;
  bool next = false;
  std::string why;  // "boots next: the greatest priority (2) of the bootable slots"
};
std::vector<SlotReport> ReportSlots(const SlotView& view);

// The slot that an installation should take: not running; empty or failed first, then the one of
// least priority. Empty: there is none.
std::optional<int> PassiveSlot(const SlotView& view);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_SLOTS_SLOT_MANAGER_H_
