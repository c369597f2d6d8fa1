#include "raft/internal/host_impl.h"

#include <algorithm>
#include <utility>

#include "base/burst.h"
#include "base/status.h"

namespace keelson::raft {
namespace {

// How often the log is asked who keeps old segments, and how many groups are then compacted.
constexpr absl::Duration kCompactInterval = absl::Seconds(1);
constexpr size_t kCompactGroups = 64;

}  // namespace

// --- Messages ---

void HostImpl::Receive(std::vector<Message> messages) {
  {
    const absl::Duration now = env_.clock->Monotonic();
    absl::MutexLock lock(&peers_mu_);
    NodeId last = kNoNode;
    for (const Message& message : messages) {
      if (message.from != last && message.from != options_.id) liveness_.Heard(message.from, now);
      last = message.from;
    }
  }
  std::vector<std::pair<GroupId, NodeId>> unknown;
  Burst burst;  // Each loop wakes once, for all its groups.
  {
    absl::ReaderMutexLock lock(&mu_);
    for (size_t i = 0; i < messages.size();) {
      const GroupId id = messages[i].group;
      const NodeId from = messages[i].from;
      std::vector<Message> run;
      for (; i < messages.size() && messages[i].group == id; ++i) {
        run.push_back(std::move(messages[i]));
      }
      if (id == kHostGroup) {
        for (const Message& message : run) Wake(message.index);
        continue;
      }
      if (const auto found = groups_.find(id); found != groups_.end()) {
        found->second->node->Receive(std::move(run));
      } else if (!recovered_.contains(id) && !gone_.Contains(id)) {
        unknown.emplace_back(id, from);
      }
    }
  }
  unknown_groups_.fetch_add(unknown.size(), std::memory_order_relaxed);
  if (!options_.on_unknown_group) return;
  for (const auto& [id, from] : unknown) options_.on_unknown_group(id, from);
}

// Only leaders that are awake care: when others send again, they will see.
void HostImpl::ReportUnreachable(NodeId peer) {
  for (const auto& loop : loops_) {
    loop->executor.Post([loop = loop.get(), peer] {
      for (HostedGroup* group : loop->ticking) group->node->ReportUnreachable(peer);
    });
  }
}

// --- Time ---

void HostImpl::WantTicks(HostedGroup& group) {
  if (group.ticking || group.removed) return;
  group.ticking = true;
  HostLoop& loop = group.loop;
  loop.ticking.push_back(&group);
  if (std::exchange(loop.timer, true)) return;
  loop.executor.PostAfter(tick_interval_, [this, &loop] { Tick(loop); });
}

void HostImpl::Tick(HostLoop& loop) {
  Burst burst;
  size_t kept = 0;
  for (HostedGroup* group : loop.ticking) {
    group->ticking = group->node->Tick();
    CallForHelp(*group);
    if (group->ticking) loop.ticking[kept++] = group;
  }
  loop.ticking.resize(kept);
  loop.timer = kept > 0 && !Stopped();
  if (loop.timer) loop.executor.PostAfter(tick_interval_, [this, &loop] { Tick(loop); });
}

void HostImpl::CallForHelp(HostedGroup& group) {
  if (!group.node->forlorn()) {
    group.forlorn_ticks = 0;
    return;
  }
  if (++group.forlorn_ticks % options_.node.core.election_ticks != 0) return;
  std::vector<Message> calls;
  {
    absl::MutexLock lock(&peers_mu_);
    for (const NodeId peer : liveness_.peers()) calls.push_back(PingTo(peer));
  }
  for (Message& call : calls) call.index = group.id;
  if (!calls.empty()) group.loop.outbox.Put(kHostGroup, std::move(calls));
}

void HostImpl::Wake(GroupId id) {
  const auto found = groups_.find(id);
  if (found == groups_.end()) return;
  found->second->loop.executor.Post([group = found->second] {
    if (!group->removed) group->node->WakeUp();
  });
}

Message HostImpl::PingTo(NodeId peer) const {
  Message ping;
  ping.type = MessageType::kHeartbeat;
  ping.from = options_.id;
  ping.to = peer;
  return ping;
}

void HostImpl::SchedulePing() {
  loops_.front()->executor.PostAfter(tick_interval_ * options_.node.core.heartbeat_ticks,
                                     [this] { Ping(); });
}

void HostImpl::Ping() {
  if (Stopped()) return;
  std::vector<NodeId> silent;
  std::vector<Message> pings;
  {
    absl::MutexLock lock(&peers_mu_);
    silent = liveness_.Check(env_.clock->Monotonic());
    for (const NodeId peer : liveness_.peers()) pings.push_back(PingTo(peer));
  }
  if (!pings.empty()) loops_.front()->outbox.Put(kHostGroup, std::move(pings));
  for (const NodeId peer : silent) Suspect(peer);
  SchedulePing();
}

void HostImpl::Suspect(NodeId peer) {
  for (const auto& loop : loops_) {
    loop->executor.Post([loop = loop.get(), peer] {
      for (const GroupPtr& group : loop->groups) group->node->SuspectLeader(peer);
    });
  }
}

// --- The log ---

void HostImpl::ScheduleCompaction() {
  env_.append->PostAfter(kCompactInterval, [this] {
    if (Stopped()) return;
    append_loop_.Post([this] { return CompactPinning(); });
    ScheduleCompaction();
  });
}

absl::Status HostImpl::CompactPinning() {
  const std::vector<GroupId> pinning =
      wal_->GroupsPinning(options_.keep_segments, std::numeric_limits<size_t>::max());
  // Another part of them each time, in case that some cannot be compacted now.
  for (size_t i = 0; i < std::min(kCompactGroups, pinning.size()); ++i) {
    const GroupPtr group = Find(pinning[compact_from_++ % pinning.size()]);
    if (group != nullptr) {
      group->loop.executor.Post([group] {
        if (!group->removed) group->node->CompactAll();
      });
    }
  }
  return absl::OkStatus();
}

// --- The whole ---

std::vector<GroupPtr> HostImpl::AllGroups() const {
  absl::ReaderMutexLock lock(&mu_);
  std::vector<GroupPtr> groups;
  groups.reserve(groups_.size());
  for (const auto& [id, group] : groups_) groups.push_back(group);
  return groups;
}

void HostImpl::FailAll(const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    if (std::exchange(failed_, true)) return;
  }
  // None may go on saying that it leads.
  for (const GroupPtr& group : AllGroups()) group->node->Fail(status);
  if (options_.on_fatal) options_.on_fatal(0, status);
}

void HostImpl::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopped_ = true;
  }
  for (const GroupPtr& group : AllGroups()) group->node->Stop();
}

Host::Stats HostImpl::GetStats() const {
  Stats stats;
  stats.entries_appended = removed_entries_.load(std::memory_order_relaxed);
  for (const GroupPtr& group : AllGroups()) {
    const Node::Snapshot peek = group->node->Peek();
    const Node::Stats one = group->node->GetStats();
    ++stats.groups;
    stats.asleep += peek.asleep ? 1 : 0;
    stats.leaders += peek.soft_state.role == Role::kLeader ? 1 : 0;
    stats.recovering += peek.recovering ? 1 : 0;
    stats.entries_appended += one.entries_appended;
    stats.stall_transfers += one.stall_transfers;
    stats.stall_step_downs += one.stall_step_downs;
  }
  stats.syncs = append_loop_.syncs();
  std::vector<const Outbox*> outboxes = {&append_outbox_};
  for (const auto& loop : loops_) outboxes.push_back(&loop->outbox);
  for (const Outbox* outbox : outboxes) {
    stats.messages_sent += outbox->GetStats().messages;
    stats.frames_sent += outbox->GetStats().frames;
  }
  stats.unknown_groups = unknown_groups_.load(std::memory_order_relaxed);
  absl::MutexLock lock(&peers_mu_);
  stats.hosts_lost = liveness_.lost();
  return stats;
}

}  // namespace keelson::raft
