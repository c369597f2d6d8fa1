#include "raft/host.h"

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/internal/host_impl.h"
#include "raft/internal/host_seams.h"
#include "raft/internal/host_storage.h"
#include "raft/internal/recovery.h"
#include "raft/internal/shared_wal.h"
#include "raft/internal/storage_fit.h"

namespace keelson::raft {
namespace {

constexpr absl::Duration kNoSpaceRetry = absl::Milliseconds(200);
constexpr char kSnapshotsName[] = "snapshots";

absl::Status InGroup(GroupId id, const absl::Status& status) {
  return status.ok() ? status : Annotate(status, absl::StrCat("group ", id));
}

}  // namespace

// --- Groups come and go ---

std::vector<GroupId> HostImpl::Recovered() const {
  absl::ReaderMutexLock lock(&mu_);
  std::vector<GroupId> ids;
  ids.reserve(recovered_.size());
  for (const auto& [id, waiting] : recovered_) ids.push_back(id);
  return ids;
}

std::string HostImpl::SnapshotDir(GroupId id) const {
  return JoinPath(JoinPath(options_.dir, kSnapshotsName), absl::StrCat(absl::Hex(id)));
}

std::optional<Host::Loss> HostImpl::LossOf(const SharedWal::Recovered& recovered) {
  if (!recovered.loss.has_value()) return std::nullopt;
  Loss loss{.what = recovered.loss->what, .groups = {}, .forgotten = recovered.loss->forgotten};
  for (const auto& [id, group] : recovered.loss->groups) loss.groups.push_back(id);
  return loss;
}

absl::Status HostImpl::StartGroup(GroupId id, StateMachine* machine) {
  WaitingGroup waiting;
  {
    absl::MutexLock lock(&mu_);
    const auto found = recovered_.find(id);
    if (found == recovered_.end()) {
      return absl::NotFoundError(absl::StrCat("the log has no group ", id, " that is not started"));
    }
    waiting = std::move(found->second);
    recovered_.erase(found);
  }
  absl::Status started = FitAndStart(id, machine, waiting);
  if (started.ok()) return started;
  absl::MutexLock lock(&mu_);
  recovered_[id] = std::move(waiting);
  return started;
}

absl::Status HostImpl::FitAndStart(GroupId id, StateMachine* machine, WaitingGroup& group) {
  const absl::StatusOr<bool> written = Fit(id, *machine, group);
  if (!written.ok()) return InGroup(id, written.status());
  if (*written) KEELSON_RETURN_IF_ERROR(InGroup(id, wal_->Sync().status()));
  return StartRecovered(id, machine, group.log, group.recovered);
}

absl::StatusOr<bool> HostImpl::Fit(GroupId id, StateMachine& machine, WaitingGroup& group) {
  LazySnapshotStore snapshots(*env_.fs, SnapshotDir(id));
  Wal::Recovered& log = group.recovered;
  const Index last = log.start.index + log.entries.size();
  std::optional<std::string> what;
  if (group.loss.has_value()) what = lost_->what;
  KEELSON_ASSIGN_OR_RETURN(
      const bool written,
      FitGroup(
          {.id = id, .host = options_.id, .wal = *wal_, .machine = machine, .snapshots = snapshots},
          incarnation_, log, &what));
  Observer* const observer = ObserverOf(id);
  if (!what.has_value() || observer == nullptr) return written;
  const Index kept = std::max(log.start.index + log.entries.size(), machine.Applied().index);
  const Index known = group.loss.has_value() ? group.loss->known : last;
  observer->On(options_.id, event::StorageRepaired{.incarnation = log.hard_state.incarnation,
                                                   .kept = kept,
                                                   .known = std::max(kept, known),
                                                   .what = *what});
  return written;
}

absl::StatusOr<bool> HostImpl::FitLost(const NewGroup& group, Wal::Recovered& log) {
  if (wal_->Group(group.id) != nullptr) {
    return absl::AlreadyExistsError(absl::StrCat("group ", group.id, " is in the log already"));
  }
  WaitingGroup lost;
  lost.recovered.hard_state.recovering = true;
  KEELSON_ASSIGN_OR_RETURN(const bool written, Fit(group.id, *group.machine, lost));
  log = std::move(lost.recovered);
  return written;
}

absl::Status HostImpl::StartRecovered(GroupId id, StateMachine* machine, Wal* log,
                                      Wal::Recovered recovered) {
  HostLoop& loop = *loops_[id % loops_.size()];
  auto group = std::make_shared<HostedGroup>(id, loop, loop.outbox, append_outbox_, *env_.fs,
                                             SnapshotDir(id));
  auto recovery = Recover(std::move(recovered), *machine, *group->snapshots);
  if (!recovery.ok()) return InGroup(id, recovery.status());
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
                .observer = ObserverOf(id),
                .random = env_.random.Stream(absl::StrCat("group ", id))},
      *recovery,
      NodeSharing{.append_loop = &append_loop_,
                  .after_sync = &group->after_sync,
                  .want_ticks = [this, raw = group.get()] { WantTicks(*raw); }},
      std::nullopt);
  KEELSON_RETURN_IF_ERROR(InGroup(id, group->node->Init()));
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
  std::vector<Wal::Recovered> logs(groups.size());
  absl::Status fit;
  for (size_t i = 0; i < groups.size(); ++i) {
    logs[i].start = groups[i].start;
    logs[i].hard_state.commit = groups[i].start.index;
    if (!groups[i].lost) continue;
    fit = InGroup(groups[i].id, FitLost(groups[i], logs[i]).status());
    if (fit.ok()) continue;
    groups.resize(i);
    break;
  }
  append_loop_.Post([this, groups = std::move(groups), logs = std::move(logs), fit,
                     done = std::move(done)]() mutable {
    size_t added = 0;
    absl::Status refused = AddToLog(groups, &added);
    if (refused.ok()) refused = fit;
    if (absl::Status synced = wal_->Sync().status(); !synced.ok()) {
      done(synced);
      return Annotate(synced, "sync the log");
    }
    groups.resize(added);
    std::vector<Wal*> wals;
    for (const NewGroup& group : groups) wals.push_back(wal_->Group(group.id));
    // Not here: the log would stand still meanwhile.
    loops_.front()->executor.Post([this, groups = std::move(groups), logs = std::move(logs),
                                   wals = std::move(wals), refused = std::move(refused),
                                   done = std::move(done)]() mutable {
      absl::Status result = refused;
      for (size_t i = 0; i < groups.size(); ++i) {
        const absl::Status started =
            StartRecovered(groups[i].id, groups[i].machine, wals[i], std::move(logs[i]));
        if (!started.ok()) result = started;
      }
      done(result);
    });
    return absl::OkStatus();
  });
}

absl::Status HostImpl::AddToLog(std::span<const NewGroup> groups, size_t* added) {
  for (const NewGroup& group : groups) {
    if (!group.lost) KEELSON_RETURN_IF_ERROR(wal_->AddGroup(group.id, group.start));
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
      gone_.Add(id, id);
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
// append -> apply (a snapshot to load) -> append; apply -> background -> loop, or back to apply (a
// flush) -> loop. Once around all of them, behind everything, and nobody uses the node or the machine
// any more.
void HostImpl::FinishRemoval(GroupPtr group, std::function<void(absl::Status)> done) {
  removed_entries_.fetch_add(group->node->GetStats().entries_appended, std::memory_order_relaxed);
  env_.apply->Post([this, group = std::move(group), done = std::move(done)] {
    env_.background->Post([this, group, done] {
      const absl::Status cleaned = group->snapshots->RemoveAll();
      env_.apply->Post([this, group, done, cleaned] {
        env_.append->Post([group, done, cleaned] {
          group->loop.executor.Post([group, done, cleaned] {
            HostLoop& loop = group->loop;
            std::erase(loop.ticking, group.get());
            group->removed = true;  // A late task must not bring it back.
            std::erase(loop.groups, group);
            done(cleaned);
          });
        });
      });
    });
  });
}

namespace {

// Snapshots of groups whose removal was interrupted. Those of groups that the log does not know for
// another reason may be all that is left of them.
absl::Status RemoveStraySnapshots(FileSystem& fs, const std::string& dir, const SharedWal& log) {
  KEELSON_ASSIGN_OR_RETURN(const bool exists, fs.Exists(dir));
  if (!exists) return absl::OkStatus();
  KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(dir));
  for (const std::string& name : names) {
    GroupId id = 0;
    if (!absl::SimpleHexAtoi(name, &id) || !log.WasRemoved(id)) continue;
    KEELSON_RETURN_IF_ERROR(LazySnapshotStore(fs, JoinPath(dir, name)).RemoveAll());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Host>> OpenHost(const Host::Options& options, const Host::Env& env,
                                               HostSeams seams) {
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
  Random random = env.random.Stream("life");
  const uint64_t incarnation = DrawIncarnation(*env.clock, random);
  SharedWal::Recovered recovered;
  auto opened = options.repair ? SharedWal::OpenAndRepair(*env.fs, dir, identity, options.wal,
                                                          incarnation, &recovered)
                               : SharedWal::Open(*env.fs, dir, identity, options.wal, &recovered);
  if (!opened.ok()) return opened.status();
  std::unique_ptr<SharedWal> wal = *std::move(opened);
  KEELSON_RETURN_IF_ERROR(
      RemoveStraySnapshots(*env.fs, JoinPath(options.dir, kSnapshotsName), *wal));
  if (seams.wrap_log) wal = seams.wrap_log(std::move(wal), recovered);
  KEELSON_ASSIGN_OR_RETURN(SyncToken token, wal->Sync());
  return std::make_unique<HostImpl>(options, env, std::move(seams), incarnation, std::move(wal),
                                    std::move(recovered), std::move(token));
}

absl::StatusOr<std::unique_ptr<Host>> Host::Open(const Options& options, const Env& env) {
  return OpenHost(options, env, {});
}

}  // namespace keelson::raft
