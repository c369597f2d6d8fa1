#include "raft/internal/segment_pins.h"

#include <catch2/catch.hpp>

#include <map>
#include <set>
#include <vector>

#include "base/random.h"
#include "raft/internal/group_ids.h"

namespace keelson::raft::wal {
namespace {

TEST_CASE("A group pins the oldest segment with an entry after its start", "[raft][segment_pins]") {
  SegmentPins pins;
  CHECK(pins.Oldest() == std::nullopt);
  pins.Wrote(7, 1, 1, 5);
  pins.Wrote(7, 2, 6, 9);
  pins.Wrote(8, 2, 1, 1);
  CHECK(pins.Oldest() == 1);
  CHECK(pins.Before(3, 10) == std::vector<GroupId>{7, 8});
  CHECK(pins.Before(2, 10) == std::vector<GroupId>{7});
  CHECK(pins.Before(3, 1) == std::vector<GroupId>{7});

  pins.StartAt(7, 4);
  CHECK(pins.Oldest() == 1);
  pins.StartAt(7, 5);
  CHECK(pins.Oldest() == 2);
  pins.StartAt(7, 9);
  CHECK(pins.Before(3, 10) == std::vector<GroupId>{8});
  pins.Clear(8);
  CHECK(pins.Oldest() == std::nullopt);
}

TEST_CASE("Replaced entries pin nothing", "[raft][segment_pins]") {
  SegmentPins pins;
  pins.Wrote(7, 1, 1, 9);
  pins.Wrote(7, 2, 4, 6);  // replaces 4 to 9

  pins.StartAt(7, 3);

  CHECK(pins.Oldest() == 2);
}

// The naive twin knows for each entry the segment it is in.
TEST_CASE("Pins agree with a list of all entries", "[raft][segment_pins]") {
  const uint64_t seed = GENERATE(range(1, 40));
  INFO("seed " << seed);
  Random random(seed);
  SegmentPins pins;
  struct Twin {
    Index start = 0;
    std::map<Index, uint64_t> entries;  // index -> segment
  };
  std::map<GroupId, Twin> twins;
  uint64_t sequence = 1;
  for (int step = 0; step < 300; ++step) {
    const GroupId group = 1 + random.Below(4);
    Twin& twin = twins[group];
    const Index last = twin.entries.empty() ? twin.start : twin.entries.rbegin()->first;
    const uint64_t dice = random.Below(10);
    if (dice < 6) {
      const Index first = twin.start + 1 + random.Below(last - twin.start + 1);
      const Index end = first + random.Below(4);
      twin.entries.erase(twin.entries.lower_bound(first), twin.entries.end());
      for (Index index = first; index <= end; ++index) twin.entries[index] = sequence;
      pins.Wrote(group, sequence, first, end);
    } else if (dice < 8) {
      twin.start += random.Below(last - twin.start + 1);
      twin.entries.erase(twin.entries.begin(), twin.entries.upper_bound(twin.start));
      pins.StartAt(group, twin.start);
    } else if (dice < 9) {
      ++sequence;
    } else if (random.Below(4) == 0) {
      twins.erase(group);
      pins.Clear(group);
    }
    std::optional<uint64_t> oldest;
    std::set<GroupId> before;
    for (const auto& [id, other] : twins) {
      if (other.entries.empty()) continue;
      const uint64_t pinned = other.entries.begin()->second;
      if (!oldest.has_value() || pinned < *oldest) oldest = pinned;
      if (pinned < sequence) before.insert(id);
    }
    REQUIRE(pins.Oldest() == oldest);
    const std::vector<GroupId> got = pins.Before(sequence, 100);
    REQUIRE(std::set<GroupId>(got.begin(), got.end()) == before);
  }
}

TEST_CASE("A set of group ids keeps runs and agrees with a plain set", "[raft][group_ids]") {
  const uint64_t seed = GENERATE(range(1, 20));
  INFO("seed " << seed);
  Random random(seed);
  GroupIds ids;
  std::set<GroupId> twin;
  for (int step = 0; step < 100; ++step) {
    const GroupId first = 1 + random.Below(60);
    const GroupId last = first + random.Below(3);
    ids.Add(first, last);
    for (GroupId id = first; id <= last; ++id) twin.insert(id);

    GroupId before = 0;
    for (const auto& [run_first, run_last] : ids.ranges()) {
      REQUIRE((before == 0 || run_first > before + 1));
      before = run_last;
    }
    for (GroupId id = 0; id < 70; ++id) REQUIRE(ids.Contains(id) == twin.contains(id));
  }
}

}  // namespace
}  // namespace keelson::raft::wal
