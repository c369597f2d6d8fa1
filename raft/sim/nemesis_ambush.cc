// Faults that follow the protocol: they wait for the moment at which a step has been begun and
// is not safe yet. Blind faults hit such moments too seldom.
#include <algorithm>

#include "raft/sim/nemesis.h"

namespace keelson::raft::sim {

// In the middle of a step of the core: what happens, happens a little later.
void Nemesis::OnEvent(NodeId id, const AnyEvent& event) {
  if (!on_) return;
  if (event.Became(Role::kLeader) != nullptr) {
    led_since_ = env_.world.now();
    if (leader_crashed_at_.has_value()) {
      failovers_.push_back(absl::FDivDuration(led_since_ - *leader_crashed_at_, ElectionTimeout()));
      leader_crashed_at_.reset();
    }
    MaybeKeepPrivate(id);
    if (env_.world.now() < turns_until_ && in_turns_.contains(id)) {
      KeepPrivate(id, turn_ + absl::Milliseconds(3));
    }
  }
  const double chance = env_.swarm.ambush;
  if (chance == 0 || env_.world.now() < quiet_until_) return;
  const bool election = event.Became(Role::kLeader) != nullptr;
  const auto* vote = event.As<trace::VoteCast>();
  const auto* changed = event.As<event::ConfChanged>();
  const auto* timeout_now = event.As<trace::TimeoutNowSent>();
  if (election && random_.Bernoulli(chance)) {
    Ambush([this, id] { AtElection(id); });
  } else if (vote != nullptr && vote->granted && !vote->pre_vote && random_.Bernoulli(chance)) {
    Ambush([this, id, candidate = vote->candidate] { AtVote(id, candidate); });
  } else if (changed != nullptr && random_.Bernoulli(chance)) {
    Ambush([this, id, joint = !changed->conf_state.voters_outgoing.empty()] {
      AtMembershipChange(id, joint);
    });
  } else if (timeout_now != nullptr && random_.Bernoulli(chance)) {
    Ambush([this, id, to = timeout_now->to] { CutPair(id, to); });
  } else if (event.Is<trace::LogConflict>() || event.Is<trace::SnapshotRestoring>()) {
    if (random_.Bernoulli(chance)) Ambush([this, id] { CutInOperation(NodeOf(id), 8); });
  } else if (event.Is<trace::ElectionStarted>() && random_.Bernoulli(chance * 0.3)) {
    Ambush([this] {
      if (Node* rival = RandomNode().node(); rival != nullptr) rival->Campaign();
    });
  }
}

// A message that makes its receiver write more than one thing: a part of it may survive.
void Nemesis::OnArrive(const Message& message) {
  if (!on_ || message.type != MessageType::kApp || message.entries.empty()) return;
  SimNode& receiver = NodeOf(message.to);
  if (env_.swarm.ambush == 0 || env_.world.now() < quiet_until_) return;
  const HardState& durable = env_.invariants.DiskOf(message.to).durable_state;
  const bool new_term = message.term > durable.term;
  const bool catches_up = message.entries.size() > 1 && message.commit > message.index;
  if (!new_term && !catches_up) return;
  if (!random_.Bernoulli(env_.swarm.ambush * (new_term ? 0.5 : 0.2))) return;
  counts_.Add(Fault::kAmbush);
  quiet_until_ = env_.world.now() + Exponential(absl::Milliseconds(40));
  CutInOperation(receiver, 3);
}

void Nemesis::OnDisk(NodeId id, DiskStep step) {
  if (on_ && step == DiskStep::kRecovered && doomed_.erase(id) > 0) {
    env_.world.After(Exponential(absl::Milliseconds(1)), [this, id] {
      if (on_) LosePower(NodeOf(id));
    });
    return;
  }
  if (!on_ || env_.swarm.ambush == 0 || env_.world.now() < quiet_until_) return;
  // A log that was read anew, or has just lost its beginning, is in the most danger.
  const double chance = env_.swarm.ambush * (step == DiskStep::kRecovered ? 0.3 : 0.1);
  if (!random_.Bernoulli(chance)) return;
  Ambush([this, id] { LosePower(NodeOf(id)); });
}

void Nemesis::Ambush(std::function<void()> fault) {
  counts_.Add(Fault::kAmbush);
  quiet_until_ = env_.world.now() + Exponential(absl::Milliseconds(40));
  // Mostly at once, else when the step has gone some way.
  const absl::Duration mean =
      random_.Bernoulli(0.5) ? absl::Microseconds(50) : absl::Milliseconds(2);
  env_.world.After(Exponential(mean), [this, fault = std::move(fault)] {
    if (on_) fault();
  });
}

void Nemesis::AtElection(NodeId leader) {
  SimNode& node = NodeOf(leader);
  switch (random_.Below(6)) {
    case 0:
      return Isolate(leader);
    case 1:
      return LosePower(node);
    case 2:
      return CutInOperation(node, 4);
    case 3:
      // Changes on top of one that the new leader may have inherited.
      ChangeAt(node);
      return ChangeAt(node);
    case 4:
      if (node.node() != nullptr) node.node()->TransferLeadership(RandomNode().id());
      return;
    default:
      // One that is elected anew while its first entry is under way.
      if (Node* rival = RandomNode().node(); rival != nullptr) rival->Campaign();
  }
}

void Nemesis::AtVote(NodeId voter, NodeId candidate) {
  switch (random_.Below(4)) {
    case 0:
      return LosePower(NodeOf(voter));
    case 1:
      return CutInOperation(NodeOf(voter), 3);
    case 2:
      return LosePower(NodeOf(candidate));
    default:
      return CutPair(voter, candidate);
  }
}

void Nemesis::AtMembershipChange(NodeId id, bool joint) {
  SimNode& node = NodeOf(id);
  switch (random_.Below(joint ? 7 : 5)) {
    case 0:
      return LosePower(node);
    case 1:
      ChangeAt(node);
      return ChangeAt(node);
    case 2:
      if (Node* rival = RandomNode().node(); rival != nullptr) rival->Campaign();
      return;
    case 3:
      if (node.node() != nullptr) node.node()->TransferLeadership(RandomNode().id());
      return;
    case 4:
      return LeaveBehind(RandomNode());
    case 5:
      return Isolate(Leader() == kNoNode ? id : Leader());
    default: {
      // The leader goes, and a part of the members must elect among themselves.
      const NodeId leader = Leader() == kNoNode ? id : Leader();
      LosePower(NodeOf(leader));
      network_.CutLinks(Leader());
      if (Node* rival = RandomNode().node(); rival != nullptr) rival->Campaign();
    }
  }
}

// --- What an ambush does ---

void Nemesis::LosePower(SimNode& node) {
  if (!node.running()) return;
  counts_.Add(Fault::kPowerLoss);
  CrashNode(node, CrashKind::kPower, Exponential(env_.swarm.restart_delay));
}

void Nemesis::CutInOperation(SimNode& node, uint64_t operations) {
  if (!node.running()) return;
  if (random_.Bernoulli(env_.swarm.kill_share)) kills_.insert(node.id());
  node.disk().CutPowerAfter(random_.Below(operations));
}

void Nemesis::CutPair(NodeId a, NodeId b) {
  counts_.Add(Fault::kSplit);
  CutFor(Exponential(env_.swarm.partition_time), {{a, b}, {b, a}});
}

void Nemesis::Isolate(NodeId node) {
  counts_.Add(Fault::kIsolateLeader);
  CutOff(node, Exponential(env_.swarm.partition_time));
}

void Nemesis::CutOff(NodeId node, absl::Duration time) {
  std::vector<std::pair<NodeId, NodeId>> cuts;
  for (const NodeId peer : Ids()) {
    cuts.emplace_back(node, peer);
    cuts.emplace_back(peer, node);
  }
  CutFor(time, cuts);
}

// It hears what is committed, but its state machine stands still and gets it only when the others
// have gone on without it for a while, and perhaps sent it a snapshot.
void Nemesis::LeaveBehind(SimNode& node) {
  counts_.Add(Fault::kPause);
  const absl::Duration begin = Exponential(absl::Milliseconds(10));
  const absl::Duration time = Exponential(env_.swarm.partition_time);
  node.PauseApply(begin + time + Exponential(env_.swarm.partition_time));
  env_.world.After(begin, [this, id = node.id(), time] {
    if (on_) CutOff(id, time);
  });
}

void Nemesis::CutFor(absl::Duration time, const std::vector<std::pair<NodeId, NodeId>>& cuts) {
  for (const auto& [from, to] : cuts) {
    env_.network.SetLink(from, to, false);
    env_.world.Trace("cut", {from, to});
  }
  env_.world.After(time, [this, cuts] {
    for (const auto& [from, to] : cuts) {
      env_.network.SetLink(from, to, true);
      env_.world.Trace("join", {from, to});
    }
  });
}

void Nemesis::ChangeAt(SimNode& node) {
  if (node.node() == nullptr) return;
  const ConfState state = env_.invariants.MembershipOf(node.id());
  ConfChange change = churn_.Draw(state, node.id(), random_, counts_);
  env_.world.Trace("membership",
                   {node.id(), static_cast<uint64_t>(change.transition), change.changes.size()});
  node.node()->ProposeConfChange(std::move(change), nullptr);
}

// Only the witness, which is the same node each time, hears what `leader` sends.
void Nemesis::KeepPrivate(NodeId leader, absl::Duration time) {
  const auto witness = static_cast<NodeId>(env_.swarm.nodes);
  std::vector<std::pair<NodeId, NodeId>> cuts;
  for (const NodeId peer : Ids()) {
    if (peer != witness) cuts.emplace_back(leader, peer);
  }
  CutFor(time, cuts);
}

// One node leads, then another, then the first again, while the disk of the witness stands still: it is
// to write an entry, what replaces it, and the same entry again. The votes that they ask for are in
// front of all that, so that it is written together.
void Nemesis::TakeTurns() {
  const auto witness = static_cast<NodeId>(env_.swarm.nodes);
  NodeId first = 1 + random_.Below(witness - 1);
  if (first == Leader()) first = 1 + first % (witness - 1);
  const NodeId second = 1 + (first + random_.Below(witness - 2)) % (witness - 1);
  counts_.Add(Fault::kPrivateLeader, 2);
  turn_ = absl::Milliseconds(8) + Exponential(absl::Milliseconds(4));
  turns_until_ = env_.world.now() + 2 * turn_;
  in_turns_ = {first, second};
  StallDisk(NodeOf(witness), 3 * turn_ + Exponential(turn_));
  absl::Duration begin;
  for (const NodeId id : {first, second, first}) {
    env_.world.After(begin, [this, id] {
      if (Node* node = NodeOf(id).node(); on_ && node != nullptr) node->Campaign();
    });
    begin += turn_;
  }
}

// A new leader reaches one other node only, the same one each time, until it is deposed: that
// node gets to know one tail after the other that nobody else has.
void Nemesis::MaybeKeepPrivate(NodeId leader) {
  if (!random_.Bernoulli(env_.swarm.private_leaders)) return;
  const auto witness = static_cast<NodeId>(env_.swarm.nodes);
  if (leader == witness) return;
  // One that is back wins with what it wrote before.
  if (leader == before_last_private_ && random_.Bernoulli(0.6)) return;
  NodeId rival = 1 + random_.Below(witness - 1);
  // The one before, often: it writes the same entries again over those of this one.
  if (last_private_ != kNoNode && random_.Bernoulli(0.5)) rival = last_private_;
  if (rival == leader) rival = 1 + rival % (witness - 1);
  before_last_private_ = last_private_;
  last_private_ = leader;
  counts_.Add(Fault::kPrivateLeader);
  const absl::Duration time = absl::Milliseconds(2) + Exponential(env_.swarm.private_time);
  // At once, or when all have its first entries.
  const absl::Duration begin =
      random_.Bernoulli(0.5) ? absl::ZeroDuration() : Exponential(absl::Milliseconds(8));
  env_.world.After(begin, [this, leader, time] {
    if (!on_) return;
    KeepPrivate(leader, time);
    if (Node* node = NodeOf(leader).node(); node != nullptr && random_.Bernoulli(0.3)) {
      ChangeAt(NodeOf(leader));
    }
  });
  env_.world.After(begin + time + Exponential(absl::Milliseconds(3)), [this, rival] {
    if (on_ && NodeOf(rival).node() != nullptr) NodeOf(rival).node()->Campaign();
  });
}

}  // namespace keelson::raft::sim
