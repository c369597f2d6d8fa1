// Losses of durable data: always of a minority that has not recovered yet, and the cluster must get
// over them by itself.
#include <algorithm>
#include <set>
#include <vector>

#include "raft/sim/nemesis.h"

namespace keelson::raft::sim {

namespace {

// The rest is a majority of `voters`; of none at all, too.
bool CanSpare(const std::vector<NodeId>& voters, const std::set<NodeId>& impaired) {
  const auto lost = std::count_if(voters.begin(), voters.end(),
                                  [&impaired](NodeId voter) { return impaired.count(voter) > 0; });
  return voters.empty() || 2 * static_cast<size_t>(lost) < voters.size();
}

}  // namespace

bool Nemesis::MayImpair(const SimNode& node) const {
  std::set<NodeId> impaired = {node.id()};
  for (const auto& each : env_.nodes) {
    if (each->impaired()) impaired.insert(each->id());
  }
  // No membership to come has fewer voters than the first one: see MembershipChurn::Care.
  if (2 * impaired.size() >= static_cast<size_t>(env_.swarm.nodes)) return false;
  const auto can_spare = [&impaired](const ConfState& state) {
    return CanSpare(state.voters, impaired) && CanSpare(state.voters_outgoing, impaired);
  };
  // A member that lags, or falls back at a restart, goes by any of those that there have been.
  const auto& changes = env_.invariants.memberships().changes();
  return std::all_of(changes.begin(), changes.end(),
                     [&](const auto& change) { return can_spare(change.second); }) &&
         std::all_of(env_.nodes.begin(), env_.nodes.end(), [&](const auto& each) {
           return can_spare(env_.invariants.MembershipOf(each->id()));
         });
}

void Nemesis::DamageOne() {
  SimNode& node = RandomNode();
  if (!node.running() || !MayImpair(node)) return;
  counts_.Add(Fault::kPowerLoss);
  CrashNode(node, CrashKind::kPower, Exponential(env_.swarm.restart_delay));
  node.Damage(random_, counts_);
}

void Nemesis::WipeOne() {
  SimNode& node = RandomNode();
  if (!node.running() || !MayImpair(node)) return;
  counts_.Add(Fault::kWipe);
  CrashNode(node, CrashKind::kPower, Exponential(env_.swarm.restart_delay));
  node.Wipe();
}

}  // namespace keelson::raft::sim
