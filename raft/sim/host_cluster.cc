#include "raft/sim/host_cluster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "raft/sim/counted_faults.h"
#include "raft/sim/sim_client.h"

namespace keelson::raft::sim {
namespace {

// Far above what any run needs; a loop without progress in virtual time ends here.
constexpr uint64_t kMaxSteps = 6'000'000;
constexpr size_t kMembers = 3;  // of each group

}  // namespace

HostCluster::HostCluster(const RunOptions& options, const Swarm& swarm, absl::Duration stickiness)
    : options_(options),
      swarm_(swarm),
      stickiness_(stickiness),
      world_(options.seed),
      random_(world_.Stream("groups")),
      network_(world_) {
  world_.SetTracing(options.trace);
  if (options.coverage != nullptr) {
    options.coverage->Begin();
    world_.SetRecorder([this](int64_t, std::string_view what, std::span<const uint64_t> numbers) {
      options_.coverage->OnTrace(what, numbers);
    });
  }
  network_.SetFaults(swarm_.network);
  Random clocks = world_.Stream("clocks");
  for (NodeId id = 1; id <= static_cast<NodeId>(swarm_.nodes); ++id) {
    SimHost::Options host{.id = id,
                          .node = swarm_.node,
                          .segment_bytes = swarm_.segment_bytes,
                          .machine = swarm_.machine,
                          .disk = swarm_.disk,
                          .executor = swarm_.executor,
                          .slow_apply = swarm_.slow_apply};
    host.executor.clock_rate = 1 + (2 * clocks.Unit() - 1) * swarm_.max_clock_drift;
    hosts_.push_back(std::make_unique<SimHost>(
        SimHost::Env{.world = world_,
                     .network = network_,
                     .invariants = invariants_,
                     .group_of = [this](GroupId group) -> SimGroup& { return GroupAt(group); }},
        host));
  }
  nemesis_ = std::make_unique<HostNemesis>(
      HostNemesis::Env{.world = world_,
                       .network = network_,
                       .invariants = invariants_,
                       .hosts = hosts_,
                       .groups = groups_,
                       .swarm = swarm_,
                       .add_group = [this] { AddGroup(); },
                       .retire_group = [this](SimGroup& group) { RetireGroup(group); }});
  Connect();
}

HostCluster::~HostCluster() = default;

void HostCluster::Connect() {
  network_.OnSend([this](const Message& message) {
    SimGroup* const group = GroupOf(message);
    if (group == nullptr) return;
    group->invariants.OnSend(message);
    group->wire.OnSend(message, world_.now());
  });
  network_.OnArrive([this](const Message& message) {
    SimGroup* const group = GroupOf(message);
    if (group != nullptr && group->wire.OnArrive(message)) {
      HostAt(message.to).RequestStatus(group->id);
    }
  });
}

// --- Groups ---

SimGroup* HostCluster::GroupOf(const Message& message) const {
  return message.group == 0 || message.group > groups_.size() ? nullptr : &GroupAt(message.group);
}

std::vector<SimMember*> HostCluster::MembersOf(const SimGroup& group) const {
  std::vector<SimMember*> members;
  for (const NodeId id : group.conf_state.voters) members.push_back(&HostAt(id).MemberOf(group.id));
  return members;
}

std::vector<SimGroup*> HostCluster::Live() const {
  std::vector<SimGroup*> live;
  for (const auto& group : groups_) {
    if (!group->retired) live.push_back(group.get());
  }
  return live;
}

void HostCluster::AddGroup() {
  std::vector<NodeId> ids;
  for (const auto& host : hosts_) ids.push_back(host->id());
  while (ids.size() > kMembers) {
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(random_.Below(ids.size())));
  }
  const GroupId id = groups_.size() + 1;
  world_.Trace("group", {id});
  ConfState members;
  members.voters = ids;
  groups_.push_back(
      std::make_unique<SimGroup>(id, members, WireRules::Options{.stickiness = stickiness_}));
  for (const NodeId host : ids) HostAt(host).Place(id);
  loads_[id] = std::make_unique<Load>(world_, MembersOf(GroupAt(id)), GroupAt(id).history,
                                      GroupAt(id).client_log, swarm_, id);
  loads_[id]->Start();
}

void HostCluster::RetireGroup(SimGroup& group) {
  world_.Trace("retire", {group.id});
  group.retired = true;
  loads_.at(group.id)->Stop();
  for (const NodeId host : group.conf_state.voters) HostAt(host).Retire(group.id);
}

// --- Running ---

const std::optional<Violation>& HostCluster::Found() const {
  if (invariants_.violation().has_value()) return invariants_.violation();
  for (const auto& group : groups_) {
    if (group->invariants.violation().has_value()) return group->invariants.violation();
  }
  return invariants_.violation();
}

bool HostCluster::RunUntil(absl::Duration until, const std::function<bool()>& done) {
  while (!Broken()) {
    if (done()) return true;
    if (world_.now() >= until || !world_.Step()) return false;
    for (const auto& host : hosts_) host->Inspect();
    nemesis_->EndDoomed();
    if (world_.steps() > kMaxSteps) invariants_.Fail("LIVE", "too many events");
  }
  return false;
}

void HostCluster::AskForStatus() {
  world_.After(absl::Milliseconds(10), [this] {
    const GroupId group = 1 + random_.Below(groups_.size());
    hosts_[random_.Below(hosts_.size())]->RequestStatus(group);
    AskForStatus();
  });
}

RunResult HostCluster::Run() {
  nemesis_->Start();
  for (int i = 0; i < swarm_.groups; ++i) AddGroup();
  AskForStatus();
  (void)RunUntil(swarm_.safety_time, [] { return false; });
  if (!Broken()) {
    nemesis_->Heal();
    CheckLiveness();
  }
  CheckClientLogs();
  return Result();
}

// --- When all has healed ---

SimMember* HostCluster::LeaderOf(const SimGroup& group) const {
  SimMember* leader = nullptr;
  Term term = 0;
  const std::vector<SimMember*> members = MembersOf(group);
  for (SimMember* member : members) {
    if (member->node() == nullptr) return nullptr;
    const Node::Snapshot peek = member->node()->Peek();
    if (peek.soft_state.role != Role::kLeader || peek.term < term) continue;
    leader = member;
    term = peek.term;
  }
  if (leader == nullptr) return nullptr;
  const bool all = std::all_of(members.begin(), members.end(), [leader](SimMember* member) {
    return member->node()->Peek().soft_state.leader == leader->id();
  });
  return all ? leader : nullptr;
}

bool HostCluster::AllApplied(const SimGroup& group, Index index) const {
  const std::vector<SimMember*> members = MembersOf(group);
  return std::all_of(members.begin(), members.end(), [index](const SimMember* member) {
    return member->node() != nullptr && member->state().applied.index >= index;
  });
}

void HostCluster::CheckLiveness() {
  const absl::Duration election = swarm_.node.tick_interval * 2 * swarm_.node.core.election_ticks /
                                  (1 - swarm_.max_clock_drift);
  // What was slow or stopped when the faults ended comes to its end first.
  absl::Duration busy = world_.now();
  for (const auto& host : hosts_) busy = std::max(busy, host->busy_until());
  (void)RunUntil(busy, [] { return false; });
  const auto settled = [this] {
    return std::all_of(hosts_.begin(), hosts_.end(),
                       [](const auto& host) { return host->settled(); });
  };
  if (!RunUntil(world_.now() + 20 * election, settled)) {
    return invariants_.Fail("LIVE", "groups are missing, or not removed, after all healed");
  }
  const std::vector<SimGroup*> live = Live();
  const auto led = [&] {
    return std::all_of(live.begin(), live.end(),
                       [this](const SimGroup* group) { return LeaderOf(*group) != nullptr; });
  };
  if (!RunUntil(world_.now() + 10 * election, led)) {
    return invariants_.Fail("LIVE",
                            "a group without a leader ten election timeouts after all healed");
  }
  CheckWrites(election);
  if (!Broken()) CheckRest(election);
}

void HostCluster::CheckWrites(absl::Duration election) {
  for (SimGroup* group : Live()) {
    // The write may be lost with a leadership that ends just now: as any client, try again.
    SimClient probe(group->id * 100'000 + 1000, world_, MembersOf(*group), group->history,
                    group->client_log, swarm_);
    Index revision = 0;
    for (size_t i = 0; i < 10 && revision == 0; ++i) {
      const std::vector<SimMember*> members = MembersOf(*group);
      probe.WriteOnce(*members[i % members.size()], [&revision](Index at) { revision = at; });
      (void)RunUntil(world_.now() + 3 * election, [&revision] { return revision != 0; });
      if (Broken()) return;
    }
    if (revision == 0) {
      return invariants_.Fail(
          "LIVE", absl::StrCat("no new write of group ", group->id, " succeeds after all healed"));
    }
    if (!RunUntil(world_.now() + 20 * election, [&] { return AllApplied(*group, revision); })) {
      return invariants_.Fail("LIVE", absl::StrCat("a new write of group ", group->id,
                                                   " does not reach all members after all healed"));
    }
  }
}

void HostCluster::CheckRest(absl::Duration election) {
  for (const auto& [group, load] : loads_) load->Stop();
  (void)RunUntil(world_.now() + swarm_.client_timeout * 2, [] { return false; });
  const std::vector<SimGroup*> live = Live();
  const auto equal = [&] {
    return std::all_of(live.begin(), live.end(), [this](const SimGroup* group) {
      return AllApplied(*group, group->invariants.committed());
    });
  };
  if (!RunUntil(world_.now() + 20 * election, equal)) {
    return invariants_.Fail("LIVE", "the members do not come to the same state after all healed");
  }
  const auto asleep = [this] {
    return std::all_of(hosts_.begin(), hosts_.end(), [](const auto& host) {
      const Host::Stats stats = host->host()->GetStats();
      return stats.asleep == stats.groups;
    });
  };
  const absl::Duration quiet = swarm_.node.tick_interval * swarm_.node.core.quiesce_ticks;
  if (!RunUntil(world_.now() + 20 * election + 4 * quiet, asleep)) {
    return invariants_.Fail("LIVE", "groups without work do not sleep after all healed");
  }
  for (SimGroup* group : live) CheckFinalStates(*group);
}

void HostCluster::CheckFinalStates(SimGroup& group) {
  group.invariants.CheckLogs(group.conf_state.voters);
  const std::vector<SimMember*> members = MembersOf(group);
  for (const SimMember* member : members) {
    group.history.CheckFinal(member->id(), member->state());
    if (member->node()->Peek().recovering) {
      group.invariants.Fail("LIVE", absl::StrCat("member ", member->id(), " of group ", group.id,
                                                 " has not recovered from its loss"));
    }
    if (member->state() != members[0]->state()) {
      group.invariants.Fail("I11",
                            absl::StrCat("the final states of members ", members[0]->id(), " and ",
                                         member->id(), " of group ", group.id, " differ"));
    }
  }
}

void HostCluster::CheckClientLogs() {
  constexpr uint64_t kSearchSteps = 100'000;  // As SimCluster.
  for (const auto& group : groups_) {
    const ClientLog::Finding finding = group->client_log.Check(kSearchSteps);
    keys_checked_ += finding.keys_checked;
    keys_given_up_ += finding.keys_given_up;
    if (finding.violation.has_value()) group->invariants.Fail("LIN", *finding.violation);
  }
}

RunResult HostCluster::Result() const {
  RunResult result{.seed = options_.seed,
                   .violation = Found(),
                   .steps = world_.steps(),
                   .trace_hash = world_.trace_hash(),
                   .virtual_time = world_.now(),
                   .swarm = Describe(swarm_),
                   .crashes = nemesis_->crashes(),
                   .partitions = nemesis_->partitions(),
                   .faults = nemesis_->counts(),
                   .keys_checked = keys_checked_,
                   .keys_given_up = keys_given_up_,
                   .network = network_.counters()};
  result.groups = groups_.size();
  AddNetworkFaults(network_.counters(), result.faults);
  for (const auto& [group, load] : loads_) result.faults.Merge(load->counts());
  for (const auto& group : groups_) {
    result.committed += group->invariants.committed();
    result.elections += group->invariants.elections();
    const History::Counters& history = group->history.counters();
    result.history.writes += history.writes;
    result.history.reads += history.reads;
    result.history.refused += history.refused;
  }
  for (const auto& host : hosts_) {
    AddDiskFaults(host->disk().counters(), result.faults);
    result.losses += host->losses();
    result.sleeps += host->sleeps();
  }
  return result;
}

}  // namespace keelson::raft::sim
