// The class behind Node. A host (raft/host.h) makes one for each of its groups.
#ifndef KEELSON_RAFT_INTERNAL_NODE_IMPL_H_
#define KEELSON_RAFT_INTERNAL_NODE_IMPL_H_

#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "raft/core.h"
#include "raft/internal/append_loop.h"
#include "raft/internal/append_worker.h"
#include "raft/internal/apply_worker.h"
#include "raft/internal/commit_news.h"
#include "raft/internal/driver_log.h"
#include "raft/internal/fifo.h"
#include "raft/internal/mutation.h"
#include "raft/internal/read_barriers.h"
#include "raft/internal/recovery.h"
#include "raft/node.h"

namespace keelson::raft {

struct NodeProposal {
  absl::Duration deadline;
  Payload payload;
  std::optional<ConfChange> conf_change;
  std::function<void(absl::Status)> refused;
};

struct SnapshotReport {
  NodeId peer = kNoNode;
  bool ok = false;
};

// What other threads leave for the loop.
struct NodeInbox {
  std::vector<Message> messages;
  std::vector<NodeProposal> proposals;
  std::vector<std::pair<absl::Duration, ReadBarriers::Done>> reads;
  std::vector<AppendDone> appended;
  std::vector<ApplyDone> applied;
  std::vector<NodeId> unreachable;
  std::vector<SnapshotReport> snapshot_reports;
  std::vector<std::function<void()>> calls;
};

// What the groups of one host share. All null for a node with a log and a timer of its own.
struct NodeSharing {
  AppendLoop* append_loop = nullptr;
  // For what leaves when it is durable, from the append executor; instead of Env::transport.
  Transport* after_sync = nullptr;
  // Asks on the loop for Tick calls, until one returns false. May be called again before.
  std::function<void()> want_ticks;
};

class NodeImpl final : public Node {
 public:
  // `token` proves that the log is synced now; for a node without NodeSharing::append_loop.
  NodeImpl(const Options& options, Env env, const Recovery& recovery, NodeSharing sharing,
           std::optional<SyncToken> token);

  // Call once. The loop may run from then on.
  absl::Status Init();

  void Stop() override {
    absl::MutexLock lock(&mu_);
    stopped_ = true;
    Schedule();  // the loop answers those who wait
  }

  void Propose(Payload payload, std::function<void(absl::Status)> refused) override {
    Enqueue({.deadline = env_.clock->Monotonic() + options_.proposal_wait,
             .payload = std::move(payload),
             .conf_change = {},
             .refused = std::move(refused)});
  }
  void ProposeConfChange(ConfChange change, std::function<void(absl::Status)> refused) override {
    Enqueue({.deadline = env_.clock->Monotonic() + options_.proposal_wait,
             .payload = {},
             .conf_change = std::move(change),
             .refused = std::move(refused)});
  }
  void ReadBarrier(absl::Duration timeout, std::function<void(absl::Status)> done) override {
    if (Mutated(Mutation::kReadWithoutBarrier)) return done(absl::OkStatus());
    {
      absl::MutexLock lock(&mu_);
      if (!stopped_) {
        inbox_.reads.emplace_back(env_.clock->Monotonic() + timeout, std::move(done));
        return Schedule();
      }
    }
    done(absl::CancelledError("stopped"));
  }
  void TransferLeadership(NodeId to) override {
    Call([this, to] { core_->TransferLeadership(to); });
  }
  void Campaign() override {
    Call([this] { core_->Campaign(); });
  }
  void GetStatus(std::function<void(Status)> done) override {
    Call([this, done = std::move(done)] { done(core_->GetStatus()); });
  }

  void Receive(std::vector<Message> messages) override {
    absl::MutexLock lock(&mu_);
    if (stopped_) return;
    std::move(messages.begin(), messages.end(), std::back_inserter(inbox_.messages));
    Schedule();
  }
  void ReportUnreachable(NodeId peer) override { Deliver(&NodeInbox::unreachable, peer); }
  void ReportSnapshot(NodeId peer, bool ok) override {
    Deliver(&NodeInbox::snapshot_reports, SnapshotReport{peer, ok});
  }

  [[nodiscard]] Snapshot Peek() const override {
    const Index applied = apply_.applied();
    absl::MutexLock lock(&mu_);
    Snapshot peek = peek_;
    peek.applied = applied;
    return peek;
  }
  [[nodiscard]] Stats GetStats() const override {
    const uint64_t entries = append_.entries();
    absl::MutexLock lock(&mu_);
    Stats stats = stats_;
    if (own_append_loop_ != nullptr) stats.syncs = own_append_loop_->syncs();
    stats.entries_appended = entries;
    return stats;
  }

  // The node cannot go on; Options::on_fatal hears why, the first time. Thread-safe.
  void Fail(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_) {
    {
      absl::MutexLock lock(&mu_);
      if (failed_) return;
      failed_ = true;
    }
    if (options_.on_fatal) options_.on_fatal(std::move(status));
  }

  // For a host, which calls these on the loop.

  // One unit of time. False when the group needs no more of them until it asks again.
  bool Tick();
  // The process of `peer` may be dead. If this group sleeps and has its leader there, it wakes
  // and soon elects another.
  void SuspectLeader(NodeId peer);
  // Somebody needs this group to be awake.
  void WakeUp();
  // It has lost data and knows no leader to bring it back; it cannot campaign for one.
  [[nodiscard]] bool forlorn() const {
    return core_->hard_state().recovering && core_->soft_state().leader == kNoNode;
  }
  // Flushes the state machine and drops all of the log that it covers.
  void CompactAll();
  // On the append executor: no append is written any more.
  void DetachAppends() { append_.Detach(); }

 private:
  AppendWorker::Hooks AppendHooks() {
    return {.done = [this](std::vector<AppendDone> done) { DeliverAppended(std::move(done)); },
            .restore =
                [this](const raft::Snapshot& snapshot) {
                  apply_.Restore(snapshot.metadata, [this] { append_.Resume(); });
                }};
  }

  // --- NodeInbox: any thread ---

  void Schedule() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (scheduled_) return;
    scheduled_ = true;
    env_.loop->Post([this] { Run(); });
  }

  template <typename T, typename Item>
  void Deliver(std::vector<T> NodeInbox::*queue, Item&& item) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (stopped_) return;
    (inbox_.*queue).push_back(std::forward<Item>(item));
    Schedule();
  }
  // A task of its own: a loop that waits for this one would not notice, on virtual time, what comes
  // in while the disk still works.
  void DeliverAppended(std::vector<AppendDone> done) {
    const auto shared = std::make_shared<std::vector<AppendDone>>(std::move(done));
    env_.loop->Post([this, shared] {
      {
        absl::MutexLock lock(&mu_);
        std::move(shared->begin(), shared->end(), std::back_inserter(inbox_.appended));
      }
      Run();
    });
  }
  // Usually the loop need not wake for it.
  void DeliverApplied(ApplyDone done) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    const bool urgent = done.urgent;
    inbox_.applied.push_back(std::move(done));
    if (urgent) Schedule();
  }
  void Call(std::function<void()> call) { Deliver(&NodeInbox::calls, std::move(call)); }

  void Enqueue(NodeProposal proposal) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::Status reason;
    {
      absl::MutexLock lock(&mu_);
      if (stopped_) {
        reason = absl::UnavailableError("stopped");
      } else if (proposals_queued_ >= options_.max_proposals_queued) {
        reason = absl::ResourceExhaustedError("too many proposals are waiting");
      } else {
        ++proposals_queued_;
        inbox_.proposals.push_back(std::move(proposal));
        Schedule();
        return;
      }
      ++stats_.proposals_refused;
    }
    if (proposal.refused) proposal.refused(reason);
  }

  // --- Everything below runs on the loop ---

  void Run();
  void NotePassedTime();
  void HurryFirstElection();
  // The next election timeout is short.
  void HurryElection(std::string_view why);
  void ScheduleTick();
  void OnTick();
  void Advance();
  // True while there is something that only the passing of time can move.
  [[nodiscard]] bool NeedsTicks() const;
  void WatchDisk();
  void HandOver();
  void TakeCompletions(NodeInbox& inbox);
  void StepProposals();
  void StepProposalBatch(std::span<NodeProposal> batch);
  bool RefuseOrKeep(NodeProposal& proposal, const absl::Status& status);
  void StepReads();
  void HandleReady();
  void SendMessages(Ready& ready);
  void Append(AppendWork work);
  void WriteCommit();
  void ApplyConfChangesNow(const ApplyWork& work);
  void OnRoleChange(const SoftState& state);
  void MaybeCompact(const SnapshotMetadata& applied);
  void FlushAndCompact(uint64_t keep_entries);
  [[nodiscard]] Index LastToForget(Index flushed, uint64_t keep_entries) const;
  void MaybeMakeSnapshot();
  void CheckOfferedSnapshot();
  void AnswerStopped(NodeInbox& inbox);
  void UpdatePeek() ABSL_LOCKS_EXCLUDED(mu_);

  // A step can fail only for input that a peer made wrong; the message is then dropped.
  void StepAll(std::vector<Message>& messages) {
    for (Message& message : messages) (void)core_->Step(std::move(message));
  }

  const Options options_;
  const Env env_;

  // Loop only.
  DriverLog log_;
  std::unique_ptr<Core> core_;
  const NodeSharing sharing_;
  const std::unique_ptr<AppendLoop> own_append_loop_;  // null with NodeSharing::append_loop
  AppendWorker append_;
  ApplyWorker apply_;
  ReadBarriers barriers_;
  Fifo<NodeProposal> proposals_;  // waiting for a leader
  SoftState soft_state_;
  Term term_ = 0;
  absl::Duration ticked_until_;  // the monotonic time that the core's ticks stand for
  Index last_flush_;
  uint64_t unflushed_bytes_ = 0;               // applied since then, about
  std::optional<HardState> unwritten_commit_;  // differs from what is written in nothing else
  CommitNews news_;
  bool news_timer_ = false;
  bool flushing_ = false;
  bool making_snapshot_ = false;
  uint64_t appends_waiting_ = 0;  // handed to append_, not yet durable
  int stalled_ticks_ = 0;         // since the last of them became so, while others waited

  mutable absl::Mutex mu_;
  NodeInbox inbox_ ABSL_GUARDED_BY(mu_);
  uint64_t proposals_queued_ ABSL_GUARDED_BY(mu_) = 0;
  bool scheduled_ ABSL_GUARDED_BY(mu_) = false;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  bool failed_ ABSL_GUARDED_BY(mu_) = false;
  Snapshot peek_ ABSL_GUARDED_BY(mu_);
  Stats stats_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_NODE_IMPL_H_
