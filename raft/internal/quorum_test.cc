// Quorum arithmetic against a naive twin (raft.md sections 4 and 5).
#include "raft/internal/quorum.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "base/random.h"

namespace keelson::raft::internal {
namespace {

using Ids = std::vector<NodeId>;
using Indexes = std::map<NodeId, Index>;
using Votes = std::map<NodeId, bool>;

Index Committed(const Ids& a, const Ids& b, const Indexes& indexes) {
  return JointCommitted(a, b, [&](NodeId id) -> std::optional<Index> {
    const auto it = indexes.find(id);
    return it == indexes.end() ? std::nullopt : std::optional<Index>(it->second);
  });
}

VoteResult Vote(const Ids& a, const Ids& b, const Votes& votes) {
  return JointVote(a, b, [&](NodeId id) -> std::optional<bool> {
    const auto it = votes.find(id);
    return it == votes.end() ? std::nullopt : std::optional<bool>(it->second);
  });
}

// By definition: the largest index at which some majority of every half has arrived.
Index NaiveCommitted(const Ids& a, const Ids& b, const Indexes& indexes) {
  Index best = 0;
  bool bounded = false;
  for (const Ids* half : {&a, &b}) {
    if (half->empty()) continue;
    Index half_best = 0;
    for (const NodeId candidate : *half) {
      const auto at = indexes.find(candidate);
      if (at == indexes.end()) continue;
      size_t count = 0;
      for (const NodeId id : *half) {
        const auto it = indexes.find(id);
        count += it != indexes.end() && it->second >= at->second ? 1 : 0;
      }
      if (2 * count > half->size()) half_best = std::max(half_best, at->second);
    }
    best = bounded ? std::min(best, half_best) : half_best;
    bounded = true;
  }
  return bounded ? best : kEveryIndex;
}

// By definition: won or lost when every way to fill in the missing votes wins or loses.
VoteResult NaiveVote(const Ids& a, const Ids& b, const Votes& votes) {
  Ids missing;
  for (const Ids* half : {&a, &b}) {
    for (const NodeId id : *half) {
      if (!votes.contains(id) && std::find(missing.begin(), missing.end(), id) == missing.end()) {
        missing.push_back(id);
      }
    }
  }
  bool can_win = false;
  bool can_lose = false;
  for (uint64_t mask = 0; mask < uint64_t{1} << missing.size(); ++mask) {
    Votes all = votes;
    for (size_t i = 0; i < missing.size(); ++i) all[missing[i]] = (mask >> i & 1) != 0;
    bool won = true;
    for (const Ids* half : {&a, &b}) {
      const auto yes =
          std::count_if(half->begin(), half->end(), [&](NodeId id) { return all[id]; });
      won = won && (half->empty() || 2 * static_cast<size_t>(yes) > half->size());
    }
    (won ? can_win : can_lose) = true;
  }
  if (can_win && can_lose) return VoteResult::kPending;
  return can_win ? VoteResult::kWon : VoteResult::kLost;
}

Ids RandomIds(Random& random) {
  Ids ids;
  const uint64_t size = random.Below(6);
  while (ids.size() < size) {
    const NodeId id = 1 + random.Below(7);
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

TEST_CASE("The committed index of any joint configuration is that of its naive twin",
          "[raft][quorum]") {
  Random random(20240601);
  for (int i = 0; i < 100000; ++i) {
    const Ids a = RandomIds(random);
    const Ids b = RandomIds(random);
    Indexes indexes;
    for (NodeId id = 1; id <= 7; ++id) {
      if (random.Bernoulli(0.8)) indexes[id] = random.Below(6);
    }
    const Index got = Committed(a, b, indexes);
    if (got == NaiveCommitted(a, b, indexes) && got == Committed(b, a, indexes)) continue;
    FAIL("round " << i << " differs: " << got << " and " << NaiveCommitted(a, b, indexes));
  }
}

TEST_CASE("The vote of any joint configuration is that of its naive twin", "[raft][quorum]") {
  Random random(20240602);
  for (int i = 0; i < 100000; ++i) {
    const Ids a = RandomIds(random);
    const Ids b = RandomIds(random);
    Votes votes;
    for (NodeId id = 1; id <= 7; ++id) {
      if (random.Bernoulli(0.7)) votes[id] = random.Bernoulli(0.5);
    }
    const VoteResult got = Vote(a, b, votes);
    if (got == NaiveVote(a, b, votes) && got == Vote(b, a, votes)) continue;
    FAIL("round " << i << " differs: " << static_cast<int>(got));
  }
}

TEST_CASE("Two even halves need more than half each", "[raft][quorum]") {
  CHECK(Committed({1, 2}, {}, {{1, 5}}) == 0);
  CHECK(Committed({1, 2}, {}, {{1, 5}, {2, 3}}) == 3);
  CHECK(Committed({1, 2, 3, 4}, {}, {{1, 9}, {2, 9}, {3, 4}}) == 4);
  CHECK(Vote({1, 2, 3, 4}, {}, {{1, true}, {2, true}}) == VoteResult::kPending);
  CHECK(Vote({1, 2, 3, 4}, {}, {{1, false}, {2, false}}) == VoteResult::kLost);
}

// Counting the union of both halves instead of each of them is bug 3 of raft.md section 14.
TEST_CASE("A majority of the union is not a majority of both halves", "[raft][quorum]") {
  CHECK(Committed({1, 2, 3}, {4, 5}, {{1, 7}, {2, 7}, {3, 7}}) == 0);
  CHECK(Vote({1, 2, 3}, {4, 5}, {{1, true}, {2, true}, {3, true}}) == VoteResult::kPending);
}

TEST_CASE("No voters at all decide for everything", "[raft][quorum]") {
  CHECK(Committed({}, {}, {}) == kEveryIndex);
  CHECK(Vote({}, {}, {}) == VoteResult::kWon);
}

}  // namespace
}  // namespace keelson::raft::internal
