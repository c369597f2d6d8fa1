// What a run draws from its seed: profiles, partitions, membership changes.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "raft/core.h"
#include "raft/sim/fault_counts.h"
#include "raft/sim/membership_churn.h"
#include "raft/sim/partition_modes.h"
#include "raft/sim/swarm.h"

namespace keelson::raft::sim {
namespace {

using Cuts = std::vector<std::pair<NodeId, NodeId>>;

TEST_CASE("A partition cuts what its shape says", "[raft][sim][draws]") {
  Random random(1);
  const std::vector<NodeId> five = {1, 2, 3, 4, 5};

  SECTION("isolated leader: all its links, both ways, and no other") {
    const Cuts cuts = CutsOf(PartitionMode::kIsolateLeader, five, 4, random);
    CHECK(cuts.size() == 8);
    for (const auto& [from, to] : cuts) CHECK((from == 4 || to == 4));
  }
  SECTION("bridge: one node keeps all its links") {
    const Cuts cuts = CutsOf(PartitionMode::kBridge, five, kNoNode, random);
    CHECK(cuts.size() == 12);
  }
  SECTION("ring: each node keeps two neighbours") {
    const Cuts cuts = CutsOf(PartitionMode::kRing, five, kNoNode, random);
    CHECK(cuts.size() == 10);
    for (const auto& [from, to] : cuts) CHECK((from > to ? from - to : to - from) % 4 > 1);
  }
  SECTION("one way: no link is cut in both directions") {
    for (int i = 0; i < 50; ++i) {
      const Cuts cuts = CutsOf(PartitionMode::kOneWaySplit, five, kNoNode, random);
      const std::set<std::pair<NodeId, NodeId>> all(cuts.begin(), cuts.end());
      for (const auto& [from, to] : cuts) CHECK(all.count({to, from}) == 0);
    }
  }
  SECTION("a uniform size leaves nobody out: both sides have members") {
    for (int i = 0; i < 50; ++i) {
      CHECK_FALSE(CutsOf(PartitionMode::kUniformSize, five, kNoNode, random).empty());
    }
  }
  SECTION("nobody, or one alone") {
    for (int mode = 0; mode < kPartitionModes; ++mode) {
      CHECK(CutsOf(static_cast<PartitionMode>(mode), {}, kNoNode, random).empty());
      CHECK(CutsOf(static_cast<PartitionMode>(mode), {7}, 7, random).empty());
    }
  }
}

TEST_CASE("Churn always leaves two ids that were never removed", "[raft][sim][draws]") {
  FaultCounts counts;
  const std::vector<NodeId> ids = {1, 2, 3, 4, 5};
  ConfState state;
  state.voters = {1, 2, 3};
  state.learners = {4};
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    MembershipChurn churn(ids);
    std::set<NodeId> removed;
    for (int i = 0; i < 200; ++i) {
      for (const ConfChangeSingle& single : churn.Draw(state, 1, random, counts).changes) {
        if (single.type == ConfChangeType::kRemoveNode) {
          removed.insert(single.node);
        } else if (i > 100) {
          // Kinds by name may pick a member that is on its way out; spares never are.
          CHECK((removed.count(single.node) == 0 || single.node <= 4));
        }
      }
    }
    CHECK(removed.size() <= ids.size() - 2);
  }
  for (const Fault fault : {Fault::kPromote, Fault::kDemote, Fault::kRemoveLeader, Fault::kAddVoter,
                            Fault::kAddLearner, Fault::kJointLeftOpen, Fault::kRemoveAll}) {
    INFO(FaultName(fault));
    CHECK(counts[fault] > 0);
  }
}

TEST_CASE("Careful churn leaves no fewer voters than there were, in whatever order changes come",
          "[raft][sim][draws]") {
  FaultCounts counts;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    MembershipChurn churn({1, 2, 3, 4, 5, 6}, MembershipChurn::Care::kKeepVoters);
    std::vector<ConfState> states(1);
    states[0].voters = {1, 2, 3};
    std::vector<ConfChange> asked;
    for (int i = 0; i < 60; ++i) {
      // Asked for by the view of a member that lags, and applied late, twice or never.
      const ConfState& seen =
          states[states.size() - 1 - random.Below(std::min<size_t>(states.size(), 4))];
      asked.push_back(churn.Draw(seen, 1, random, counts));
      const ConfChange& change = asked[random.Below(asked.size())];
      const absl::StatusOr<ConfState> next = ApplyToConfState(states.back(), change);
      if (!next.ok()) continue;
      REQUIRE(next->voters.size() >= 3);
      REQUIRE((next->voters_outgoing.empty() || next->voters_outgoing.size() >= 3));
      states.push_back(*next);
    }
  }
  CHECK(counts[Fault::kReplaceNode] > 0);
}

TEST_CASE("Every fault has a name of its own", "[raft][sim][draws]") {
  std::set<std::string> names;
  for (size_t i = 0; i < kFaults; ++i) names.insert(FaultName(static_cast<Fault>(i)));
  CHECK(names.size() == kFaults);
  CHECK(std::string(FaultName(Fault::kRetry)) == "retry");
  CHECK(std::string(FaultName(Fault::kSplit)) == "split");
  CHECK(std::string(FaultName(Fault::kBitRot)) == "bit rot");
}

TEST_CASE("A profile is found by its name, and the calm one has no fault", "[raft][sim][draws]") {
  for (const Profile& profile : Profiles()) CHECK(FindProfile(profile.name) == &profile);
  CHECK(FindProfile("no such profile") == nullptr);
  CHECK(std::string(Profiles().front().name) == "default");

  const Swarm calm = DrawSwarm(Random(3), 3, *FindProfile("calm"));
  CHECK(calm.crash_interval == absl::ZeroDuration());
  CHECK(calm.partition_interval == absl::ZeroDuration());
  CHECK(calm.network.drop == 0);
  CHECK(calm.disk.sync_error == 0);
}

}  // namespace
}  // namespace keelson::raft::sim
