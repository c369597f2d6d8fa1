#include "partition/slots/slot_table.h"

#include <algorithm>
#include <functional>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

constexpr int kPriorityBit = 48;
constexpr int kTriesBit = 52;
constexpr int kSuccessfulBit = 56;
constexpr uint64_t kSlotMask = uint64_t{0x1ff} << kPriorityBit;

// Of the slot that boots, among those it is called with in the order of the table.
const Slot* Best(std::span<const Slot> slots) {
  const Slot* best = nullptr;
  for (const Slot& slot : slots) {
    if (!slot.bits.bootable()) continue;
    if (best == nullptr || slot.bits.priority > best->bits.priority) best = &slot;
  }
  return best;
}

}  // namespace

SlotBits SlotBitsOf(uint64_t attributes) {
  return {.priority = static_cast<int>(attributes >> kPriorityBit & 15),
          .tries = static_cast<int>(attributes >> kTriesBit & 15),
          .successful = (attributes >> kSuccessfulBit & 1) != 0};
}

uint64_t WithSlotBits(uint64_t attributes, const SlotBits& bits) {
  KEELSON_CHECK(bits.priority >= 0 && bits.priority <= kSlotPriorityMax) << bits.priority;
  KEELSON_CHECK(bits.tries >= 0 && bits.tries <= kSlotTriesMax) << bits.tries;
  return (attributes & ~kSlotMask) | static_cast<uint64_t>(bits.priority) << kPriorityBit |
         static_cast<uint64_t>(bits.tries) << kTriesBit |
         uint64_t{bits.successful} << kSuccessfulBit;
}

std::vector<Slot> SlotsOf(const GptTable& table, const Guid& type) {
  std::vector<Slot> slots;
  for (size_t i = 0; i < table.entries.size(); ++i) {
    const GptEntry& entry = table.entries[i];
    if (!entry.used() || entry.type != type) continue;
    slots.push_back({.number = static_cast<int>(i) + 1,
                     .label = NameOf(entry),
                     .unique = entry.unique,
                     .bits = SlotBitsOf(entry.attributes)});
  }
  return slots;
}

absl::StatusOr<Slot> FindSlot(const GptTable& table, const Guid& type, int number) {
  const std::vector<Slot> slots = SlotsOf(table, type);
  for (const Slot& slot : slots) {
    if (slot.number == number) return slot;
  }
  const std::string numbers = absl::StrJoin(
      slots, ", ", [](std::string* out, const Slot& slot) { absl::StrAppend(out, slot.number); });
  return absl::NotFoundError(absl::StrCat(
      "partition ", number, " is not a slot; slots are: ", numbers.empty() ? "none" : numbers));
}

std::optional<int> NextSlot(std::span<const Slot> slots) {
  const Slot* best = Best(slots);
  if (best == nullptr) return std::nullopt;
  return best->number;
}

std::optional<int> TakeNext(GptTable& table, const Guid& type) {
  const std::vector<Slot> slots = SlotsOf(table, type);
  const Slot* best = Best(slots);
  if (best == nullptr) return std::nullopt;
  SlotBits bits = best->bits;
  if (bits.tries > 0) --bits.tries;
  SetSlotBits(table, best->number, bits);
  return best->number;
}

void SetSlotBits(GptTable& table, int number, const SlotBits& bits) {
  KEELSON_CHECK(number >= 1 && static_cast<size_t>(number) <= table.entries.size()) << number;
  uint64_t& attributes = table.entries[number - 1].attributes;
  attributes = WithSlotBits(attributes, bits);
}

absl::Status Prioritize(GptTable& table, const Guid& type, const PrioritizeOptions& options) {
  if (options.highest.has_value() &&
      (*options.highest < 1 || *options.highest > kSlotPriorityMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("highest priority ", *options.highest, ": expected 1 to ", kSlotPriorityMax));
  }
  std::vector<Slot> slots = SlotsOf(table, type);
  if (options.number.has_value()) {
    KEELSON_ASSIGN_OR_RETURN(const Slot chosen, FindSlot(table, type, *options.number));
    for (Slot& slot : slots) {
      const bool friends = options.friends && slot.bits.priority == chosen.bits.priority;
      // Above all that a disk can say.
      if (slot.number == chosen.number || friends) slot.bits.priority = kSlotPriorityMax + 1;
    }
  }
  std::set<int, std::greater<>> levels;
  for (const Slot& slot : slots) {
    if (slot.bits.priority > 0) levels.insert(slot.bits.priority);
  }
  const int needed = std::min(kSlotPriorityMax, static_cast<int>(levels.size()));
  int priority = options.highest.value_or(needed);
  for (const int level : levels) {
    for (const Slot& slot : slots) {
      if (slot.bits.priority != level) continue;
      SlotBits bits = slot.bits;
      bits.priority = priority;
      SetSlotBits(table, slot.number, bits);
    }
    priority = std::max(1, priority - 1);
  }
  return absl::OkStatus();
}

}  // namespace keelson::partition
