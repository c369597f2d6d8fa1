#include "raft/sim/nemesis.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace keelson::raft::sim {
namespace {

std::vector<NodeId> IdsOf(const std::vector<std::unique_ptr<SimNode>>& nodes) {
  std::vector<NodeId> ids;
  for (const auto& node : nodes) ids.push_back(node->id());
  return ids;
}

}  // namespace

Nemesis::Nemesis(const Env& env)
    : env_(env),
      random_(env.world.Stream("faults")),
      churn_(IdsOf(env.nodes), env.swarm.damage_interval > absl::ZeroDuration() ||
                                       env.swarm.wipe_interval > absl::ZeroDuration()
                                   ? MembershipChurn::Care::kKeepVoters
                                   : MembershipChurn::Care::kNone),
      network_({.world = env.world,
                .network = env.network,
                .swarm = env.swarm,
                .random = random_,
                .counts = counts_},
               IdsOf(env.nodes)) {}

std::vector<NodeId> Nemesis::Ids() const { return IdsOf(env_.nodes); }

absl::Duration Nemesis::Exponential(absl::Duration mean) {
  return absl::Nanoseconds(static_cast<int64_t>(
      random_.Exponential(static_cast<double>(absl::ToInt64Nanoseconds(mean)))));
}

void Nemesis::Repeat(absl::Duration mean, std::function<void()> fault) {
  if (mean == absl::ZeroDuration()) return;
  env_.world.After(Exponential(mean), [this, mean, fault = std::move(fault)] {
    if (!on_) return;
    fault();
    Repeat(mean, fault);
  });
}

void Nemesis::Start() {
  const Swarm& swarm = env_.swarm;
  for (const auto& node : env_.nodes) {
    env_.world.After(Exponential(absl::Milliseconds(20)), [this, &node] { StartNode(*node); });
  }
  if (swarm.slow_nodes > 0) counts_.Add(Fault::kSlowCpu, static_cast<uint64_t>(swarm.slow_nodes));
  Repeat(swarm.crash_interval, [this] { CrashOne(); });
  Repeat(swarm.cluster_crash_interval, [this] { CrashAll(); });
  Repeat(swarm.pause_interval, [this] { PauseOne(); });
  Repeat(swarm.partition_interval, [this] { network_.CutLinks(Leader()); });
  Repeat(swarm.clog_interval, [this] { network_.ClogLink(); });
  Repeat(swarm.swizzle_interval, [this] { network_.Swizzle(); });
  Repeat(swarm.transfer_interval, [this] { AskForLeadership(); });
  Repeat(swarm.membership_interval, [this] { ChangeMembership(); });
  if (swarm.private_leaders > 0) {
    Repeat(absl::Milliseconds(80), [this] {
      if (const NodeId leader = Leader(); leader != kNoNode) MaybeKeepPrivate(leader);
    });
  }
  Repeat(swarm.turns_interval, [this] { TakeTurns(); });
  Repeat(swarm.leader_crash_interval, [this] { CrashLeader(); });
  Repeat(swarm.bad_sync_interval, [this] { FailSync(); });
  Repeat(swarm.full_disk_interval, [this] {
    // A little room is left, or none at all.
    SimNode& node = RandomNode();
    FillDisk(node, random_.Below(env_.swarm.segment_bytes * 2));
  });
  Repeat(swarm.disk_stall_interval, [this] {
    SimNode& node = RandomNode();
    StallDisk(node, Exponential(env_.swarm.disk_stall_time));
  });
  Repeat(swarm.clock_interval, [this] { ChangeClock(); });
  Repeat(swarm.damage_interval, [this] { DamageOne(); });
  Repeat(swarm.wipe_interval, [this] { WipeOne(); });
}

// --- Machines ---

void Nemesis::CrashOne() {
  SimNode& node = RandomNode();
  if (!node.running()) return;
  if (random_.Bernoulli(env_.swarm.cut_share)) {
    // Somewhere in the next operations of its disk, perhaps between a write and its sync.
    return CutInOperation(node, 12);
  }
  const bool power = random_.Bernoulli(env_.swarm.power_share);
  if (random_.Bernoulli(env_.swarm.crash_loop_share)) {
    counts_.Add(Fault::kCrashLoop);
    CrashLoop(node, 2 + random_.Below(6));
  }
  counts_.Add(power ? Fault::kPowerLoss : Fault::kProcessCrash);
  CrashNode(node, power ? CrashKind::kPower : CrashKind::kProcess,
            Exponential(env_.swarm.restart_delay));
}

void Nemesis::CrashLoop(SimNode& node, uint64_t times) {
  if (times == 0 || !on_) return;
  env_.world.After(env_.swarm.restart_delay + Exponential(absl::Milliseconds(20)),
                   [this, &node, times] {
                     if (!on_) return;
                     if (node.running()) {
                       counts_.Add(Fault::kProcessCrash);
                       CrashNode(node, CrashKind::kProcess, absl::Milliseconds(1));
                     }
                     CrashLoop(node, times - 1);
                   });
}

void Nemesis::CrashAll() {
  counts_.Add(Fault::kClusterPowerLoss);
  for (const auto& node : env_.nodes) {
    if (node->running()) CrashNode(*node, CrashKind::kPower, Exponential(env_.swarm.restart_delay));
  }
}

void Nemesis::CrashLeader() {
  const bool settled = !leader_crashed_at_.has_value() &&
                       env_.world.now() - led_since_ > 3 * ElectionTimeout() &&
                       std::all_of(env_.nodes.begin(), env_.nodes.end(),
                                   [](const auto& node) { return node->running(); });
  const NodeId leader = settled ? Leader() : kNoNode;
  if (leader == kNoNode) return;
  counts_.Add(Fault::kProcessCrash);
  leader_crashed_at_ = env_.world.now();
  CrashNode(NodeOf(leader), CrashKind::kProcess, 6 * ElectionTimeout());
}

void Nemesis::CrashNode(SimNode& node, CrashKind kind, absl::Duration restart_after) {
  ++crashes_;
  node.Crash(kind);
  RestartLater(node, restart_after);
}

void Nemesis::RestartLater(SimNode& node, absl::Duration delay) {
  env_.world.After(delay, [this, &node] {
    if (!node.running()) StartNode(node);
  });
}

void Nemesis::StartNode(SimNode& node) {
  // Now and then the power fails again while the node recovers.
  if (on_ && random_.Bernoulli(env_.swarm.cut_share * 0.3)) {
    counts_.Add(Fault::kCrashInRecovery);
    node.disk().CutPowerAfter(random_.Below(8));
  }
  if (on_ && env_.swarm.changed_options > 0 && random_.Bernoulli(env_.swarm.changed_options)) {
    counts_.Add(Fault::kChangedOptions);
    Node::Options options = env_.swarm.node;
    DrawLimits(random_, options);
    node.SetNodeOptions(options);
  }
  const absl::Status status = node.Start();
  if (status.ok()) return;
  env_.world.Trace("start failed", {node.id(), static_cast<uint64_t>(status.code())});
  // An I/O error of the disk may be wrapped as a loss; the next start reads again.
  const bool injected = status.message().find("injected") != absl::string_view::npos;
  const bool loss = status.code() == absl::StatusCode::kDataLoss ||
                    status.code() == absl::StatusCode::kFailedPrecondition ||
                    status.code() == absl::StatusCode::kInvalidArgument;
  if (loss && !injected) {
    // What was damaged is repaired; nothing else may be missing.
    return env_.invariants.Fail(
        "DUR", absl::StrCat("node ", node.id(), " cannot start: ", status.ToString()));
  }
  CrashNode(node, CrashKind::kPower, Exponential(env_.swarm.restart_delay));
}

void Nemesis::EndDoomed(SimNode& node) {
  if (!node.running() || node.MustCrash().ok()) return;
  const bool cut = node.disk().power_is_cut();
  const bool killed = kills_.erase(node.id()) > 0 && cut;
  if (cut) counts_.Add(killed ? Fault::kKillInOperation : Fault::kPowerCutInOperation);
  const bool keep = cut ? killed : env_.swarm.keep_cache_after_error;
  CrashNode(node, keep ? CrashKind::kProcess : CrashKind::kPower,
            on_ ? Exponential(env_.swarm.restart_delay) : absl::Milliseconds(10));
}

void Nemesis::PauseOne() {
  SimNode& node = RandomNode();
  absl::Duration time = Exponential(env_.swarm.pause_time);
  const bool suspended = random_.Bernoulli(env_.swarm.suspend_share);
  if (random_.Bernoulli(env_.swarm.long_pause_share)) {
    // Up to a minute, mostly some seconds.
    time = std::min(absl::Seconds(1) + Exponential(absl::Seconds(6)), absl::Minutes(1));
    counts_.Add(Fault::kLongPause);
  }
  counts_.Add(suspended ? Fault::kClockSuspended : Fault::kPause);
  if (suspended) {
    node.Suspend(time);
  } else {
    node.Pause(time);
  }
}

// What a disk has failed to sync is lost when the power fails: soon, before anything else could
// have written it again, or when the node has read it back out of its page cache.
void Nemesis::FailSync() {
  SimNode& node = RandomNode();
  env_.world.Trace("bad sync", {node.id()});
  node.disk().FailNext(SimOperation::kSync, "wal");
  if (random_.Bernoulli(0.5)) doomed_.insert(node.id());
  env_.world.After(Exponential(absl::Milliseconds(5)), [this, &node] {
    if (on_ && node.running()) LosePower(node);
  });
}

void Nemesis::FillDisk(SimNode& node, uint64_t room) {
  counts_.Add(Fault::kFullDisk);
  env_.world.Trace("full disk", {node.id()});
  node.disk().SetCapacity(node.disk().used_bytes() + room);
  env_.world.After(Exponential(env_.swarm.full_disk_time), [&node] { node.disk().SetCapacity(0); });
}

void Nemesis::StallDisk(SimNode& node, absl::Duration time) {
  counts_.Add(Fault::kDiskStall);
  env_.world.Trace("disk stall",
                   {node.id(), static_cast<uint64_t>(absl::ToInt64Nanoseconds(time))});
  node.StallDisks(time);
}

void Nemesis::ChangeClock() {
  SimNode& node = RandomNode();
  const double unit = 2 * random_.Unit() - 1;
  double rate = 1 + unit * env_.swarm.max_clock_drift;
  if (env_.swarm.wild_clocks) rate = unit < 0 ? 1 + unit / 2 : 1 + unit;
  counts_.Add(Fault::kClockRate);
  env_.world.Trace("clock", {node.id(), static_cast<uint64_t>(rate * 1000)});
  node.SetClockRate(rate);
  if (!random_.Bernoulli(0.5)) return;
  counts_.Add(Fault::kWallClockJump);
  node.JumpWallClock(absl::Seconds(random_.Between(-100'000, 100'000)));
}

// --- Leadership and membership ---

NodeId Nemesis::Leader() const {
  NodeId leader = kNoNode;
  for (const auto& node : env_.nodes) {
    if (node->node() != nullptr && node->node()->Peek().soft_state.role == Role::kLeader) {
      leader = node->id();
    }
  }
  return leader;
}

void Nemesis::AskForLeadership() {
  SimNode& node = RandomNode();
  if (node.node() == nullptr) return;
  if (random_.Bernoulli(0.3)) {
    counts_.Add(Fault::kCampaign);
    node.node()->Campaign();
  } else {
    counts_.Add(Fault::kTransfer);
    node.node()->TransferLeadership(RandomNode().id());
  }
}

void Nemesis::ChangeMembership() {
  const NodeId leader = Leader();
  const auto propose = [this](SimNode& node, ConfChange change) {
    if (node.node() == nullptr) return;
    env_.world.Trace("membership",
                     {node.id(), static_cast<uint64_t>(change.transition), change.changes.size()});
    node.node()->ProposeConfChange(std::move(change), nullptr);
  };
  SimNode& node = RandomNode();
  const ConfState state = env_.invariants.MembershipOf(leader == kNoNode ? node.id() : leader);
  propose(node, churn_.Draw(state, leader, random_, counts_));
  if (!random_.Bernoulli(0.1)) return;
  counts_.Add(Fault::kConflictingChange);
  SimNode& other = RandomNode();
  propose(other, churn_.Draw(state, leader, random_, counts_));
}

// --- The end of it ---

void Nemesis::Heal() {
  env_.world.Trace("heal", {});
  on_ = false;
  network_.Heal();
  for (const auto& node : env_.nodes) {
    node->Calm();
    if (env_.swarm.wild_clocks) node->SetClockRate(1);
    if (!node->running()) {
      // It may have been left with its power cut in the middle of a recovery.
      node->Crash(CrashKind::kPower);
      StartNode(*node);
    }
  }
}

}  // namespace keelson::raft::sim
