#include "raft/node.h"

#include <deque>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/burst.h"
#include "base/check.h"
#include "base/status.h"
#include "raft/internal/append_worker.h"
#include "raft/internal/apply_worker.h"
#include "raft/internal/driver_log.h"
#include "raft/internal/mutation.h"
#include "raft/internal/read_barriers.h"
#include "raft/internal/recovery.h"

namespace keelson::raft {
namespace {

// Proposals are stepped in groups of about this many bytes, so that one forwarded message
// stays far below the transport's limit.
constexpr size_t kProposalBatchBytes = 1 << 20;

struct Proposal {
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
struct Inbox {
  std::vector<Message> messages;
  std::vector<Proposal> proposals;
  std::vector<std::pair<absl::Duration, ReadBarriers::Done>> reads;
  std::vector<AppendDone> appended;
  std::vector<ApplyDone> applied;
  std::vector<NodeId> unreachable;
  std::vector<SnapshotReport> snapshot_reports;
  std::vector<std::function<void()>> calls;
};

class NodeImpl final : public Node {
 public:
  NodeImpl(const Options& options, Env env, const Recovery& recovery, SyncToken token)
      : options_(options),
        env_(env),
        log_(recovery),
        append_(options.core.id, *env.append, *env.wal, *env.transport, std::move(token),
                AppendHooks()),
        apply_(*env.apply, *env.background, *env.machine, *env.snapshots, log_.applied(),
               {.done = [this](ApplyDone done) { DeliverApplied(std::move(done)); },
                .fatal = [this](absl::Status status) { Fail(std::move(status)); }}),
        barriers_(options.tick_interval * 5, env.random.Stream("read rounds")()),
        last_flush_(log_.applied().index) {}

  absl::Status Init() {
    raft::Options core = options_.core;
    core.applied = Mutated(Mutation::kReapplyAfterRestart) ? 0 : log_.applied().index;
    KEELSON_ASSIGN_OR_RETURN(core_,
                             Core::Create(core, log_, env_.random.Stream("core"), env_.observer));
    ticked_until_ = env_.clock->Monotonic();
    HurryFirstElection();
    UpdatePeek();
    ScheduleTick();
    return absl::OkStatus();
  }

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
    Deliver(&Inbox::reads, std::pair(env_.clock->Monotonic() + timeout, std::move(done)));
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
    std::move(messages.begin(), messages.end(), std::back_inserter(inbox_.messages));
    Schedule();
  }
  void ReportUnreachable(NodeId peer) override { Deliver(&Inbox::unreachable, peer); }
  void ReportSnapshot(NodeId peer, bool ok) override {
    Deliver(&Inbox::snapshot_reports, SnapshotReport{peer, ok});
  }

  [[nodiscard]] Snapshot Peek() const override {
    const Index applied = apply_.applied();
    absl::MutexLock lock(&mu_);
    Snapshot peek = peek_;
    peek.applied = applied;
    return peek;
  }
  [[nodiscard]] Stats GetStats() const override {
    const AppendWorker::Stats append = append_.GetStats();
    absl::MutexLock lock(&mu_);
    Stats stats = stats_;
    stats.syncs = append.syncs;
    stats.entries_appended = append.entries;
    return stats;
  }

 private:
  AppendWorker::Hooks AppendHooks() {
    return {.done = [this](std::vector<AppendDone> done) { DeliverAppended(std::move(done)); },
            .restore =
                [this](const raft::Snapshot& snapshot) {
                  apply_.Restore(snapshot.metadata, [this] { append_.Resume(); });
                },
            .fatal = [this](absl::Status status) { Fail(std::move(status)); }};
  }

  // --- Inbox: any thread ---

  void Schedule() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (scheduled_) return;
    scheduled_ = true;
    env_.loop->Post([this] { Run(); });
  }

  template <typename T, typename Item>
  void Deliver(std::vector<T> Inbox::*queue, Item&& item) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    (inbox_.*queue).push_back(std::forward<Item>(item));
    Schedule();
  }
  void DeliverAppended(std::vector<AppendDone> done) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    std::move(done.begin(), done.end(), std::back_inserter(inbox_.appended));
    Schedule();
  }
  // Usually the loop need not wake for it.
  void DeliverApplied(ApplyDone done) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    const bool urgent = done.urgent;
    inbox_.applied.push_back(std::move(done));
    if (urgent) Schedule();
  }
  void Call(std::function<void()> call) { Deliver(&Inbox::calls, std::move(call)); }

  void Enqueue(Proposal proposal) ABSL_LOCKS_EXCLUDED(mu_) {
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

  void Fail(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_) {
    {
      absl::MutexLock lock(&mu_);
      if (failed_) return;
      failed_ = true;
    }
    if (options_.on_fatal) options_.on_fatal(std::move(status));
  }

  // --- Everything below runs on the loop ---

  void Run();
  void NotePassedTime();
  void HurryFirstElection();
  void ScheduleTick();
  void OnTick();
  void TakeCompletions(Inbox& inbox);
  void StepProposals();
  void StepProposalBatch(std::span<Proposal> batch);
  bool RefuseOrKeep(Proposal& proposal, const absl::Status& status);
  void StepReads();
  void HandleReady();
  void ApplyConfChangesNow(const ApplyWork& work);
  void OnRoleChange(const SoftState& state);
  void MaybeCompact(const SnapshotMetadata& applied);
  void MaybeMakeSnapshot();
  void CheckOfferedSnapshot();
  void AnswerStopped(Inbox& inbox);
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
  AppendWorker append_;
  ApplyWorker apply_;
  ReadBarriers barriers_;
  std::deque<Proposal> proposals_;  // waiting for a leader
  SoftState soft_state_;
  Term term_ = 0;
  absl::Duration ticked_until_;  // the monotonic time that the core's ticks stand for
  Index last_flush_;
  bool flushing_ = false;
  bool making_snapshot_ = false;

  mutable absl::Mutex mu_;
  Inbox inbox_ ABSL_GUARDED_BY(mu_);
  uint64_t proposals_queued_ ABSL_GUARDED_BY(mu_) = 0;
  bool scheduled_ ABSL_GUARDED_BY(mu_) = false;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  bool failed_ ABSL_GUARDED_BY(mu_) = false;
  Snapshot peek_ ABSL_GUARDED_BY(mu_);
  Stats stats_ ABSL_GUARDED_BY(mu_);
};

void NodeImpl::Run() {
  Inbox inbox;
  bool stopped = false;
  {
    absl::MutexLock lock(&mu_);
    scheduled_ = false;
    if (failed_) return;
    std::swap(inbox, inbox_);
    stopped = stopped_;
  }
  if (stopped) return AnswerStopped(inbox);
  NotePassedTime();
  TakeCompletions(inbox);
  StepAll(inbox.messages);
  for (const NodeId peer : inbox.unreachable) core_->ReportUnreachable(peer);
  for (const SnapshotReport& report : inbox.snapshot_reports) {
    if (!report.ok) CheckOfferedSnapshot();
    core_->ReportSnapshot(report.peer, report.ok);
  }
  for (const std::function<void()>& call : inbox.calls) call();
  for (auto& [deadline, done] : inbox.reads) barriers_.Add(deadline, std::move(done));
  std::move(inbox.proposals.begin(), inbox.proposals.end(), std::back_inserter(proposals_));
  StepProposals();
  StepReads();
  HandleReady();
  UpdatePeek();
}

// A process that stands still gets no ticks, but its leases age. Called when the inbox has been
// emptied: what is asked in there was asked before now.
void NodeImpl::NotePassedTime() {
  const absl::Duration behind = env_.clock->Monotonic() - ticked_until_;
  if (behind < options_.tick_interval) return;
  const auto ticks = static_cast<int64_t>(behind / options_.tick_interval);
  core_->SkipTicks(static_cast<uint64_t>(ticks));
  ticked_until_ += ticks * options_.tick_interval;
}

void NodeImpl::HurryFirstElection() {
  if (!options_.quick_first_election) return;
  if (log_.applied().conf_state.voters == std::vector<NodeId>{options_.core.id}) {
    return Call([this] { core_->Campaign(); });
  }
  if (!options_.core.pre_vote) return;
  Random random = env_.random.Stream("first election");
  const auto ticks = static_cast<uint64_t>(options_.core.election_ticks);
  core_->SetRandomizedElectionTimeout(static_cast<int>(1 + random.Below(ticks)));
}

void NodeImpl::ScheduleTick() {
  env_.loop->PostAfter(options_.tick_interval, [this] { OnTick(); });
}

void NodeImpl::OnTick() {
  {
    absl::MutexLock lock(&mu_);
    if (stopped_ || failed_) return;
  }
  core_->Tick();
  ticked_until_ += options_.tick_interval;
  NotePassedTime();
  const absl::Duration now = env_.clock->Monotonic();
  for (const ReadBarriers::Done& done : barriers_.Expire(now)) {
    done(absl::DeadlineExceededError("no read position was confirmed in time"));
  }
  StepProposals();
  StepReads();
  HandleReady();
  UpdatePeek();
  ScheduleTick();
  absl::MutexLock lock(&mu_);
  if (!inbox_.applied.empty()) Schedule();
}

void NodeImpl::TakeCompletions(Inbox& inbox) {
  for (AppendDone& done : inbox.appended) {
    if (done.snapshot.has_value()) {
      log_.Reset(*done.snapshot);
      last_flush_ = done.snapshot->metadata.index;
      absl::MutexLock lock(&mu_);
      ++stats_.snapshots_restored;
    }
    log_.Append(done.entries);
    if (done.hard_state.has_value()) log_.SetHardState(*done.hard_state);
    StepAll(done.to_self);
  }
  for (ApplyDone& done : inbox.applied) {
    for (const auto& [index, change] : done.conf_changes) {
      if (Mutated(Mutation::kConfChangeBeforeApply)) continue;
      log_.NoteConfState(index, core_->ApplyConfChange(change));
    }
    StepAll(done.responses);
    MaybeCompact(done.applied);
  }
}

void NodeImpl::StepProposals() {
  while (!proposals_.empty()) {
    // A run of normal proposals of limited size, or one membership change.
    std::vector<Proposal> batch;
    size_t bytes = 0;
    while (!proposals_.empty() && (batch.empty() || bytes < kProposalBatchBytes)) {
      if (proposals_.front().conf_change.has_value() && !batch.empty()) break;
      bytes += proposals_.front().payload.size();
      batch.push_back(std::move(proposals_.front()));
      proposals_.pop_front();
      if (batch.back().conf_change.has_value()) break;
    }
    const size_t waiting = proposals_.size();
    StepProposalBatch(batch);
    // Put back: no leader now, so the others need not try.
    if (proposals_.size() > waiting) return;
  }
}

void NodeImpl::StepProposalBatch(std::span<Proposal> batch) {
  absl::Status status;
  if (batch.front().conf_change.has_value()) {
    status = core_->ProposeConfChange(*batch.front().conf_change);
  } else {
    std::vector<Payload> payloads;
    payloads.reserve(batch.size());
    for (const Proposal& proposal : batch) payloads.push_back(proposal.payload);
    status = core_->Propose(payloads);
  }
  if (status.code() == absl::StatusCode::kResourceExhausted && batch.size() > 1) {
    // Over the quota as a whole: as many as fit, one by one.
    for (size_t i = 0; i < batch.size(); ++i) StepProposalBatch(batch.subspan(i, 1));
    return;
  }
  uint64_t settled = batch.size();
  if (!status.ok()) {
    // Backwards, so that what is kept stays in order at the front.
    for (size_t i = batch.size(); i > 0; --i) {
      if (RefuseOrKeep(batch[i - 1], status)) --settled;
    }
  }
  absl::MutexLock lock(&mu_);
  proposals_queued_ -= settled;
  (status.ok() ? stats_.proposals : stats_.proposals_refused) += settled;
}

// True when the proposal was put back to wait for a leader.
bool NodeImpl::RefuseOrKeep(Proposal& proposal, const absl::Status& status) {
  const bool may_pass = status.code() == absl::StatusCode::kUnavailable;
  if (may_pass && env_.clock->Monotonic() < proposal.deadline) {
    proposals_.push_front(std::move(proposal));
    return true;
  }
  if (proposal.refused) proposal.refused(status);
  return false;
}

void NodeImpl::StepReads() {
  const std::optional<std::string> context = barriers_.StartRound(env_.clock->Monotonic());
  if (!context.has_value()) return;
  if (!core_->ReadIndex(*context).ok()) {
    barriers_.RoundFailed();  // No leader: the next tick or role change tries again.
  }
  absl::MutexLock lock(&mu_);
  stats_.read_rounds = barriers_.rounds();
}

void NodeImpl::HandleReady() {
  while (core_->HasReady()) {
    Ready ready = core_->TakeReady();
    if (ready.soft_state.has_value() || core_->hard_state().term != term_) {
      OnRoleChange(core_->soft_state());
    }
    for (const Message& message : ready.messages) {
      if (message.type != MessageType::kSnap) continue;
      absl::MutexLock lock(&mu_);
      ++stats_.snapshots_sent;
    }
    if (!ready.messages.empty()) env_.transport->Send(std::move(ready.messages));
    if (ready.append.has_value()) append_.Enqueue(std::move(*ready.append));
    if (ready.apply.has_value()) {
      {
        absl::MutexLock lock(&mu_);
        stats_.entries_applied += ready.apply->entries.size();
      }
      if (Mutated(Mutation::kConfChangeBeforeApply)) ApplyConfChangesNow(*ready.apply);
      apply_.Enqueue(std::move(*ready.apply));
    }
    for (const ReadState& read : ready.reads) {
      std::vector<ReadBarriers::Done> done = barriers_.Finish(read.context);
      if (done.empty()) continue;
      apply_.WhenApplied(read.index, [done = std::move(done)] {
        Burst burst;  // Those who are told wake others.
        for (const ReadBarriers::Done& each : done) each(absl::OkStatus());
      });
      StepReads();  // those who came meanwhile
    }
    MaybeMakeSnapshot();
  }
}

// A defect for the simulator: memberships switch ahead of what comes before them.
void NodeImpl::ApplyConfChangesNow(const ApplyWork& work) {
  for (const Entry& entry : work.entries) {
    if (entry.type == EntryType::kNormal) continue;
    if (const auto change = DecodeConfChange(entry); change.ok()) {
      log_.NoteConfState(entry.index, core_->ApplyConfChange(*change));
    }
  }
}

void NodeImpl::OnRoleChange(const SoftState& state) {
  const bool leader_changed = state.leader != soft_state_.leader;
  soft_state_ = state;
  term_ = core_->hard_state().term;
  if (leader_changed) {
    {
      absl::MutexLock lock(&mu_);
      ++stats_.leader_changes;
    }
    barriers_.Restart();
    if (state.leader != kNoNode) {
      StepProposals();
      StepReads();
    }
  }
  if (options_.on_role_change) options_.on_role_change(state, term_);
}

void NodeImpl::MaybeCompact(const SnapshotMetadata& applied) {
  if (flushing_ || applied.index - last_flush_ < options_.compact_every_entries) return;
  flushing_ = true;
  apply_.Flush([this](SnapshotMetadata flushed) {
    Call([this, flushed = std::move(flushed)] {
      flushing_ = false;
      last_flush_ = flushed.index;
      if (flushed.index <= options_.keep_entries) return;
      const std::optional<SnapshotMetadata> start =
          log_.Compact(flushed.index - options_.keep_entries);
      if (start.has_value()) append_.Compact(*start);
    });
  });
}

void NodeImpl::MaybeMakeSnapshot() {
  if (making_snapshot_ || !log_.snapshot_wanted()) return;
  making_snapshot_ = true;
  apply_.MakeSnapshot([this](absl::StatusOr<SnapshotMetadata> made) {
    Call([this, made = std::move(made)] {
      making_snapshot_ = false;
      // A failure (a full disk) leaves the peer waiting; its next answer makes us try again.
      if (!made.ok()) return;
      log_.OfferSnapshot({.metadata = *made, .data = {}});
      (void)env_.snapshots->RemoveOld(Mutated(Mutation::kSnapshotRemovedTooEarly)
                                          ? 0
                                          : 2);  // Best effort: the next snapshot tries again.
    });
  });
}

// A transfer has failed. If that is because the file is damaged, which its reader has then moved
// aside, no other try will do better: a new one must be made.
void NodeImpl::CheckOfferedSnapshot() {
  const std::optional<SnapshotMetadata> offered = log_.offered_snapshot();
  if (!offered.has_value()) return;
  env_.background->Post([this, offered = *offered] {
    const auto reader = env_.snapshots->OpenSnapshot(offered.index, offered.term);
    if (!absl::IsNotFound(reader.status()) && !absl::IsDataLoss(reader.status())) return;
    Call([this, offered] { log_.WithdrawSnapshot(offered.index); });
  });
}

void NodeImpl::AnswerStopped(Inbox& inbox) {
  for (auto& [deadline, done] : inbox.reads) barriers_.Add(deadline, std::move(done));
  for (const ReadBarriers::Done& done : barriers_.TakeAll()) done(absl::CancelledError("stopped"));
  std::move(inbox.proposals.begin(), inbox.proposals.end(), std::back_inserter(proposals_));
  for (const Proposal& proposal : proposals_) {
    if (proposal.refused) proposal.refused(absl::UnavailableError("stopped"));
  }
  proposals_.clear();
}

void NodeImpl::UpdatePeek() {
  const HardState hard_state = core_->hard_state();
  absl::MutexLock lock(&mu_);
  peek_.id = options_.core.id;
  peek_.soft_state = core_->soft_state();
  peek_.term = hard_state.term;
  peek_.commit = hard_state.commit;
  peek_.recovering = hard_state.recovering;
  peek_.first_index = log_.FirstIndex();
  peek_.last_index = log_.LastIndex();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Node>> Node::Start(const Options& options, Env env,
                                                  Wal::Recovered recovered) {
  KEELSON_ASSIGN_OR_RETURN(const Recovery recovery,
                           Recover(std::move(recovered), *env.machine, *env.snapshots));
  KEELSON_ASSIGN_OR_RETURN(SyncToken token, env.wal->Sync());
  auto node = std::make_unique<NodeImpl>(options, env, recovery, std::move(token));
  KEELSON_RETURN_IF_ERROR(node->Init());
  return node;
}

}  // namespace keelson::raft
