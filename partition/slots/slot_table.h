// Which partition of a kind boots next: priority, tries left and a mark of success in the attribute
// bits of each, in the encoding of ChromeOS and Container Linux.
//
//   for (const Slot& slot : SlotsOf(table, CoreOsUsrType())) ...
//   const std::optional<int> next = TakeNext(table, CoreOsUsrType());   // as a boot loader does
//
// The rule is that of gptprio: of the slots that have tries left or were successful, the one of
// greatest priority, of several the first in the table; priority 0 never. A boot takes a try, also
// of a successful slot, and the loader makes that durable before it starts anything.
//
// Sources: coreos/grub gptprio.c; ChromiumOS disk format; cgpt's `prioritize`.
// Threading: functions on values.
#ifndef KEELSON_PARTITION_SLOTS_SLOT_TABLE_H_
#define KEELSON_PARTITION_SLOTS_SLOT_TABLE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "partition/gpt.h"
#include "partition/guid.h"

namespace keelson::partition {

inline constexpr int kSlotPriorityMax = 15;
inline constexpr int kSlotTriesMax = 15;

// Attribute bits 48 to 51, 52 to 55 and 56.
struct SlotBits {
  int priority = 0;  // [0, 15]; 0: never boots
  int tries = 0;     // left, [0, 15]
  bool successful = false;

  [[nodiscard]] bool bootable() const { return priority > 0 && (tries > 0 || successful); }
  friend bool operator==(const SlotBits&, const SlotBits&) = default;
};

SlotBits SlotBitsOf(uint64_t attributes);
// `attributes` with the slot bits replaced. `bits` must be in range.
uint64_t WithSlotBits(uint64_t attributes, const SlotBits& bits);

struct Slot {
  int number = 0;     // of the partition, from 1
  std::string label;  // UTF-8
  Guid unique;
  SlotBits bits;

  friend bool operator==(const Slot&, const Slot&) = default;
};

// The partitions of `type`, in the order of the table.
std::vector<Slot> SlotsOf(const GptTable& table, const Guid& type);

// Partition `number` as a slot. NOT_FOUND: none of `type` has that number; the message lists those
// that there are.
absl::StatusOr<Slot> FindSlot(const GptTable& table, const Guid& type, int number);

// The number of the slot that boots next; empty if none is bootable.
std::optional<int> NextSlot(std::span<const Slot> slots);

// As NextSlot, and takes a try from it if it has any left.
std::optional<int> TakeNext(GptTable& table, const Guid& type);

// Replaces the bits of partition `number`, which must exist.
void SetSlotBits(GptTable& table, int number, const SlotBits& bits);

struct PrioritizeOptions {
  std::optional<int> number;   // the slot that gets a priority of its own, above all others
  bool friends = false;        // and with it those that had its priority
  std::optional<int> highest;  // the priority of the first, [1, 15]; else as few as are needed
};

// Numbers priorities anew as `cgpt prioritize` does: slots of equal priority stay equal, the order
// stays, no priority is lowered to 0 and those of 0 stay there (but for the chosen one).
// NOT_FOUND: as FindSlot. INVALID_ARGUMENT: `highest` out of range.
absl::Status Prioritize(GptTable& table, const Guid& type, const PrioritizeOptions& options);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_SLOTS_SLOT_TABLE_H_
