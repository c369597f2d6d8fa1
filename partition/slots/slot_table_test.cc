#include "partition/slots/slot_table.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "base/testing/status_matchers.h"
#include "partition/partition_types.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

// Slots in partitions 3, 4, ...; partition 1 is something else.
GptTable TableOf(const std::vector<SlotBits>& slots) {
  GptTable table = *EmptyTable({.sectors = 4096}, {});
  table.entries[0] = {.type = {.bytes = {1}}, .attributes = WithSlotBits(0, {15, 15, true})};
  for (size_t i = 0; i < slots.size(); ++i) {
    table.entries[2 + i] = {.type = CoreOsUsrType(), .attributes = WithSlotBits(0, slots[i])};
  }
  return table;
}

std::vector<int> Priorities(const GptTable& table) {
  std::vector<int> out;
  for (const Slot& slot : SlotsOf(table, CoreOsUsrType())) out.push_back(slot.bits.priority);
  return out;
}

TEST_CASE("Slot bits are 48 to 56, and leave the others alone", "[slots][bits]") {
  CHECK(WithSlotBits(0, {.priority = 1, .tries = 1, .successful = true}) == 0x0111000000000000);
  CHECK(WithSlotBits(~uint64_t{0}, {}) == 0xfe00ffffffffffff);
  CHECK(WithSlotBits(0xfe00ffffffffffff, {.priority = 15, .tries = 15, .successful = true}) ==
        ~uint64_t{0});
  CHECK(SlotBitsOf(0x01a5000000000004) == SlotBits{.priority = 5, .tries = 10, .successful = true});
}

// gptprio.next in the words of its source: walk the entries; tries or success makes a candidate; a
// greater priority than the best so far, which starts at 0, makes it the best.
TEST_CASE("The choice between two slots is gptprio's in all 262144 cases", "[slots][next]") {
  GptTable table = TableOf({{}, {}});
  const auto bits = [](int code) {
    return SlotBits{.priority = code & 15, .tries = code >> 4 & 15, .successful = code >> 8 == 1};
  };
  int wrong = 0;
  for (int a = 0; a < 512; ++a) {
    for (int b = 0; b < 512; ++b) {
      SetSlotBits(table, 3, bits(a));
      SetSlotBits(table, 4, bits(b));
      int best_priority = 0;
      int want = 0;
      for (const int number : {3, 4}) {
        const SlotBits slot = bits(number == 3 ? a : b);
        if (slot.tries == 0 && !slot.successful) continue;
        if (slot.priority > best_priority) {
          best_priority = slot.priority;
          want = number;
        }
      }
      GptTable wanted = table;
      if (want != 0) {
        SlotBits taken = bits(want == 3 ? a : b);
        if (taken.tries > 0) --taken.tries;
        SetSlotBits(wanted, want, taken);
      }
      const std::optional<int> next = NextSlot(SlotsOf(table, CoreOsUsrType()));
      const std::optional<int> taken = TakeNext(table, CoreOsUsrType());
      if (next.value_or(0) != want || taken != next || table != wanted) ++wrong;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("Only partitions of the type count, in the order of the table", "[slots][next]") {
  const GptTable table = TableOf({{1, 1, false}, {2, 0, true}, {2, 3, true}});
  CHECK(NextSlot(SlotsOf(table, CoreOsUsrType())) == 4);
  CHECK(!NextSlot(SlotsOf(table, ChromeOsKernelType())).has_value());
  KEELSON_CHECK_ERROR(FindSlot(table, CoreOsUsrType(), 1), Code::kNotFound,
                      "partition 1 is not a slot; slots are: 3, 4, 5");
}

TEST_CASE("A boot takes a try also of a slot that is good", "[slots][next]") {
  GptTable table = TableOf({{1, 2, true}});
  CHECK(TakeNext(table, CoreOsUsrType()) == 3);
  CHECK(FindSlot(table, CoreOsUsrType(), 3)->bits == SlotBits{1, 1, true});
  CHECK(TakeNext(table, CoreOsUsrType()) == 3);
  CHECK(TakeNext(table, CoreOsUsrType()) == 3);
  CHECK(FindSlot(table, CoreOsUsrType(), 3)->bits == SlotBits{1, 0, true});
}

TEST_CASE("Priorities are numbered anew as cgpt does", "[slots][prioritize]") {
  struct Row {
    std::vector<int> before;
    PrioritizeOptions options;
    std::vector<int> after;
  };
  const auto row = GENERATE(values<Row>({
      {{5, 9, 9, 0}, {}, {1, 2, 2, 0}},
      {{5, 9, 9, 0}, {.number = 3}, {2, 1, 1, 0}},
      {{5, 9, 9, 0}, {.number = 4}, {1, 3, 2, 0}},
      {{5, 9, 9, 0}, {.number = 4, .friends = true}, {1, 2, 2, 0}},
      {{5, 9, 9, 0}, {.number = 6}, {1, 2, 2, 3}},
      {{0, 0, 0, 0}, {.number = 5}, {0, 0, 1, 0}},
      {{1, 2, 3, 4}, {.highest = 2}, {1, 1, 1, 2}},
      {{1, 2, 0, 4}, {.number = 3, .highest = 15}, {15, 13, 0, 14}},
  }));
  std::vector<SlotBits> slots;
  for (const int priority : row.before) slots.push_back({.priority = priority, .tries = 7});
  GptTable table = TableOf(slots);
  KEELSON_REQUIRE_OK(Prioritize(table, CoreOsUsrType(), row.options));
  CHECK(Priorities(table) == row.after);
  CHECK(FindSlot(table, CoreOsUsrType(), 3)->bits.tries == 7);
}

TEST_CASE("With more levels than priorities the lowest fall together", "[slots][prioritize]") {
  std::vector<SlotBits> slots;
  for (int priority = 15; priority >= 1; --priority) slots.push_back({.priority = priority});
  slots.push_back({.priority = 0});
  GptTable table = TableOf(slots);
  KEELSON_REQUIRE_OK(Prioritize(table, CoreOsUsrType(), {.number = 18}));
  CHECK(Priorities(table) ==
        std::vector<int>{14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1, 15});
}

TEST_CASE("What cannot be prioritized is refused", "[slots][prioritize]") {
  GptTable table = TableOf({{1, 0, true}});
  KEELSON_CHECK_ERROR(Prioritize(table, CoreOsUsrType(), {.number = 1}), Code::kNotFound,
                      "not a slot");
  for (const int highest : {0, 16, -1}) {
    KEELSON_CHECK_ERROR(Prioritize(table, CoreOsUsrType(), {.highest = highest}),
                        Code::kInvalidArgument, "expected 1 to 15");
  }
}

}  // namespace
}  // namespace keelson::partition
