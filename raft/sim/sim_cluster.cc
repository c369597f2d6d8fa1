#include "raft/sim/sim_cluster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "raft/sim/counted_faults.h"
#include "raft/sim/host_cluster.h"
#include "raft/sim/host_mutations.h"
#include "raft/sim/mutations.h"

namespace keelson::raft::sim {
namespace {

// Far above what any run needs; a loop without progress in virtual time ends here.
constexpr uint64_t kMaxSteps = 3'000'000;

std::vector<NodeId> Ids(int nodes) {
  std::vector<NodeId> ids;
  for (int i = 1; i <= nodes; ++i) ids.push_back(static_cast<NodeId>(i));
  return ids;
}

// While a node has surely not counted an election timeout since it heard its leader, whatever its
// clock does.
absl::Duration StickinessOf(const Swarm& swarm) {
  const Options& core = swarm.node.core;
  if (!core.check_quorum) return absl::ZeroDuration();
  const double rate = swarm.wild_clocks ? 2 : 1 + swarm.max_clock_drift;
  return swarm.node.tick_interval * (core.election_ticks - 2) / rate;
}

Swarm SwarmOf(const RunOptions& options) {
  if (options.swarm.has_value()) return *options.swarm;
  const Profile* profile = FindProfile(options.profile);
  KEELSON_CHECK(profile != nullptr) << "no profile '" << options.profile << "'";
  return DrawSwarm(Random(options.seed).Stream("swarm"), options.nodes, *profile);
}

}  // namespace

std::string ReplayCommand(const RunOptions& options) {
  return absl::StrCat(
      "bazel-bin/raft/sim/raft_sim --seeds=1 --first-seed=", options.seed,
      options.nodes == 3 ? "" : absl::StrCat(" --nodes=", options.nodes),
      options.profile == "default" ? "" : absl::StrCat(" --profile=", options.profile),
      options.mutation == Mutation::kNone
          ? ""
          : absl::StrCat(" --mutation=", FindMutation(options.mutation).name),
      options.host_mutation == HostMutation::kNone
          ? ""
          : absl::StrCat(" --mutation=",
                         HostMutations()[static_cast<size_t>(options.host_mutation) - 1].name),
      " --trace");
}

RunOptions MixedRun(uint64_t seed, Mutation mutation) {
  constexpr const char* kOthers[] = {"ambush", "tails", "joint", "disk",     "lag",      "solo",
                                     "limits", "joint", "reads", "election", "snapshot", "crash"};
  return {.seed = seed,
          .nodes = 3 + static_cast<int>(seed % 3),
          .profile = seed % 2 == 1 ? "default" : kOthers[seed / 2 % std::size(kOthers)],
          .mutation = mutation};
}

RunResult RunSeed(const RunOptions& options) {
  PlantMutation(options.mutation);
  PlantMutation(options.host_mutation);
  const Swarm swarm = SwarmOf(options);
  if (swarm.groups > 0) return HostCluster(options, swarm, StickinessOf(swarm)).Run();
  return SimCluster(options).Run();
}

std::vector<SimMember*> SimCluster::AllMembers() const {
  std::vector<SimMember*> members;
  for (const auto& node : nodes_) members.push_back(node.get());
  return members;
}

SimCluster::SimCluster(const RunOptions& options)
    : options_(options),
      swarm_(SwarmOf(options)),
      world_(options.seed),
      random_(world_.Stream("bugs")),
      ids_(Ids(swarm_.nodes + swarm_.spares)),
      conduct_(invariants_),
      wire_(invariants_, {.stickiness = StickinessOf(swarm_)}),
      history_(invariants_),
      network_(world_) {
  world_.SetTracing(options.trace);
  if (options.coverage != nullptr) options.coverage->Begin();
  if (options.coverage != nullptr || options.diagram != nullptr) {
    world_.SetRecorder(
        [this](int64_t time, std::string_view what, std::span<const uint64_t> numbers) {
          if (options_.coverage != nullptr) options_.coverage->OnTrace(what, numbers);
          if (options_.diagram != nullptr) options_.diagram->OnTrace(time, what, numbers);
        });
  }
  network_.SetFaults(swarm_.network);
  ConfState members;
  members.voters = Ids(swarm_.nodes);
  invariants_.SetFirstMembership(members);
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
                          .halts = swarm_.halts,
                          .halt_time = swarm_.halt_time};
    // A machine that is added later knows no membership until a snapshot brings it.
    if (id > members.voters.size()) node.members = {};
    if (id <= static_cast<NodeId>(swarm_.slow_nodes)) {
      node.executor.mean_delay *= swarm_.slow_factor;
    }
    if (id == members.voters.size() && swarm_.witness_sync > absl::ZeroDuration()) {
      node.disk.sync_latency = swarm_.witness_sync;
    }
    node.executor.clock_rate = 1 + (2 * clocks.Unit() - 1) * swarm_.max_clock_drift;
    nodes_.push_back(std::make_unique<SimNode>(SimNode::Env{.world = world_,
                                                            .network = network_,
                                                            .invariants = invariants_,
                                                            .conduct = conduct_,
                                                            .wire = wire_,
                                                            .history = history_},
                                               node));
  }
  nemesis_ = std::make_unique<Nemesis>(Nemesis::Env{.world = world_,
                                                    .network = network_,
                                                    .invariants = invariants_,
                                                    .nodes = nodes_,
                                                    .swarm = swarm_});
  Connect();
  load_ = std::make_unique<Load>(world_, AllMembers(), history_, client_log_, swarm_);
}

SimCluster::~SimCluster() = default;

// Who hears of what happens. Needs all parts.
void SimCluster::Connect() {
  network_.OnSend([this](const Message& message) {
    invariants_.OnSend(message);
    wire_.OnSend(message, world_.now());
  });
  network_.OnArrive([this](const Message& message) {
    nemesis_->OnArrive(message);
    if (wire_.OnArrive(message)) NodeOf(message.to).RequestStatus();
  });
  for (const auto& node : nodes_) {
    node->SetHooks({.on_event =
                        [this](NodeId id, const AnyEvent& event) {
                          nemesis_->OnEvent(id, event);
                          if (event.Is<trace::LogConflict>()) WatchClosely(id);
                        },
                    .on_disk = [this](NodeId id, DiskStep step) { nemesis_->OnDisk(id, step); }});
  }
}

// --- Running ---

void SimCluster::AfterEvent() {
  for (const auto& node : nodes_) {
    if (node->Inspect()) nemesis_->EndDoomed(*node);
  }
  if (options_.diagram != nullptr) DrawStep();
}

void SimCluster::DrawStep() {
  const int64_t time = absl::ToInt64Nanoseconds(world_.now());
  for (const auto& node : nodes_) {
    std::optional<Node::Snapshot> peek;
    if (node->node() != nullptr) peek = node->node()->Peek();
    options_.diagram->OnState(time, node->id(), peek.has_value() ? &*peek : nullptr);
  }
  options_.diagram->EndStep();
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

// No peer may stay in a state that only new entries end.
bool SimCluster::ComesToRest(absl::Duration patience) {
  const absl::Duration until = world_.now() + patience;
  while (world_.now() < until) {
    std::optional<Status> status;
    if (const SimNode* leader = Leader(); leader != nullptr) {
      leader->node()->GetStatus([&status](const Status& now) { status = now; });
    }
    (void)RunUntil(world_.now() + absl::Milliseconds(50), [] { return false; });
    if (invariants_.violation().has_value()) return true;
    if (status.has_value() && status->soft_state.role == Role::kLeader &&
        status->hard_state.commit == status->last_index &&
        std::all_of(status->peers.begin(), status->peers.end(), [](const PeerStatus& peer) {
          return peer.state == ProgressState::kReplicate;
        })) {
      return true;
    }
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
  if (swarm_.quiet_end && !ComesToRest(20 * election)) {
    return invariants_.Fail("LIVE", "an entry stays uncommitted, or a peer is probed for ever");
  }
  // The write may be lost with a leadership that ends just now: as any client, try again.
  SimClient probe(1000, world_, AllMembers(), history_, client_log_, swarm_);
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
  load_->Stop();
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
    if (NodeOf(id).impaired()) {
      invariants_.Fail("LIVE", absl::StrCat("node ", id, " has not recovered from its loss"));
    }
    history_.CheckFinal(id, NodeOf(id).state());
    if (NodeOf(id).state() != NodeOf(members[0]).state()) {
      invariants_.Fail(
          "I11", absl::StrCat("the final states of nodes ", members[0], " and ", id, " differ"));
    }
  }
}

void SimCluster::CheckClientLog() {
  // Decides nearly every key of a run; the few beyond are counted.
  constexpr uint64_t kSearchSteps = 100'000;
  const ClientLog::Finding finding = client_log_.Check(kSearchSteps);
  keys_checked_ = finding.keys_checked;
  keys_given_up_ = finding.keys_given_up;
  if (finding.violation.has_value()) invariants_.Fail("LIN", *finding.violation);
}

RunResult SimCluster::Run() {
  nemesis_->Start();
  load_->Start();
  AskForStatus();
  (void)RunUntil(swarm_.safety_time, [] { return false; });
  if (!invariants_.violation().has_value()) {
    nemesis_->Heal();
    if (swarm_.quiet_end) load_->Stop();
    CheckLiveness();
  }
  CheckClientLog();
  return Result();
}

// What was replaced is not on the disk for a while.
void SimCluster::WatchClosely(NodeId id) {
  for (int i = 1; i <= 20; ++i) {
    world_.After(absl::Milliseconds(2 * i), [this, id] { NodeOf(id).RequestStatus(); });
  }
}

void SimCluster::AskForStatus() {
  world_.After(absl::Milliseconds(10), [this] {
    nodes_[random_.Below(nodes_.size())]->RequestStatus();
    AskForStatus();
  });
}

FaultCounts SimCluster::Faults() const {
  FaultCounts faults = nemesis_->counts();
  faults.Merge(load_->counts());
  AddNetworkFaults(network_.counters(), faults);
  for (const auto& node : nodes_) {
    AddDiskFaults(node->disk().counters(), faults);
    faults.Add(Fault::kHalt, node->halts());
  }
  return faults;
}

uint64_t SimCluster::Losses() const {
  uint64_t losses = 0;
  for (const auto& node : nodes_) losses += node->losses();
  return losses;
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
                   .crashes = nemesis_->crashes(),
                   .partitions = nemesis_->partitions(),
                   .losses = Losses(),
                   .failovers = nemesis_->failovers(),
                   .faults = Faults(),
                   .keys_checked = keys_checked_,
                   .keys_given_up = keys_given_up_,
                   .history = history_.counters(),
                   .network = network_.counters()};
  return result;
}

}  // namespace keelson::raft::sim
