#include "raft/host.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/burst.h"
#include "base/check.h"
#include "base/status.h"
#include "raft/internal/append_loop.h"
#include "raft/internal/lazy_snapshot_store.h"
#include "raft/internal/liveness.h"
#include "raft/internal/node_impl.h"
#include "raft/internal/outbox.h"
#include "raft/internal/recovery.h"
#include "raft/internal/shared_wal.h"

namespace keelson::raft {
namespace {

// Messages of this group are between hosts: "I live".
constexpr GroupId kHostGroup = std::numeric_limits<GroupId>::max();
// How often the log is asked who keeps old segments, and how many groups are then compacted.
constexpr absl::Duration kCompactInterval = absl::Seconds(1);
constexpr size_t kCompactGroups = 64;
constexpr absl::Duration kNoSpaceRetry = absl::Milliseconds(200);

struct Loop;

// One group on this host. Shared with those who got its node from Host::Group.
struct HostedGroup {
  HostedGroup(GroupId group, Loop& its_loop, Outbox& loop_outbox, Outbox& append_outbox,
              FileSystem& fs, const std::string& snapshot_dir)
      : id(group),
        loop(its_loop),
        transport(loop_outbox, group),
        after_sync(append_outbox, group),
        snapshots(std::make_shared<LazySnapshotStore>(fs, snapshot_dir)) {}

  const GroupId id;
  Loop& loop;
  GroupTransport transport;
  GroupTransport after_sync;
  const std::shared_ptr<LazySnapshotStore> snapshots;
  std::unique_ptr<NodeImpl> node;  // set before anyone else sees the group
  bool ticking = false;            // on the loop: it is in Loop::ticking
  bool removed = false;            // on the loop
};

using GroupPtr = std::shared_ptr<HostedGroup>;

// A group of the last run that has not been started.
struct Waiting {
  Wal::Recovered recovered;
  Wal* log = nullptr;
};

// A thread that runs some of the groups. Groups that need no time are not in `ticking`, and
// without any there is no timer.
struct Loop {
  Loop(Executor& the_executor, Transport& transport)
      : executor(the_executor), outbox(the_executor, transport) {}

  Executor& executor;
  Outbox outbox;
  // On the executor.
  std::vector<GroupPtr> groups;
  std::vector<HostedGroup*> ticking;
  bool timer = false;
};

class HostImpl final : public Host {
 public:
  HostImpl(const Options& options, const Env& env, std::unique_ptr<SharedWal> wal,
           std::map<GroupId, Wal::Recovered> recovered, SyncToken token)
      : options_(options),
        env_(env),
        tick_interval_(options.node.tick_interval),
        wal_(std::move(wal)),
        append_loop_(
            *env.append, [this] { return wal_->Sync(); }, std::move(token),
            [this](const absl::Status& status) { FailAll(status); }),
        append_outbox_(*env.append, *env.transport),
        liveness_(tick_interval_ * options.node.core.election_ticks,
                  tick_interval_ * options.node.core.heartbeat_ticks) {
    for (auto& [id, log] : recovered) recovered_[id] = {std::move(log), wal_->Group(id)};
    for (Executor* executor : env.loops) {
      loops_.push_back(std::make_unique<Loop>(*executor, *env.transport));
    }
    SchedulePing();
    ScheduleCompaction();
  }

  void Stop() override;

  [[nodiscard]] std::vector<GroupId> Recovered() const override;
  absl::Status StartGroup(GroupId id, StateMachine* machine) override;
  void CreateGroups(std::vector<NewGroup> groups, std::function<void(absl::Status)> done) override;
  void RemoveGroup(GroupId id, std::function<void(absl::Status)> done) override;

  [[nodiscard]] std::shared_ptr<Node> Group(GroupId id) const override {
    const GroupPtr group = Find(id);
    return group == nullptr ? nullptr : std::shared_ptr<Node>(group, group->node.get());
  }
  [[nodiscard]] std::shared_ptr<SnapshotStore> Snapshots(GroupId id) const override {
    const GroupPtr group = Find(id);
    return group == nullptr ? nullptr : group->snapshots;
  }
  [[nodiscard]] Stats GetStats() const override;

  void Receive(std::vector<Message> messages) override;
  void ReportUnreachable(NodeId peer) override;
  void ReportSnapshot(NodeId /*peer*/, bool /*ok*/) override {}  // Of no group of ours.
  void ReportGroupSnapshot(GroupId group, NodeId peer, bool ok) override {
    if (const GroupPtr found = Find(group)) found->node->ReportSnapshot(peer, ok);
  }

 private:
  [[nodiscard]] GroupPtr Find(GroupId id) const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::ReaderMutexLock lock(&mu_);
    const auto found = groups_.find(id);
    return found == groups_.end() ? nullptr : found->second;
  }
  [[nodiscard]] std::vector<GroupPtr> AllGroups() const ABSL_LOCKS_EXCLUDED(mu_);
  [[nodiscard]] bool Stopped() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::ReaderMutexLock lock(&mu_);
    return stopped_;
  }

  absl::Status StartRecovered(GroupId id, StateMachine* machine, Wal* log, Wal::Recovered recovered)
      ABSL_LOCKS_EXCLUDED(mu_);
  Node::Options NodeOptions(GroupId id);
  void Watch(const SnapshotMetadata& start, const std::vector<Entry>& entries);
  // On the append executor.
  absl::Status AddToLog(std::span<const NewGroup> groups, size_t* added);
  void FinishRemoval(GroupPtr group, std::function<void(absl::Status)> done);
  void RemoveFromLog(GroupPtr group, std::function<void(absl::Status)> done);

  // On the loop of the group.
  void WantTicks(HostedGroup& group);
  void Tick(Loop& loop);

  // On the first loop.
  void SchedulePing();
  void Ping();
  void Suspect(NodeId peer);

  void ScheduleCompaction();
  absl::Status CompactPinning();  // on the append executor

  void FailAll(const absl::Status& status);

  const Options options_;
  const Env env_;
  const absl::Duration tick_interval_;
  const std::unique_ptr<SharedWal> wal_;  // on the append executor
  AppendLoop append_loop_;
  Outbox append_outbox_;
  std::vector<std::unique_ptr<Loop>> loops_;  // constant after construction
  size_t compact_from_ = 0;                   // on the append executor: where the next round begins

  std::atomic<uint64_t> unknown_groups_{0};
  std::atomic<uint64_t> removed_entries_{0};  // appended by groups that are gone

  mutable absl::Mutex peers_mu_;
  Liveness liveness_ ABSL_GUARDED_BY(peers_mu_);

  mutable absl::Mutex mu_;
  absl::flat_hash_map<GroupId, GroupPtr> groups_ ABSL_GUARDED_BY(mu_);
  std::map<GroupId, Waiting> recovered_ ABSL_GUARDED_BY(mu_);
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  bool failed_ ABSL_GUARDED_BY(mu_) = false;
};

// --- Groups come and go ---

std::vector<GroupId> HostImpl::Recovered() const {
  absl::ReaderMutexLock lock(&mu_);
  std::vector<GroupId> ids;
  ids.reserve(recovered_.size());
  for (const auto& [id, waiting] : recovered_) ids.push_back(id);
  return ids;
}

absl::Status HostImpl::StartGroup(GroupId id, StateMachine* machine) {
  Waiting waiting;
  {
    absl::MutexLock lock(&mu_);
    const auto found = recovered_.find(id);
    if (found == recovered_.end()) {
      return absl::NotFoundError(absl::StrCat("the log has no group ", id, " that is not started"));
    }
    waiting = std::move(found->second);
    recovered_.erase(found);
  }
  return StartRecovered(id, machine, waiting.log, std::move(waiting.recovered));
}

absl::Status HostImpl::StartRecovered(GroupId id, StateMachine* machine, Wal* log,
                                      Wal::Recovered recovered) {
  Loop& loop = *loops_[id % loops_.size()];
  auto group = std::make_shared<HostedGroup>(
      id, loop, loop.outbox, append_outbox_, *env_.fs,
      JoinPath(JoinPath(options_.dir, "snapshots"), absl::StrCat(absl::Hex(id))));
  auto recovery = Recover(std::move(recovered), *machine, *group->snapshots);
  if (!recovery.ok()) return Annotate(recovery.status(), absl::StrCat("group ", id));
  Watch(recovery->log.start, recovery->log.entries);
  group->node = std::make_unique<NodeImpl>(
      NodeOptions(id),
      Node::Env{.clock = env_.clock,
                .loop = &loop.executor,
                .append = env_.append,
                .apply = env_.apply,
                .background = env_.background,
                .transport = &group->transport,
                .wal = log,
                .snapshots = group->snapshots.get(),
                .machine = machine,
                .observer = env_.observer,
                .random = env_.random.Stream(absl::StrCat("group ", id))},
      *recovery,
      NodeSharing{.append_loop = &append_loop_,
                  .after_sync = &group->after_sync,
                  .want_ticks = [this, raw = group.get()] { WantTicks(*raw); }},
      std::nullopt);
  KEELSON_RETURN_IF_ERROR(Annotate(group->node->Init(), absl::StrCat("group ", id)));
  {
    absl::MutexLock lock(&mu_);
    if (stopped_ || failed_) return absl::UnavailableError("stopped");
    groups_[id] = group;
  }
  loop.executor.Post([this, group] {
    group->loop.groups.push_back(group);
    WantTicks(*group);
  });
  return absl::OkStatus();
}

Node::Options HostImpl::NodeOptions(GroupId id) {
  Node::Options options = options_.node;
  options.core.id = options_.id;
  options.on_fatal = [this, id](absl::Status status) {
    {
      absl::ReaderMutexLock lock(&mu_);
      if (failed_) return;  // Said for all.
    }
    if (options_.on_fatal) options_.on_fatal(id, std::move(status));
  };
  options.on_role_change = nullptr;
  if (options_.on_role_change) {
    options.on_role_change = [this, id](const SoftState& state, Term term) {
      options_.on_role_change(id, state, term);
    };
  }
  return options;
}

// Members that are not known yet are met when they speak.
void HostImpl::Watch(const SnapshotMetadata& start, const std::vector<Entry>& entries) {
  ConfState members = start.conf_state;
  for (const Entry& entry : entries) {
    if (entry.type == EntryType::kNormal) continue;
    const absl::StatusOr<ConfChange> change = DecodeConfChange(entry);
    if (!change.ok()) continue;
    if (auto next = ApplyToConfState(members, *change); next.ok()) members = *std::move(next);
  }
  const absl::Duration now = env_.clock->Monotonic();
  absl::MutexLock lock(&peers_mu_);
  for (const auto* list : {&members.voters, &members.learners, &members.voters_outgoing}) {
    for (const NodeId peer : *list) {
      if (peer != options_.id) liveness_.Add(peer, now);
    }
  }
}

void HostImpl::CreateGroups(std::vector<NewGroup> groups, std::function<void(absl::Status)> done) {
  if (Stopped()) return done(absl::UnavailableError("stopped"));
  append_loop_.Post([this, groups = std::move(groups), done = std::move(done)]() mutable {
    size_t added = 0;
    absl::Status refused = AddToLog(groups, &added);
    if (absl::Status synced = wal_->Sync().status(); !synced.ok()) {
      done(synced);
      return Annotate(synced, "sync the log");
    }
    std::vector<Wal*> logs;
    for (size_t i = 0; i < added; ++i) logs.push_back(wal_->Group(groups[i].id));
    groups.resize(added);
    // Not here: the log would stand still meanwhile.
    loops_.front()->executor.Post([this, groups = std::move(groups), logs = std::move(logs),
                                   refused = std::move(refused), done = std::move(done)] {
      absl::Status result = refused;
      for (size_t i = 0; i < groups.size(); ++i) {
        Wal::Recovered log;
        log.start = groups[i].start;
        log.hard_state.commit = log.start.index;
        const absl::Status started =
            StartRecovered(groups[i].id, groups[i].machine, logs[i], std::move(log));
        if (!started.ok()) result = started;
      }
      done(result);
    });
    return absl::OkStatus();
  });
}

absl::Status HostImpl::AddToLog(std::span<const NewGroup> groups, size_t* added) {
  for (const NewGroup& group : groups) {
    KEELSON_RETURN_IF_ERROR(wal_->AddGroup(group.id, group.start));
    ++*added;
  }
  return absl::OkStatus();
}

void HostImpl::RemoveGroup(GroupId id, std::function<void(absl::Status)> done) {
  GroupPtr group;
  {
    absl::MutexLock lock(&mu_);
    const auto found = groups_.find(id);
    if (found != groups_.end()) {
      group = std::move(found->second);
      groups_.erase(found);
    }
  }
  if (group == nullptr) {
    return done(absl::NotFoundError(absl::StrCat("group ", id, " is not started")));
  }
  group->node->Stop();
  // A step that runs just now may still hand out work; behind it the loop starts nothing more.
  group->loop.executor.Post([this, group, done = std::move(done)]() mutable {
    RemoveFromLog(std::move(group), std::move(done));
  });
}

void HostImpl::RemoveFromLog(GroupPtr group, std::function<void(absl::Status)> done) {
  append_loop_.Post([this, group, done = std::move(done)]() mutable {
    group->node->DetachAppends();
    const absl::Status removed = wal_->RemoveGroup(group->id);
    if (removed.code() == absl::StatusCode::kResourceExhausted) {
      env_.append->PostAfter(kNoSpaceRetry, [this, group, done = std::move(done)]() mutable {
        RemoveFromLog(std::move(group), std::move(done));
      });
      return absl::OkStatus();
    }
    KEELSON_RETURN_IF_ERROR(Annotate(removed, "remove a group"));
    KEELSON_RETURN_IF_ERROR(Annotate(wal_->Sync().status(), "sync the log"));
    FinishRemoval(std::move(group), std::move(done));
    return absl::OkStatus();
  });
}

// Tasks of the node may still wait on the executors, and each may have posted one to another:
// append -> apply (a snapshot to load) -> append; apply -> background -> loop. Once around
// all of them, behind everything, and nobody uses the node or the machine any more.
void HostImpl::FinishRemoval(GroupPtr group, std::function<void(absl::Status)> done) {
  removed_entries_.fetch_add(group->node->GetStats().entries_appended, std::memory_order_relaxed);
  env_.apply->Post([this, group = std::move(group), done = std::move(done)] {
    env_.background->Post([this, group, done] {
      const absl::Status cleaned = group->snapshots->RemoveAll();
      env_.append->Post([group, done, cleaned] {
        group->loop.executor.Post([group, done, cleaned] {
          Loop& loop = group->loop;
          std::erase(loop.ticking, group.get());
          group->removed = true;  // A late task must not bring it back.
          std::erase(loop.groups, group);
          done(cleaned);
        });
      });
    });
  });
}

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
      if (id == kHostGroup) continue;
      if (const auto found = groups_.find(id); found != groups_.end()) {
        found->second->node->Receive(std::move(run));
      } else if (!recovered_.contains(id)) {
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
  Loop& loop = group.loop;
  loop.ticking.push_back(&group);
  if (std::exchange(loop.timer, true)) return;
  loop.executor.PostAfter(tick_interval_, [this, &loop] { Tick(loop); });
}

void HostImpl::Tick(Loop& loop) {
  Burst burst;
  size_t kept = 0;
  for (HostedGroup* group : loop.ticking) {
    group->ticking = group->node->Tick();
    if (group->ticking) loop.ticking[kept++] = group;
  }
  loop.ticking.resize(kept);
  loop.timer = kept > 0 && !Stopped();
  if (loop.timer) loop.executor.PostAfter(tick_interval_, [this, &loop] { Tick(loop); });
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
    for (const NodeId peer : liveness_.peers()) {
      Message& ping = pings.emplace_back();
      ping.type = MessageType::kHeartbeat;
      ping.from = options_.id;
      ping.to = peer;
    }
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

// Snapshots of groups that the log does not know: their removal was interrupted.
absl::Status RemoveStraySnapshots(FileSystem& fs, const std::string& dir,
                                  const std::map<GroupId, Wal::Recovered>& known) {
  KEELSON_ASSIGN_OR_RETURN(const bool exists, fs.Exists(dir));
  if (!exists) return absl::OkStatus();
  KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(dir));
  for (const std::string& name : names) {
    GroupId id = 0;
    if (!absl::SimpleHexAtoi(name, &id) || known.contains(id)) continue;
    KEELSON_RETURN_IF_ERROR(LazySnapshotStore(fs, JoinPath(dir, name)).RemoveAll());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Host>> Host::Open(const Options& options, const Env& env) {
  if (options.id == kNoNode || options.id >= kApplyThread) {
    return absl::InvalidArgumentError(absl::StrCat("node id ", options.id, " is not possible"));
  }
  if (env.loops.empty()) return absl::InvalidArgumentError("a host needs a loop");
  const std::string dir = JoinPath(options.dir, "wal");
  const Identity identity = {.cluster_id = options.cluster_id, .node_id = options.id};
  KEELSON_ASSIGN_OR_RETURN(const bool exists, SharedWal::Exists(*env.fs, dir));
  if (!exists) {
    KEELSON_RETURN_IF_ERROR(SharedWal::Create(*env.fs, dir, identity, options.wal));
  }
  SharedWal::Recovered recovered;
  KEELSON_ASSIGN_OR_RETURN(auto wal,
                           SharedWal::Open(*env.fs, dir, identity, options.wal, &recovered));
  KEELSON_RETURN_IF_ERROR(
      RemoveStraySnapshots(*env.fs, JoinPath(options.dir, "snapshots"), recovered.groups));
  KEELSON_ASSIGN_OR_RETURN(SyncToken token, wal->Sync());
  return std::make_unique<HostImpl>(options, env, std::move(wal), std::move(recovered.groups),
                                    std::move(token));
}

}  // namespace keelson::raft
