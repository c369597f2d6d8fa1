// The leader's side of the log (raft.md sections 5 and 6).
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/check.h"
#include "raft/internal/raft.h"

namespace keelson::raft::internal {
namespace {

bool Holds(const ConfState& state, NodeId id) {
  for (const auto* ids : {&state.voters, &state.learners, &state.voters_outgoing}) {
    if (std::find(ids->begin(), ids->end(), id) != ids->end()) return true;
  }
  return false;
}

}  // namespace

bool Raft::AppendEntries(std::span<Entry> entries) {
  Index index = log_.LastIndex();
  for (Entry& entry : entries) {
    entry.term = term_;
    entry.index = ++index;
  }
  if (!ReserveUncommitted(entries)) return false;
  // The leader acknowledges its own entries like a follower: once they are durable.
  Message response;
  response.type = MessageType::kAppResp;
  response.to = options_.id;
  response.index = log_.Append(entries);
  const bool at_once = Mutated(Mutation::kLeaderCountsUnsynced) ||
                       (Mutated(Mutation::kSingleMemberCommitsAtOnce) && tracker_.IsSingleton());
  if (at_once) {
    tracker_.Find(options_.id)->MaybeUpdate(response.index);
    (void)MaybeCommit();
  }
  SendAfterAppend(std::move(response));
  return true;
}

void Raft::BroadcastAppend() {
  for (auto& [id, progress] : tracker_.progress()) {
    if (id != options_.id) MaybeSendAppend(id, progress, /*send_if_empty=*/true);
  }
}

void Raft::BroadcastHeartbeat() {
  if (options_.read_mode == ReadMode::kLeaseBased) {
    // Each round dates the lease from when it was sent.
    SendHeartbeats(ReadQueue::EncodePosition(reads_.NewRound(ticks_)));
    return;
  }
  const uint64_t pending = reads_.PendingPosition();
  SendHeartbeats(pending == 0 ? std::string() : ReadQueue::EncodePosition(pending));
}

void Raft::SendHeartbeats(const std::string& context) {
  for (auto& [id, progress] : tracker_.progress()) {
    if (id == options_.id) continue;
    Message message;
    message.type = MessageType::kHeartbeat;
    message.to = id;
    // Never more than the peer is known to hold: its tail may still differ from ours.
    message.commit = std::min(progress.match(), log_.committed());
    if (Mutated(Mutation::kHeartbeatCommitUncapped)) message.commit = log_.committed();
    message.context = context;
    progress.SentCommit(message.commit);
    AddressLife(progress, message);
    Send(std::move(message));
  }
}

bool Raft::MaybeSendAppend(NodeId to, Progress& progress, bool send_if_empty) {
  if (progress.IsPaused()) return false;
  const Index prev = progress.next() - 1;
  const std::optional<Term> prev_term = log_.TermAt(prev);
  if (!prev_term.has_value()) return MaybeSendSnapshot(to, progress);

  Message message;
  if (Mutated(Mutation::kFullWindowSilent) && progress.window_full()) return false;
  // With a full window only an empty App goes, to notice if all that is in it was lost.
  if (progress.state() != ProgressState::kReplicate || !progress.window_full()) {
    if (!send_if_empty && progress.next() > log_.LastIndex()) return false;
    std::optional<std::vector<Entry>> entries =
        log_.Slice(progress.next(), log_.LastIndex() + 1, options_.max_message_bytes);
    if (!entries.has_value()) return MaybeSendSnapshot(to, progress);
    message.entries = *std::move(entries);
  }
  if (message.entries.empty() && !send_if_empty) return false;

  uint64_t payload_bytes = 0;
  for (const Entry& entry : message.entries) payload_bytes += PayloadBytes(entry);
  progress.SentEntries(message.entries.size(), payload_bytes);
  progress.SentCommit(log_.committed());
  message.type = MessageType::kApp;
  message.to = to;
  message.index = prev;
  message.log_term = *prev_term;
  message.commit = log_.committed();
  AddressLife(progress, message);
  Send(std::move(message));
  return true;
}

bool Raft::MaybeSendSnapshot(NodeId to, Progress& progress) {
  if (!progress.recent_active()) {
    Emit(trace::SnapshotNotSent{to, trace::SnapshotWithheld::kPeerInactive});
    return false;
  }
  absl::StatusOr<Snapshot> snapshot = log_.LatestSnapshot();
  if (!snapshot.ok()) {
    KEELSON_CHECK(absl::IsUnavailable(snapshot.status())) << snapshot.status().ToString();
    Emit(trace::SnapshotNotSent{to, trace::SnapshotWithheld::kNotReady});
    return false;
  }
  const SnapshotMetadata& metadata = snapshot->metadata;
  KEELSON_CHECK(metadata.index != 0) << "the storage offers an empty snapshot";
  if (metadata.index + 1 < log_.FirstIndex() || !Holds(metadata.conf_state, to)) {
    // It would not connect to the log, or is from before the peer was added, which the peer
    // would not take. A newer one will do.
    Emit(trace::SnapshotNotSent{to, trace::SnapshotWithheld::kNotReady});
    return false;
  }
  event::SnapshotSent sent;
  sent.peer = to;
  sent.index = metadata.index;
  sent.term = metadata.term;
  sent.first_index = log_.FirstIndex();
  sent.commit = log_.committed();
  sent.before = progress.ToStatus(to);
  if (!Mutated(Mutation::kSnapshotsPileUp)) progress.BecomeSnapshot(metadata.index);
  sent.after = progress.ToStatus(to);
  Emit(sent);

  Message message;
  message.type = MessageType::kSnap;
  message.to = to;
  message.snapshot = *std::move(snapshot);
  AddressLife(progress, message);
  Send(std::move(message));
  return true;
}

bool Raft::MaybeCommit() {
  const Index index = tracker_.Committed();
  if (Mutated(Mutation::kCountOldTermEntries)) {
    return log_.MaybeCommit({log_.TermAt(index).value_or(0), index});
  }
  return log_.MaybeCommit({term_, index});
}

void Raft::HandleAppendResponse(const Message& message, Progress& progress) {
  progress.set_recent_active(true);
  if (message.reject && !Mutated(Mutation::kRejectTakenForAck)) {
    HandleAppendRejected(message, progress);
  } else if (message.index <= log_.LastIndex()) {  // Nobody can hold more than the leader sent.
    HandleAppendAccepted(message, progress);
  }
}

void Raft::HandleAppendRejected(const Message& message, Progress& progress) {
  Emit(trace::AppendRejected{message.from, message.index, message.reject_hint, message.log_term});
  // The follower has already skipped what cannot match on its side: everything of a later
  // term than ours at the rejected index. The same from this side: skip what is of a later
  // term than the follower's at its hint. So each probe skips a whole term.
  Index probe = message.reject_hint;
  if (message.log_term > 0) {
    probe = log_.FindConflictByTerm(message.reject_hint, message.log_term).index;
  }
  if (!progress.MaybeDecreaseTo(message.index, probe)) return;
  Emit(trace::ProgressDecreased{progress.ToStatus(message.from)});
  if (progress.state() == ProgressState::kReplicate) progress.BecomeProbe();
  if (message.index == 0) {
    // Every log has index 0: the peer asks for the membership, see HandleAppend.
    if (!MaybeSendSnapshot(message.from, progress)) progress.set_flow_paused(true);
    return;
  }
  MaybeSendAppend(message.from, progress, /*send_if_empty=*/true);
}

void Raft::HandleAppendAccepted(const Message& message, Progress& progress) {
  const bool is_self = message.from == options_.id;
  const bool caught_up_probe =
      progress.match() == message.index && progress.state() == ProgressState::kProbe;
  if (!progress.MaybeUpdate(message.index) && !caught_up_probe) return;

  switch (progress.state()) {
    case ProgressState::kProbe:
      progress.BecomeReplicate();
      break;
    case ProgressState::kSnapshot:
      // Any snapshot that connects to the log will do, even one from elsewhere.
      if (progress.match() + 1 >= log_.FirstIndex()) {
        Emit(trace::SnapshotRecovered{progress.ToStatus(message.from)});
        progress.BecomeProbe();
        progress.BecomeReplicate();
      }
      break;
    case ProgressState::kReplicate:
      if (!Mutated(Mutation::kWindowNeverFreed)) progress.FreeInflights(message.index);
      break;
  }
  if (MaybeCommit()) {
    ReleaseParkedReads();
    BroadcastAppend();
  } else if (!is_self && progress.CanBumpCommit(log_.committed())) {
    // This one may have missed how far the log is committed.
    MaybeSendAppend(message.from, progress, /*send_if_empty=*/true);
  }
  if (!is_self) {
    // There may be room for more than one message now.
    while (MaybeSendAppend(message.from, progress, /*send_if_empty=*/false)) {
    }
  }
  if (message.from == lead_transferee_ && progress.match() == log_.LastIndex()) {
    Emit(trace::TimeoutNowSent{message.from, /*caught_up_later=*/true});
    SendTimeoutNow(message.from);
  }
}

void Raft::HandleHeartbeatResponse(const Message& message, Progress& progress) {
  progress.set_recent_active(true);
  if (!Mutated(Mutation::kFlowPausedForever)) progress.set_flow_paused(false);
  // Also to a probed peer that has everything: only an answer moves it out of probing.
  if (progress.match() < log_.LastIndex() ||
      (progress.state() == ProgressState::kProbe && !Mutated(Mutation::kProbeNeverLeft))) {
    MaybeSendAppend(message.from, progress, /*send_if_empty=*/true);
  }
  if (progress.recovering()) return;  // It may have voted for another leader, and forgotten.
  const std::optional<uint64_t> position = ReadQueue::DecodePosition(message.context);
  if (position.has_value() && reads_.RecordEcho(message.from, *position)) ReleaseConfirmedReads();
}

void Raft::HandleSnapshotStatus(const Message& message, Progress& progress) {
  if (progress.state() != ProgressState::kSnapshot) return;
  if (Mutated(Mutation::kSnapshotFailureIgnored)) return;
  if (message.reject) progress.ForgetPendingSnapshot();
  progress.BecomeProbe();
  Emit(event::SnapshotReported{!message.reject, progress.ToStatus(message.from)});
  // After success the peer's AppResp is awaited, after failure the next heartbeat response,
  // rather than trying again at once.
  progress.set_flow_paused(true);
}

void Raft::HandleUnreachable(const Message& message, Progress& progress) {
  // Apps in the window are probably lost: find out one by one what is there.
  if (progress.state() == ProgressState::kReplicate) progress.BecomeProbe();
  Emit(trace::PeerUnreachable{progress.ToStatus(message.from)});
}

}  // namespace keelson::raft::internal
