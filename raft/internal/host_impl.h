// The class behind Host: host.cc opens it, and makes and removes groups; host_run.cc is what it does
// meanwhile.
#ifndef KEELSON_RAFT_INTERNAL_HOST_IMPL_H_
#define KEELSON_RAFT_INTERNAL_HOST_IMPL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "raft/host.h"
#include "raft/internal/append_loop.h"
#include "raft/internal/group_ids.h"
#include "raft/internal/host_seams.h"
#include "raft/internal/lazy_snapshot_store.h"
#include "raft/internal/liveness.h"
#include "raft/internal/node_impl.h"
#include "raft/internal/outbox.h"
#include "raft/internal/shared_wal.h"
#include "raft/internal/wal_repair.h"

namespace keelson::raft {

// Messages of this group are between hosts: "I live", and with an index: "wake that group".
inline constexpr GroupId kHostGroup = std::numeric_limits<GroupId>::max();

struct HostLoop;

// One group on this host. Shared with those who got its node from Host::Group.
struct HostedGroup {
  HostedGroup(GroupId group, HostLoop& its_loop, Outbox& loop_outbox, Outbox& append_outbox,
              FileSystem& fs, const std::string& snapshot_dir)
      : id(group),
        loop(its_loop),
        transport(loop_outbox, group),
        after_sync(append_outbox, group),
        snapshots(std::make_shared<LazySnapshotStore>(fs, snapshot_dir)) {}

  const GroupId id;
  HostLoop& loop;
  GroupTransport transport;
  GroupTransport after_sync;
  const std::shared_ptr<LazySnapshotStore> snapshots;
  std::unique_ptr<NodeImpl> node;  // set before anyone else sees the group
  bool ticking = false;            // on the loop: it is in HostLoop::ticking
  bool removed = false;            // on the loop
  int forlorn_ticks = 0;           // on the loop; see HostImpl::CallForHelp
};

using GroupPtr = std::shared_ptr<HostedGroup>;

// A group of the last run that has not been started.
struct WaitingGroup {
  Wal::Recovered recovered;
  Wal* log = nullptr;
  std::optional<SharedWal::Loss::Group> loss = {};  // found when the log was opened
};

// A thread that runs some of the groups. Groups that need no time are not in `ticking`, and
// without any there is no timer.
struct HostLoop {
  HostLoop(Executor& the_executor, Transport& transport)
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
  // `incarnation`: of the groups that lose something in this life.
  HostImpl(const Options& options, const Env& env, HostSeams seams, uint64_t incarnation,
           std::unique_ptr<SharedWal> wal, SharedWal::Recovered recovered, SyncToken token)
      : options_(options),
        env_(env),
        seams_(std::move(seams)),
        incarnation_(incarnation),
        lost_(LossOf(recovered)),
        tick_interval_(options.node.tick_interval),
        wal_(std::move(wal)),
        append_loop_(
            *env.append, [this] { return wal_->Sync(); }, std::move(token),
            [this](const absl::Status& status) { FailAll(status); }),
        append_outbox_(*env.append, *env.transport),
        liveness_(tick_interval_ * options.node.core.election_ticks,
                  tick_interval_ * options.node.core.heartbeat_ticks) {
    for (auto& [id, log] : recovered.groups) {
      recovered_[id] = {.recovered = std::move(log), .log = wal_->Group(id)};
      if (!recovered.loss.has_value()) continue;
      const auto loss = recovered.loss->groups.find(id);
      if (loss != recovered.loss->groups.end()) recovered_[id].loss = loss->second;
    }
    for (Executor* executor : env.loops) {
      loops_.push_back(std::make_unique<HostLoop>(*executor, *env.transport));
    }
    for (const auto& [first, last] : wal_->Removed()) gone_.Add(first, last);
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
  [[nodiscard]] const std::optional<Loss>& Lost() const override { return lost_; }

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

  static std::optional<Loss> LossOf(const SharedWal::Recovered& recovered);
  [[nodiscard]] std::string SnapshotDir(GroupId id) const;
  [[nodiscard]] Observer* ObserverOf(GroupId id) const {
    return seams_.observer_of ? seams_.observer_of(id) : env_.observer;
  }
  // Brings what the group has on disk into agreement; true: a sync is needed. See FitGroup.
  absl::StatusOr<bool> Fit(GroupId id, StateMachine& machine, WaitingGroup& group);
  absl::StatusOr<bool> FitLost(const NewGroup& group, Wal::Recovered& log);
  absl::Status FitAndStart(GroupId id, StateMachine* machine, WaitingGroup& group);
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
  void Tick(HostLoop& loop);
  // A group here that has lost data waits for its leader to say something. Its members may sleep, so
  // their hosts are asked to wake it, once an election timeout.
  void CallForHelp(HostedGroup& group);
  [[nodiscard]] Message PingTo(NodeId peer) const;
  void Wake(GroupId id) ABSL_SHARED_LOCKS_REQUIRED(mu_);

  // On the first loop.
  void SchedulePing();
  void Ping();
  void Suspect(NodeId peer);

  void ScheduleCompaction();
  absl::Status CompactPinning();  // on the append executor

  void FailAll(const absl::Status& status);

  const Options options_;
  const Env env_;
  const HostSeams seams_;
  const uint64_t incarnation_;
  const std::optional<Loss> lost_;
  const absl::Duration tick_interval_;
  const std::unique_ptr<SharedWal> wal_;
  AppendLoop append_loop_;
  Outbox append_outbox_;
  std::vector<std::unique_ptr<HostLoop>> loops_;  // constant after construction
  size_t compact_from_ = 0;  // on the append executor: where the next round begins

  std::atomic<uint64_t> unknown_groups_{0};
  std::atomic<uint64_t> removed_entries_{0};  // appended by groups that are gone

  mutable absl::Mutex peers_mu_;
  Liveness liveness_ ABSL_GUARDED_BY(peers_mu_);

  mutable absl::Mutex mu_;
  absl::flat_hash_map<GroupId, GroupPtr> groups_ ABSL_GUARDED_BY(mu_);
  std::map<GroupId, WaitingGroup> recovered_ ABSL_GUARDED_BY(mu_);
  wal::GroupIds gone_ ABSL_GUARDED_BY(mu_);  // removed, or about to be
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  bool failed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_HOST_IMPL_H_
