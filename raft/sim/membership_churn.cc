#include "raft/sim/membership_churn.h"

#include <algorithm>

namespace keelson::raft::sim {
namespace {

bool Contains(const std::vector<NodeId>& nodes, NodeId node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

NodeId AnyOf(const std::vector<NodeId>& nodes, Random& random) {
  return nodes.empty() ? kNoNode : nodes[random.Below(nodes.size())];
}

}  // namespace

std::vector<NodeId> MembershipChurn::Spares(const ConfState& state) const {
  std::vector<NodeId> spares;
  for (const NodeId id : ids_) {
    if (retired_.count(id) == 0 && !Contains(state.voters, id) && !Contains(state.learners, id) &&
        !Contains(state.voters_outgoing, id)) {
      spares.push_back(id);
    }
  }
  return spares;
}

void MembershipChurn::Remove(NodeId node, ConfChange& change) {
  if (retired_.count(node) == 0 && !MayRetire(1)) return;
  retired_.insert(node);
  change.changes.push_back({.type = ConfChangeType::kRemoveNode, .node = node});
}

void MembershipChurn::AddRandom(ConfChange& change, Random& random, FaultCounts& counts) {
  const NodeId node = ids_[random.Below(ids_.size())];
  const uint64_t what = random.Below(4);
  if (what == 1 || retired_.count(node) > 0) {
    counts.Add(Fault::kRemove);
    return Remove(node, change);
  }
  const bool learner = what == 0;
  counts.Add(learner ? Fault::kAddLearner : Fault::kAddVoter);
  change.changes.push_back(
      {.type = learner ? ConfChangeType::kAddLearner : ConfChangeType::kAddNode, .node = node});
}

void MembershipChurn::Replace(const std::vector<NodeId>& old_nodes,
                              const std::vector<NodeId>& new_nodes, ConfChange& change) {
  for (const NodeId node : new_nodes) {
    change.changes.push_back({.type = ConfChangeType::kAddNode, .node = node});
  }
  for (const NodeId node : old_nodes) Remove(node, change);
}

ConfChange MembershipChurn::DrawCareful(const ConfState& state, Random& random,
                                        FaultCounts& counts) {
  ConfChange change;
  change.transition = static_cast<ConfChangeTransition>(random.Below(3));
  const uint64_t what = random.Below(8);
  if (what < 2) return change;  // Leave a joint membership.
  std::vector<NodeId> spares = Spares(state);
  std::erase_if(spares, [this](NodeId id) { return substitutes_.count(id) > 0; });
  if (what < 5 && !spares.empty() && !state.voters.empty()) {
    const NodeId old_node = AnyOf(state.voters, random);
    const NodeId new_node = AnyOf(spares, random);
    if (retired_.count(old_node) > 0 || !MayRetire(1)) return change;
    counts.Add(Fault::kReplaceNode);
    substitutes_.insert(new_node);
    Replace({old_node}, {new_node}, change);
  } else if (!spares.empty()) {
    // Never a learner: asked for late, when it votes already, that would take a voter away.
    const NodeId node = AnyOf(spares, random);
    counts.Add(Fault::kAddVoter);
    change.changes.push_back({.type = ConfChangeType::kAddNode, .node = node});
  }
  return change;
}

ConfChange MembershipChurn::Draw(const ConfState& state, NodeId leader, Random& random,
                                 FaultCounts& counts) {
  if (care_ == Care::kKeepVoters) return DrawCareful(state, random, counts);
  ConfChange change;
  change.transition = static_cast<ConfChangeTransition>(random.Below(3));
  const std::vector<NodeId> spares = Spares(state);
  const uint64_t what = random.Below(12);
  if (what == 0 && !state.learners.empty()) {
    counts.Add(Fault::kPromote);
    change.changes.push_back(
        {.type = ConfChangeType::kAddNode, .node = AnyOf(state.learners, random)});
  } else if (what == 1 && state.voters.size() > 1) {
    counts.Add(Fault::kDemote);
    change.changes.push_back(
        {.type = ConfChangeType::kAddLearner, .node = AnyOf(state.voters, random)});
  } else if (what == 2 && leader != kNoNode && MayRetire(1)) {
    counts.Add(Fault::kRemoveLeader);
    Remove(leader, change);
  } else if (what == 3 && !spares.empty() && !state.voters.empty() && MayRetire(1)) {
    counts.Add(Fault::kReplaceNode);
    const NodeId old_node = AnyOf(state.voters, random);
    const NodeId new_node = AnyOf(spares, random);
    Replace({old_node}, {new_node}, change);
  } else if (what == 4 && spares.size() >= 2 && MayRetire(state.voters.size())) {
    counts.Add(Fault::kReplaceAll);
    Replace(state.voters, spares, change);
  } else if (what == 5) {
    // An operator's mistake, which must be refused.
    counts.Add(Fault::kRemoveAll);
    for (const NodeId voter : state.voters) {
      change.changes.push_back({.type = ConfChangeType::kAddLearner, .node = voter});
    }
  } else {
    // None: leave a joint membership.
    for (uint64_t left = random.Below(4); left > 0; --left) AddRandom(change, random, counts);
  }
  if (change.transition == ConfChangeTransition::kJointExplicit && change.changes.size() > 1) {
    counts.Add(Fault::kJointLeftOpen);
  }
  return change;
}

}  // namespace keelson::raft::sim
