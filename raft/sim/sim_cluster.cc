#include "raft/sim/sim_cluster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace keelson::raft::sim {
namespace {

// Far above what any run needs; a loop without progress in virtual time ends here.
constexpr uint64_t kMaxSteps = 3'000'000;

std::vector<NodeId> Ids(int nodes) {
  std::vector<NodeId> ids;
  for (int i = 1; i <= nodes; ++i) ids.push_back(static_cast<NodeId>(i));
  return ids;
}

Swarm SwarmOf(const RunOptions& options) {
  return options.swarm.has_value() ? *options.swarm
                                   : DrawSwarm(Random(options.seed).Stream("swarm"), options.nodes);
}

}  // namespace

const char* BugName(Bug bug) {
  switch (bug) {
    case Bug::kNone:
      return "none";
    case Bug::kAckBeforeSync:
      return "ack-before-sync";
    case Bug::kForgetVote:
      return "forget-vote";
    case Bug::kPositionBehindEffects:
      return "position-behind-effects";
    case Bug::kSnapshotWithoutSessions:
      return "snapshot-without-sessions";
    case Bug::kCommitWithoutQuorum:
      return "commit-without-quorum";
    case Bug::kCommitTooFar:
      return "commit-too-far";
    case Bug::kStaleReads:
      return "stale-reads";
    case Bug::kAckEarly:
      return "ack-early";
  }
  return "unknown";
}

std::string ReplayCommand(const RunOptions& options) {
  return absl::StrCat(
      "bazel-bin/raft/sim/raft_sim --seeds=1 --first-seed=", options.seed,
      options.nodes == 3 ? "" : absl::StrCat(" --nodes=", options.nodes),
      options.bug == Bug::kNone ? "" : absl::StrCat(" --bug=", BugName(options.bug)), " --trace");
}

RunResult RunSeed(const RunOptions& options) { return SimCluster(options).Run(); }

SimCluster::SimCluster(const RunOptions& options)
    : options_(options),
      swarm_(SwarmOf(options)),
      world_(options.seed),
      random_(world_.Stream("faults")),
      ids_(Ids(swarm_.nodes + swarm_.spares)),
      history_(invariants_),
      network_(world_) {
  world_.SetTracing(options.trace);
  network_.SetFaults(swarm_.network);
  network_.OnSend([this](const Message& message) { invariants_.OnSend(message); });
  ConfState members;
  members.voters = Ids(swarm_.nodes);
  Random clocks = world_.Stream("clocks");
  for (const NodeId id : ids_) {
    SimNode::Options node{.id = id,
                          .members = members,
                          .node = swarm_.node,
                          .segment_bytes = swarm_.segment_bytes,
                          .machine = swarm_.machine,
                          .disk = swarm_.disk,
                          .executor = swarm_.executor,
                          .slow_apply = swarm_.slow_apply,
                          .bugs = {}};
    // A machine that is added later knows no membership until a snapshot brings it.
    if (id > members.voters.size()) node.members = {};
    node.executor.clock_rate = 1 + (2 * clocks.Unit() - 1) * swarm_.max_clock_drift;
    node.bugs.ack_before_sync = options.bug == Bug::kAckBeforeSync;
    node.bugs.forget_vote = options.bug == Bug::kForgetVote;
    node.machine.bug_position_behind_effects = options.bug == Bug::kPositionBehindEffects;
    node.machine.bug_snapshot_without_sessions = options.bug == Bug::kSnapshotWithoutSessions;
    nodes_.push_back(std::make_unique<SimNode>(
        SimNode::Env{
            .world = world_, .network = network_, .invariants = invariants_, .history = history_},
        node));
  }
  for (int i = 0; i < swarm_.clients; ++i) {
    clients_.push_back(
        std::make_unique<SimClient>(static_cast<uint64_t>(i + 1), world_, nodes_, history_, swarm_,
                                    SimClient::Bugs{.stale_reads = options.bug == Bug::kStaleReads,
                                                    .ack_early = options.bug == Bug::kAckEarly}));
  }
  InstallBug();
}

SimCluster::~SimCluster() = default;

void SimCluster::InstallBug() {
  if (options_.bug == Bug::kCommitWithoutQuorum) {
    network_.SetMutator([this](Message& message) {
      if (message.type == MessageType::kAppResp && message.reject && random_.Bernoulli(0.2)) {
        message.reject = false;
      }
    });
  }
  if (options_.bug == Bug::kCommitTooFar) {
    network_.SetMutator([this](Message& message) {
      if (message.type == MessageType::kApp && !message.entries.empty() &&
          random_.Bernoulli(0.05)) {
        message.commit = message.entries.back().index;
      }
    });
  }
}

absl::Duration SimCluster::Exponential(absl::Duration mean) {
  return absl::Nanoseconds(static_cast<int64_t>(
      random_.Exponential(static_cast<double>(absl::ToInt64Nanoseconds(mean)))));
}

// --- Faults ---

void SimCluster::Repeat(absl::Duration mean, std::function<void()> fault) {
  if (mean == absl::ZeroDuration()) return;
  world_.After(Exponential(mean), [this, mean, fault = std::move(fault)] {
    if (!faults_on_) return;
    fault();
    Repeat(mean, fault);
  });
}

void SimCluster::StartFaults() {
  Repeat(swarm_.crash_interval, [this] { CrashOne(); });
  Repeat(swarm_.cluster_crash_interval, [this] {
    for (const auto& node : nodes_) {
      if (node->running()) CrashNode(*node, CrashKind::kPower, Exponential(swarm_.restart_delay));
    }
  });
  Repeat(swarm_.pause_interval, [this] { RandomNode().Pause(Exponential(swarm_.pause_time)); });
  Repeat(swarm_.partition_interval, [this] { CutLinks(); });
  Repeat(swarm_.transfer_interval, [this] { AskForLeadership(); });
  Repeat(swarm_.membership_interval, [this] { ChangeMembership(); });
  Repeat(swarm_.full_disk_interval, [this] { FillDisk(); });
  Repeat(absl::Milliseconds(25), [this] { RandomNode().RequestStatus(); });
}

void SimCluster::CrashOne() {
  SimNode& node = RandomNode();
  if (!node.running()) return;
  if (random_.Bernoulli(swarm_.cut_share)) {
    // Somewhere in the next operations of its disk, perhaps between a write and its sync.
    node.disk().CutPowerAfter(random_.Below(12));
    return;
  }
  CrashNode(node, random_.Bernoulli(swarm_.power_share) ? CrashKind::kPower : CrashKind::kProcess,
            Exponential(swarm_.restart_delay));
}

void SimCluster::CrashNode(SimNode& node, CrashKind kind, absl::Duration restart_after) {
  ++crashes_;
  node.Crash(kind);
  RestartLater(node, restart_after);
}

void SimCluster::RestartLater(SimNode& node, absl::Duration delay) {
  world_.After(delay, [this, &node] {
    if (!node.running()) StartNode(node);
  });
}

void SimCluster::StartNode(SimNode& node) {
  // Now and then the power fails again while the node recovers.
  if (faults_on_ && random_.Bernoulli(swarm_.cut_share * 0.3)) {
    node.disk().CutPowerAfter(random_.Below(8));
  }
  const absl::Status status = node.Start();
  if (status.ok()) return;
  world_.Trace("start failed", {node.id(), static_cast<uint64_t>(status.code())});
  // An I/O error of the disk may be wrapped as a loss; the next start reads again.
  const bool injected = status.message().find("injected") != absl::string_view::npos;
  if (injected) return CrashNode(node, CrashKind::kPower, Exponential(swarm_.restart_delay));
  if (status.code() == absl::StatusCode::kDataLoss ||
      status.code() == absl::StatusCode::kFailedPrecondition ||
      status.code() == absl::StatusCode::kInvalidArgument) {
    // No bit of any disk has been damaged: nothing may be missing.
    invariants_.Fail("DUR", absl::StrCat("node ", node.id(), " cannot start: ", status.ToString()));
    return;
  }
  CrashNode(node, CrashKind::kPower, Exponential(swarm_.restart_delay));
}

void SimCluster::CutLinks() {
  ++partitions_;
  world_.Trace("partition", {partitions_});
  const size_t count = ids_.size();
  const auto cut = [this](NodeId from, NodeId to) { network_.SetLink(from, to, false); };
  const NodeId one = ids_[random_.Below(count)];
  switch (random_.Below(5)) {
    case 0:  // Two sides.
    case 1: {
      std::vector<bool> side(count);
      for (size_t i = 0; i < count; ++i) side[i] = random_.Bernoulli(0.5);
      for (size_t a = 0; a < count; ++a) {
        for (size_t b = 0; b < count; ++b) {
          if (side[a] != side[b]) cut(ids_[a], ids_[b]);
        }
      }
      break;
    }
    case 2: {  // One node alone: the leader if there is one.
      NodeId alone = one;
      for (const auto& node : nodes_) {
        if (node->node() != nullptr && node->node()->Peek().soft_state.role == Role::kLeader) {
          alone = node->id();
        }
      }
      for (const NodeId other : ids_) {
        cut(alone, other);
        cut(other, alone);
      }
      break;
    }
    case 3: {  // One node hears nothing, or is not heard.
      const bool deaf = random_.Bernoulli(0.5);
      for (const NodeId other : ids_) deaf ? cut(other, one) : cut(one, other);
      break;
    }
    default:  // A bridge: all but one node see only it.
      for (const NodeId a : ids_) {
        for (const NodeId b : ids_) {
          if (a != one && b != one && a != b) cut(a, b);
        }
      }
  }
  world_.After(Exponential(swarm_.partition_time), [this, mine = partitions_] {
    if (mine == partitions_) network_.HealLinks();
  });
}

void SimCluster::FillDisk() {
  SimNode& node = RandomNode();
  world_.Trace("full disk", {node.id()});
  // A little room is left, or none at all.
  node.disk().SetCapacity(node.disk().used_bytes() + random_.Below(swarm_.segment_bytes * 2));
  world_.After(Exponential(swarm_.full_disk_time), [&node] { node.disk().SetCapacity(0); });
}

void SimCluster::AskForLeadership() {
  SimNode& node = RandomNode();
  if (node.node() == nullptr) return;
  if (random_.Bernoulli(0.3)) {
    node.node()->Campaign();
  } else {
    node.node()->TransferLeadership(ids_[random_.Below(ids_.size())]);
  }
}

void SimCluster::ChangeMembership() {
  ConfChange change;
  change.transition = static_cast<ConfChangeTransition>(random_.Below(3));
  // None: leave a joint membership.
  for (uint64_t left = random_.Below(4); left > 0; --left) {
    ConfChangeSingle single{.type = ConfChangeType::kAddNode,
                            .node = ids_[random_.Below(ids_.size())]};
    const uint64_t what = random_.Below(4);
    if (what == 0) single.type = ConfChangeType::kAddLearner;
    if (what == 1) single.type = ConfChangeType::kRemoveNode;
    if (retired_.count(single.node) > 0) single.type = ConfChangeType::kRemoveNode;
    if (single.type == ConfChangeType::kRemoveNode) {
      // Two ids stay, so that a membership can always be made of them.
      if (retired_.count(single.node) == 0 && retired_.size() + 2 >= ids_.size()) continue;
      retired_.insert(single.node);
    }
    change.changes.push_back(single);
  }
  SimNode& node = RandomNode();
  if (node.node() == nullptr) return;
  world_.Trace("membership",
               {node.id(), static_cast<uint64_t>(change.transition), change.changes.size()});
  node.node()->ProposeConfChange(std::move(change), nullptr);
}

// --- Running ---

void SimCluster::AfterEvent() {
  for (const auto& node : nodes_) {
    node->Inspect();
    if (node->running() && !node->MustCrash().ok()) {
      const bool keep = swarm_.keep_cache_after_error && !node->disk().power_is_cut();
      CrashNode(*node, keep ? CrashKind::kProcess : CrashKind::kPower,
                faults_on_ ? Exponential(swarm_.restart_delay) : absl::Milliseconds(10));
    }
  }
}

bool SimCluster::RunUntil(absl::Duration until, const std::function<bool()>& done) {
  while (!invariants_.violation().has_value()) {
    if (done()) return true;
    if (world_.now() >= until || !world_.Step()) return false;
    AfterEvent();
    if (world_.steps() > kMaxSteps) invariants_.Fail("LIVE", "too many events");
  }
  return false;
}

void SimCluster::Heal() {
  world_.Trace("heal", {});
  faults_on_ = false;
  ++partitions_;
  network_.HealLinks();
  network_.SetFaults({});
  for (const auto& node : nodes_) {
    node->Calm();
    if (!node->running()) {
      // It may have been left with its power cut in the middle of a recovery.
      node->Crash(CrashKind::kPower);
      StartNode(*node);
    }
  }
}

SimNode* SimCluster::Leader() const {
  SimNode* leader = nullptr;
  Term term = 0;
  for (const auto& node : nodes_) {
    if (!node->running()) continue;
    const Node::Snapshot peek = node->node()->Peek();
    if (peek.soft_state.role != Role::kLeader || peek.term < term) continue;
    leader = node.get();
    term = peek.term;
  }
  if (leader == nullptr) return nullptr;
  const ConfState state = invariants_.MembershipOf(leader->id());
  for (const std::vector<NodeId>* half : {&state.voters, &state.voters_outgoing, &state.learners}) {
    for (const NodeId id : *half) {
      const SimNode& member = NodeOf(id);
      if (!member.running() || member.node()->Peek().soft_state.leader != leader->id()) {
        return nullptr;
      }
    }
  }
  return leader;
}

std::vector<NodeId> SimCluster::Members() const {
  const SimNode* leader = Leader();
  if (leader == nullptr) return {};
  ConfState state = invariants_.MembershipOf(leader->id());
  state.voters.insert(state.voters.end(), state.learners.begin(), state.learners.end());
  return state.voters;
}

bool SimCluster::AllApplied(Index index) const {
  const std::vector<NodeId> members = Members();
  return !members.empty() && std::all_of(members.begin(), members.end(), [this, index](NodeId id) {
    return NodeOf(id).running() && NodeOf(id).state().applied.index >= index;
  });
}

bool SimCluster::LeaveJoint(absl::Duration patience) {
  const absl::Duration until = world_.now() + patience;
  while (world_.now() < until) {
    const SimNode* leader = Leader();
    if (leader != nullptr) {
      const ConfState state = invariants_.MembershipOf(leader->id());
      if (state.voters_outgoing.empty()) return true;
      // An explicit joint membership waits for someone to leave it.
      if (!state.auto_leave) leader->node()->ProposeConfChange({}, nullptr);
    }
    (void)RunUntil(world_.now() + absl::Milliseconds(100), [] { return false; });
    if (invariants_.violation().has_value()) return true;
  }
  return false;
}

void SimCluster::CheckLiveness() {
  const absl::Duration election = swarm_.node.tick_interval * 2 * swarm_.node.core.election_ticks /
                                  (1 - swarm_.max_clock_drift);
  // What was slow or stopped when the faults ended comes to its end first.
  absl::Duration busy = world_.now();
  for (const auto& node : nodes_) busy = std::max(busy, node->busy_until());
  (void)RunUntil(busy, [] { return false; });
  if (invariants_.violation().has_value()) return;
  if (!RunUntil(world_.now() + 10 * election, [this] { return Leader() != nullptr; })) {
    return invariants_.Fail("LIVE", "no leader within ten election timeouts after all healed");
  }
  if (!LeaveJoint(20 * election)) {
    return invariants_.Fail("LIVE", "the membership stays joint after all healed");
  }
  // The write may be lost with a leadership that ends just now: as any client, try again.
  SimClient probe(1000, world_, nodes_, history_, swarm_, {});
  Index revision = 0;
  for (size_t i = 0; i < 10 && revision == 0; ++i) {
    const std::vector<NodeId> members = Members();
    if (!members.empty()) {
      probe.WriteOnce(NodeOf(members[i % members.size()]),
                      [&revision](Index at) { revision = at; });
    }
    (void)RunUntil(world_.now() + 3 * election, [&revision] { return revision != 0; });
    if (invariants_.violation().has_value()) return;
  }
  if (revision == 0) return invariants_.Fail("LIVE", "no new write succeeds after all healed");
  if (!RunUntil(world_.now() + 20 * election, [&] { return AllApplied(revision); })) {
    return invariants_.Fail("LIVE", "a new write does not reach all nodes after all healed");
  }
  for (const auto& client : clients_) client->Stop();
  (void)RunUntil(world_.now() + swarm_.client_timeout * 2, [] { return false; });
  if (invariants_.violation().has_value()) return;
  if (!RunUntil(world_.now() + 20 * election,
                [&] { return AllApplied(invariants_.committed()); })) {
    return invariants_.Fail("LIVE", "the nodes do not come to the same state after all healed");
  }
  CheckFinalStates();
}

void SimCluster::CheckFinalStates() {
  const std::vector<NodeId> members = Members();
  if (members.empty()) return invariants_.Fail("LIVE", "the leader is lost again without a fault");
  invariants_.CheckLogs(members);
  for (const NodeId id : members) {
    history_.CheckFinal(id, NodeOf(id).state());
    if (NodeOf(id).state() != NodeOf(members[0]).state()) {
      invariants_.Fail(
          "I11", absl::StrCat("the final states of nodes ", members[0], " and ", id, " differ"));
    }
  }
}

RunResult SimCluster::Run() {
  for (const auto& node : nodes_) {
    // They do not start at the same moment.
    world_.After(Exponential(absl::Milliseconds(20)), [this, &node] { StartNode(*node); });
  }
  for (const auto& client : clients_) client->Start();
  StartFaults();
  (void)RunUntil(swarm_.safety_time, [] { return false; });
  if (!invariants_.violation().has_value()) {
    Heal();
    CheckLiveness();
  }
  return Result();
}

RunResult SimCluster::Result() const {
  RunResult result{.seed = options_.seed,
                   .violation = invariants_.violation(),
                   .steps = world_.steps(),
                   .trace_hash = world_.trace_hash(),
                   .virtual_time = world_.now(),
                   .swarm = Describe(swarm_),
                   .committed = invariants_.committed(),
                   .elections = invariants_.elections(),
                   .membership_changes = invariants_.membership_changes(),
                   .crashes = crashes_,
                   .partitions = partitions_,
                   .history = history_.counters(),
                   .network = network_.counters()};
  for (const auto& node : nodes_) {
    const SimFileSystem::Counters disk = node->disk().counters();
    for (const uint64_t errors : disk.injected_errors) result.disk_faults += errors;
    result.disk_faults += disk.no_space;
    result.writes_torn += disk.writes_torn;
  }
  return result;
}

}  // namespace keelson::raft::sim
