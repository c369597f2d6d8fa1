#include "raft/testing/core_network.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/random.h"
#include "raft/testing/test_sync.h"

namespace keelson::raft {

CoreNetwork::CoreNetwork(size_t voters, Configure configure, uint64_t seed)
    : configure_(std::move(configure)), seed_(seed) {
  SnapshotMetadata start;
  for (NodeId id = 1; id <= voters; ++id) start.conf_state.voters.push_back(id);
  for (const NodeId id : start.conf_state.voters) AddFrom(id, MemoryLog(start));
}

void CoreNetwork::AddEmpty(NodeId id) { AddFrom(id, MemoryLog()); }

void CoreNetwork::AddFrom(NodeId id, MemoryLog log) {
  auto member = std::make_unique<Member>(id, std::move(log));
  member->applied_index = member->log.FirstIndex() - 1;
  member->applied_conf = member->log.InitialConfState();
  Start(*member);
  members_[id] = std::move(member);
}

void CoreNetwork::Start(Member& member) {
  Options options;
  options.id = member.id;
  if (configure_) configure_(options);
  options.applied = member.applied_index;
  // A different stream after every start, as in a real process.
  Random random(seed_ * 1000003 + member.id * 101 + ++member.starts);
  auto core = Core::Create(options, member.log, random, &member.events);
  KEELSON_CHECK(core.ok()) << core.status().ToString();
  member.core = *std::move(core);
}

std::vector<NodeId> CoreNetwork::ids() const {
  std::vector<NodeId> result;
  for (const auto& [id, member] : members_) result.push_back(id);
  return result;
}

std::vector<std::string> CoreNetwork::Applied(NodeId id) {
  std::vector<std::string> payloads;
  for (const Entry& entry : At(id).applied) {
    if (entry.type == EntryType::kNormal && !entry.data.empty()) {
      payloads.emplace_back(entry.data.view());
    }
  }
  return payloads;
}

NodeId CoreNetwork::Leader() {
  NodeId leader = kNoNode;
  for (auto& [id, member] : members_) {
    if (member->core->soft_state().role != Role::kLeader) continue;
    if (leader != kNoNode) return kNoNode;
    leader = id;
  }
  return leader;
}

void CoreNetwork::Post(Message message) {
  if (cut_.contains({message.from, message.to}) || (lose_ && lose_(message))) return;
  in_flight_.push_back(std::move(message));
}

void CoreNetwork::Collect(NodeId id) {
  Member& member = At(id);
  while (member.core->HasReady()) {
    Ready ready = member.core->TakeReady();
    for (Message& message : ready.messages) Post(std::move(message));
    for (ReadState& read : ready.reads) member.reads.push_back(std::move(read));
    if (ready.append.has_value()) member.appends.push_back(*std::move(ready.append));
    if (ready.apply.has_value()) member.applies.push_back(*std::move(ready.apply));
  }
  CheckLeader(member);
}

bool CoreNetwork::AppendOne(NodeId id) {
  Member& member = At(id);
  if (member.appends.empty()) return false;
  AppendWork work = std::move(member.appends.front());
  member.appends.pop_front();
  if (work.snapshot.has_value()) {
    const SnapshotMetadata& metadata = work.snapshot->metadata;
    member.log.Reset(*work.snapshot);
    member.log.OfferSnapshot(*work.snapshot);
    // The state machine takes over the state: everything committed up to there.
    member.applied.clear();
    for (const auto& [index, entry] : committed_) {
      if (index <= metadata.index) member.applied.push_back(entry);
    }
    member.applied_index = metadata.index;
    member.applied_conf = metadata.conf_state;
  }
  member.log.Append(work.entries);
  if (work.hard_state.has_value()) member.log.SetHardState(*work.hard_state);
  for (Message& message : std::move(work.responses).Release(TestSync::Token())) {
    if (message.to == id) {
      (void)member.core->Step(std::move(message));  // Stale answers are ignored inside.
    } else {
      Post(std::move(message));
    }
  }
  Collect(id);
  return true;
}

bool CoreNetwork::ApplyOne(NodeId id) {
  Member& member = At(id);
  if (member.applies.empty()) return false;
  ApplyWork work = std::move(member.applies.front());
  member.applies.pop_front();
  for (const Entry& entry : work.entries) {
    if (entry.index <= member.applied_index) continue;  // A snapshot was faster.
    if (entry.index != member.applied_index + 1) {
      Violate(
          absl::StrCat("member ", id, " applies ", entry.index, " after ", member.applied_index));
    }
    CheckApplied(entry, id);
    member.applied.push_back(entry);
    member.applied_index = entry.index;
    if (entry.type != EntryType::kNormal) {
      auto change = DecodeConfChange(entry);
      KEELSON_CHECK(change.ok()) << change.status().ToString();
      if (auto next = member.core->ApplyConfChange(entry.index, *change); next.has_value()) {
        member.applied_conf = *std::move(next);
      }  // Else a snapshot waits to take the place of all of this.
    }
  }
  for (Message& message : work.responses) (void)member.core->Step(std::move(message));
  Collect(id);
  return true;
}

void CoreNetwork::Deliver(size_t position) {
  Message message = std::move(in_flight_.at(position));
  in_flight_.erase(in_flight_.begin() + static_cast<ptrdiff_t>(position));
  const auto member = members_.find(message.to);
  if (member == members_.end() || cut_.contains({message.from, message.to})) return;
  // Errors are answers to strangers and refused forwards: the sender hears nothing either way.
  (void)member->second->core->Step(std::move(message));
  Collect(member->first);
}

void CoreNetwork::Settle() {
  for (bool busy = true; busy;) {
    busy = false;
    for (const NodeId id : ids()) {
      Collect(id);
      while (AppendOne(id)) busy = true;
      while (ApplyOne(id)) busy = true;
    }
    while (!in_flight_.empty()) {
      Deliver(0);
      busy = true;
    }
  }
}

void CoreNetwork::Tick(NodeId id, int times) {
  for (int i = 0; i < times; ++i) {
    core(id).Tick();
    Collect(id);
  }
}

void CoreNetwork::TickAll(int times) {
  for (int i = 0; i < times; ++i) {
    for (const NodeId id : ids()) Tick(id);
    Settle();
  }
}

void CoreNetwork::Elect(NodeId id) {
  core(id).Campaign();
  Settle();
}

absl::Status CoreNetwork::Propose(NodeId id, const std::string& data) {
  const Payload payload(data);
  absl::Status status = core(id).Propose(std::span<const Payload>(&payload, 1));
  Collect(id);
  return status;
}

void CoreNetwork::Restart(NodeId id) {
  Member& member = At(id);
  member.appends.clear();
  member.applies.clear();
  // The log starts from what the state machine holds, like a driver does it.
  MemoryLog start = std::move(member.log);
  SnapshotMetadata metadata;
  metadata.index = start.FirstIndex() - 1;
  metadata.term = start.TermAt(metadata.index).value();
  metadata.conf_state = member.applied_conf;
  MemoryLog log(metadata, start.InitialHardState());
  if (start.LastIndex() >= start.FirstIndex()) {
    log.Append(start.Entries(start.FirstIndex(), start.LastIndex() + 1, UINT64_MAX).value());
  }
  if (auto snapshot = start.LatestSnapshot(); snapshot.ok()) log.OfferSnapshot(*snapshot);
  member.log = std::move(log);
  member.core.reset();
  Start(member);
}

void CoreNetwork::LoseDisk(NodeId id, bool unaware) {
  Member& member = At(id);
  member.appends.clear();
  member.applies.clear();
  member.applied.clear();
  member.applied_index = 0;
  member.applied_conf = {};
  HardState state;
  if (!unaware) {
    state.incarnation = 1000 * id + ++lives_;
    state.recovering = true;
  }
  member.log = MemoryLog({}, state);
  member.core.reset();
  Start(member);
}

void CoreNetwork::Cut(NodeId a, NodeId b) {
  cut_.insert({a, b});
  cut_.insert({b, a});
}

void CoreNetwork::Isolate(NodeId id) {
  for (const NodeId other : ids()) {
    if (other != id) Cut(id, other);
  }
}

void CoreNetwork::OfferSnapshot(NodeId id) {
  Member& member = At(id);
  const Index index = std::min(member.applied_index, member.log.LastIndex());
  if (index == 0 || index + 1 < member.log.FirstIndex()) return;
  Snapshot snapshot;
  snapshot.metadata = {index, member.log.TermAt(index).value(), member.applied_conf};
  member.log.OfferSnapshot(snapshot);
}

void CoreNetwork::Compact(NodeId id) {
  Member& member = At(id);
  const Index index = std::min(member.applied_index, member.log.LastIndex());
  OfferSnapshot(id);
  if (index + 1 >= member.log.FirstIndex()) member.log.Compact(index);
}

void CoreNetwork::CheckLeader(Member& member) {
  if (member.core->soft_state().role != Role::kLeader) return;
  const Term term = member.core->hard_state().term;
  const auto [it, inserted] = leaders_.emplace(term, member.id);
  if (it->second != member.id) {
    Violate(absl::StrCat("members ", it->second, " and ", member.id, " both lead term ", term));
  }
}

void CoreNetwork::CheckApplied(const Entry& entry, NodeId id) {
  const auto [it, inserted] = committed_.emplace(entry.index, entry);
  if (!(it->second == entry)) {
    Violate(absl::StrCat("member ", id, " applies another entry at ", entry.index));
  }
}

}  // namespace keelson::raft
