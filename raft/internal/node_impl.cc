#include "raft/internal/node_impl.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/burst.h"
#include "base/status.h"
#include "raft/internal/host_mutation.h"

namespace keelson::raft {
namespace {

// Proposals are stepped in groups of about this many bytes, so that one forwarded message
// stays far below the transport's limit.
constexpr size_t kProposalBatchBytes = 1 << 20;

// With so many entries committed at once, more are taken to follow within kNewsWait.
constexpr size_t kNewsEntries = 8;
constexpr absl::Duration kNewsWait = absl::Milliseconds(1);

}  // namespace

NodeImpl::NodeImpl(const Options& options, Env env, const Recovery& recovery, NodeSharing sharing,
                   std::optional<SyncToken> token)
    : options_(options),
      env_(env),
      log_(recovery),
      sharing_(std::move(sharing)),
      own_append_loop_(sharing_.append_loop != nullptr
                           ? nullptr
                           : std::make_unique<AppendLoop>(
                                 *env.append, [wal = env.wal] { return wal->Sync(); },
                                 *std::move(token),
                                 [this](absl::Status status) { Fail(std::move(status)); })),
      append_(options.core.id, own_append_loop_ ? *own_append_loop_ : *sharing_.append_loop,
              *env.wal, sharing_.after_sync ? *sharing_.after_sync : *env.transport, AppendHooks()),
      apply_(*env.apply, env.flush == nullptr ? *env.background : *env.flush, *env.background,
             *env.machine, *env.snapshots, log_.applied(),
             {.done = [this](ApplyDone done) { DeliverApplied(std::move(done)); },
              .fatal = [this](absl::Status status) { Fail(std::move(status)); }}),
      barriers_(options.tick_interval * 5, env.random.Stream("read rounds")()),
      last_flush_(log_.applied().index) {}

absl::Status NodeImpl::Init() {
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

void NodeImpl::Run() {
  NodeInbox inbox;
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
  if (sharing_.want_ticks && NeedsTicks() && !Mutated(HostMutation::kWokenWithoutTicks)) {
    sharing_.want_ticks();
  }
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
  if (options_.core.pre_vote) HurryElection("first election");
}

void NodeImpl::HurryElection(std::string_view why) {
  Random random = env_.random.Stream(why);
  const auto ticks = static_cast<uint64_t>(options_.core.election_ticks);
  core_->SetRandomizedElectionTimeout(static_cast<int>(1 + random.Below(ticks)));
}

void NodeImpl::ScheduleTick() {
  if (sharing_.want_ticks) return;
  env_.loop->PostAfter(options_.tick_interval, [this] { OnTick(); });
}

void NodeImpl::OnTick() {
  {
    absl::MutexLock lock(&mu_);
    if (stopped_ || failed_) return;
  }
  Advance();
  ScheduleTick();
  absl::MutexLock lock(&mu_);
  if (!inbox_.applied.empty()) Schedule();
}

bool NodeImpl::Tick() {
  {
    absl::MutexLock lock(&mu_);
    if (stopped_ || failed_) return false;
  }
  Advance();
  absl::MutexLock lock(&mu_);
  if (!inbox_.applied.empty()) Schedule();
  return NeedsTicks();
}

bool NodeImpl::NeedsTicks() const {
  return !core_->asleep() || !proposals_.empty() || barriers_.waiting() ||
         unwritten_commit_.has_value();
}

void NodeImpl::Advance() {
  WatchDisk();
  // Who cannot store a vote should not ask for any.
  const bool idle = stalled_ticks_ >= options_.stall_ticks && options_.stall_ticks > 0 &&
                    core_->soft_state().role != Role::kLeader;
  if (idle) {
    core_->SkipTicks(1);
  } else {
    core_->Tick();
  }
  ticked_until_ += options_.tick_interval;
  NotePassedTime();
  const absl::Duration now = env_.clock->Monotonic();
  for (const ReadBarriers::Done& done : barriers_.Expire(now)) {
    done(absl::DeadlineExceededError("no read position was confirmed in time"));
  }
  StepProposals();
  StepReads();
  WriteCommit();
  HandleReady();
  UpdatePeek();
}

// Counted in ticks and not by the clock: a process that stood still is no slow disk.
void NodeImpl::WatchDisk() {
  if (appends_waiting_ == 0 || options_.stall_ticks == 0) {
    stalled_ticks_ = 0;
    return;
  }
  ++stalled_ticks_;
  if (core_->soft_state().role != Role::kLeader) return;
  // Once more after the time that a transfer may take.
  if (stalled_ticks_ % options_.stall_ticks == 0) HandOver();
}

void NodeImpl::HandOver() {
  const Status status = core_->GetStatus();
  const ConfState& members = status.conf_state;
  if (members.voters.size() + members.voters_outgoing.size() == 1) return;  // Nobody else.
  const PeerStatus* best = nullptr;
  for (const PeerStatus& peer : status.peers) {
    if (peer.id == options_.core.id || peer.is_learner || !peer.recent_active) continue;
    if (best == nullptr || peer.match > best->match) best = &peer;
  }
  // A second time: whoever was asked did not take it.
  if (stalled_ticks_ > options_.stall_ticks) best = nullptr;
  {
    absl::MutexLock lock(&mu_);
    ++(best == nullptr ? stats_.stall_step_downs : stats_.stall_transfers);
  }
  if (env_.observer != nullptr) {
    env_.observer->On(options_.core.id,
                      event::DiskStalled{.term = status.hard_state.term,
                                         .ticks = stalled_ticks_,
                                         .to = best == nullptr ? kNoNode : best->id});
  }
  if (best == nullptr) {
    core_->StepDown();
  } else {
    core_->TransferLeadership(best->id);
  }
}

void NodeImpl::TakeCompletions(NodeInbox& inbox) {
  if (!inbox.appended.empty()) stalled_ticks_ = 0;
  appends_waiting_ -= inbox.appended.size();
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
      log_.NoteConfChange(index, change, core_->ApplyConfChange(index, change));
    }
    StepAll(done.responses);
    unflushed_bytes_ += done.bytes;
    MaybeCompact(done.applied);
  }
}

void NodeImpl::StepProposals() {
  while (!proposals_.empty()) {
    // A run of normal proposals of limited size, or one membership change.
    std::vector<NodeProposal> batch;
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

void NodeImpl::StepProposalBatch(std::span<NodeProposal> batch) {
  absl::Status status;
  if (batch.front().conf_change.has_value()) {
    status = core_->ProposeConfChange(*batch.front().conf_change);
  } else {
    std::vector<Payload> payloads;
    payloads.reserve(batch.size());
    for (const NodeProposal& proposal : batch) payloads.push_back(proposal.payload);
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
bool NodeImpl::RefuseOrKeep(NodeProposal& proposal, const absl::Status& status) {
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
    SendMessages(ready);
    if (ready.append.has_value()) Append(std::move(*ready.append));
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

void NodeImpl::SendMessages(Ready& ready) {
  // The groups of a host have no timers, and their messages share frames anyway.
  const bool keep = !sharing_.want_ticks && soft_state_.role == Role::kLeader &&
                    ready.apply.has_value() && ready.apply->entries.size() >= kNewsEntries;
  news_.Sift(keep, &ready.messages);
  if (!ready.messages.empty()) env_.transport->Send(std::move(ready.messages));
  if (news_.empty() || std::exchange(news_timer_, true)) return;
  env_.loop->PostAfter(kNewsWait, [this] {
    news_timer_ = false;
    if (std::vector<Message> kept = news_.Take(); !kept.empty()) {
      env_.transport->Send(std::move(kept));
    }
  });
}

// A commit index needs no disk to be true: it is written with what comes next, or at the next tick.
void NodeImpl::Append(AppendWork work) {
  const bool commit_alone = work.entries.empty() && !work.snapshot.has_value() && !work.must_sync &&
                            work.responses.empty();
  if (commit_alone) {
    unwritten_commit_ = work.hard_state;
    return;
  }
  if (!work.hard_state.has_value()) work.hard_state = unwritten_commit_;
  unwritten_commit_.reset();
  ++appends_waiting_;
  append_.Enqueue(std::move(work));
}

void NodeImpl::WriteCommit() {
  if (!unwritten_commit_.has_value()) return;
  ++appends_waiting_;
  append_.Enqueue({.hard_state = std::exchange(unwritten_commit_, std::nullopt)});
}

// A defect for the simulator: memberships switch ahead of what comes before them.
void NodeImpl::ApplyConfChangesNow(const ApplyWork& work) {
  for (const Entry& entry : work.entries) {
    if (entry.type == EntryType::kNormal) continue;
    if (const auto change = DecodeConfChange(entry); change.ok()) {
      log_.NoteConfChange(entry.index, *change, core_->ApplyConfChange(entry.index, *change));
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
    (void)news_.Take();
    if (state.leader != kNoNode) {
      StepProposals();
      StepReads();
    }
  }
  if (options_.on_role_change) options_.on_role_change(state, term_);
}

void NodeImpl::MaybeCompact(const SnapshotMetadata& applied) {
  if (applied.index - last_flush_ < options_.compact_every_entries &&
      unflushed_bytes_ < options_.compact_every_bytes) {
    return;
  }
  FlushAndCompact(options_.keep_entries);
}

void NodeImpl::CompactAll() { FlushAndCompact(0); }

void NodeImpl::FlushAndCompact(uint64_t keep_entries) {
  if (std::exchange(flushing_, true)) return;
  unflushed_bytes_ = 0;
  apply_.Flush([this, keep_entries](SnapshotMetadata flushed) {
    Call([this, keep_entries, flushed = std::move(flushed)] {
      flushing_ = false;
      last_flush_ = std::max(last_flush_, flushed.index);  // A snapshot may have come meanwhile.
      const std::optional<SnapshotMetadata> start =
          log_.Compact(LastToForget(flushed.index, keep_entries));
      if (start.has_value()) append_.Compact(*start);
    });
  });
}

// `keep_entries` up to `flushed` stay, or fewer, by their bytes, where no member needs them that answers.
Index NodeImpl::LastToForget(Index flushed, uint64_t keep_entries) const {
  const Index by_count = flushed - std::min(flushed, keep_entries);
  Index by_bytes = log_.BeforeLast(options_.keep_bytes, flushed);
  if (by_bytes <= by_count || core_->soft_state().role != Role::kLeader) {
    return std::max(by_bytes, by_count);
  }
  for (const PeerStatus& peer : core_->GetStatus().peers) {
    if (peer.id != options_.core.id && peer.recent_active) {
      by_bytes = std::min(by_bytes, peer.match);
    }
  }
  return std::max(by_bytes, by_count);
}

void NodeImpl::SuspectLeader(NodeId peer) {
  if (!core_->asleep() || core_->soft_state().leader != peer) return;
  core_->Wake();
  core_->ForgetLeader();
  HurryElection("suspicion");
  HandleReady();
  UpdatePeek();
  sharing_.want_ticks();
}

void NodeImpl::WakeUp() {
  if (!core_->asleep()) return;
  core_->Wake();
  HandleReady();
  UpdatePeek();
  sharing_.want_ticks();
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

void NodeImpl::AnswerStopped(NodeInbox& inbox) {
  for (auto& [deadline, done] : inbox.reads) barriers_.Add(deadline, std::move(done));
  for (const ReadBarriers::Done& done : barriers_.TakeAll()) done(absl::CancelledError("stopped"));
  std::move(inbox.proposals.begin(), inbox.proposals.end(), std::back_inserter(proposals_));
  for (const NodeProposal& proposal : proposals_) {
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
  peek_.asleep = core_->asleep();
}

}  // namespace keelson::raft
