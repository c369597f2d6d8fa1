// The follower's side of the log, snapshots and storage answers included (raft.md sections
// 5, 7 and 11).
#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "raft/internal/raft.h"

namespace keelson::raft::internal {

void Raft::HandleAppend(const Message& message) {
  Message response;
  response.type = MessageType::kAppResp;
  response.to = message.from;
  if (message.index < log_.committed()) {
    // Stale or repeated: what is committed matches the leader's log by definition.
    response.index = log_.committed();
    if (Mutated(Mutation::kAckStaleAtOnce)) return Send(std::move(response));
    SendAfterAppend(std::move(response));
    return;
  }
  if (message.index == 0 && tracker_.progress().empty() &&
      !Mutated(Mutation::kEmptyMemberTakesEntries)) {
    // This node was added later and knows no membership. The first one of the group is in no
    // entry: taking the log from its start would apply changes to a membership that is not
    // there. Only a snapshot brings it, which a refusal of index 0 asks for.
    response.reject = true;
    SendAfterAppend(std::move(response));
    return;
  }
  const Index last_before = Mutated(Mutation::kAckDuplicateAtOnce) ? log_.LastIndex() : 0;
  const std::optional<Index> last_new =
      log_.MaybeAppend({message.log_term, message.index}, message.entries);
  if (last_new.has_value()) {
    // Up to the last entry of this message and no further: what lies behind it here may
    // still differ from the leader's log.
    log_.CommitTo(std::min(message.commit,
                           Mutated(Mutation::kCommitToOwnLast) ? log_.LastIndex() : *last_new));
    HeedOwnLife(message);
    response.index = Mutated(Mutation::kAckOwnLast) ? log_.LastIndex() : *last_new;
    if (Mutated(Mutation::kAckDuplicateAtOnce) && *last_new <= last_before) {
      return Send(std::move(response));
    }
    if (Mutated(Mutation::kConfChangeOnAppend)) {
      for (const Entry& entry : message.entries) {
        if (entry.type == EntryType::kNormal) continue;
        if (const auto change = DecodeConfChange(entry); change.ok()) MakeConfChange(*change);
      }
    }
    SendAfterAppend(std::move(response));
    return;
  }
  Emit(trace::AppendRefused{message.from, message.index, message.log_term,
                            log_.TermAt(message.index).value_or(0)});
  // The hint skips everything here of a later term than the leader's at that index.
  const EntryId hint =
      log_.FindConflictByTerm(std::min(message.index, log_.LastIndex()), message.log_term);
  response.index = message.index;
  response.reject = true;
  response.reject_hint = hint.index;
  response.log_term = hint.term;
  SendAfterAppend(std::move(response));
}

void Raft::HandleHeartbeat(const Message& message) {
  // The leader commits here only what this node has acknowledged.
  if (message.commit > log_.LastIndex() && !recovering_) {
    Emit(event::CommitBeyondLog{message.commit, log_.LastIndex()});
    BeginRecovery(0);
  }
  // It may have meant another life of this node, whose log held other entries up to there.
  if (message.incarnation == incarnation_) log_.CommitTo(message.commit);
  HeedOwnLife(message);
  if (message.quiesce && SleepAsTold(message)) return;
  Message response;
  response.type = MessageType::kHeartbeatResp;
  response.to = message.from;
  response.context = message.context;
  response.quiesce = message.quiesce;  // Not asleep: the leader must not be, either.
  Send(std::move(response));
}

void Raft::HandleSnapshot(const Message& message) {
  const SnapshotMetadata& metadata = message.snapshot->metadata;
  Message response;
  response.type = MessageType::kAppResp;
  response.to = message.from;
  if (RestoreSnapshot(*message.snapshot)) {
    const EntryId last = log_.LastEntry();
    Emit(event::SnapshotRestored{metadata.index, metadata.term, log_.committed(), last.index,
                                 last.term});
    response.index = last.index;
  } else {
    Emit(trace::SnapshotIgnored{metadata.index, metadata.term, log_.committed()});
    response.index = log_.committed();
  }
  if (Mutated(Mutation::kSnapshotAckAtOnce)) return Send(std::move(response));
  SendAfterAppend(std::move(response));
}

bool Raft::RestoreSnapshot(const Snapshot& snapshot) {
  const SnapshotMetadata& metadata = snapshot.metadata;
  if (metadata.index <= log_.committed() && !Mutated(Mutation::kStaleSnapshotInstalled)) {
    return false;
  }
  if (role_ != Role::kFollower) {
    // Cannot happen: every other role has become follower before it gets here.
    Emit(trace::RestoredAsNonFollower{role_});
    BecomeFollower(term_ + 1, kNoNode);
    return false;
  }
  const ConfState& conf_state = metadata.conf_state;
  const auto holds_self = [this](const std::vector<NodeId>& ids) {
    return std::find(ids.begin(), ids.end(), options_.id) != ids.end();
  };
  if (!holds_self(conf_state.voters) && !holds_self(conf_state.learners) &&
      !holds_self(conf_state.voters_outgoing)) {
    Emit(event::SnapshotForeign{conf_state});
    return false;
  }
  if (log_.Matches({metadata.term, metadata.index}) &&
      !Mutated(Mutation::kSnapshotDropsAckedTail)) {
    // The log holds all that the snapshot covers: keep it, and what lies behind.
    const EntryId last = log_.LastEntry();
    Emit(trace::SnapshotFastForwarded{metadata.index, metadata.term, log_.committed(), last.index,
                                      last.term});
    log_.CommitTo(metadata.index);
    return false;
  }
  absl::StatusOr<Membership> membership = Changer(tracker_, metadata.index).Restore(conf_state);
  if (!membership.ok()) {
    Emit(event::SnapshotForeign{conf_state});
    return false;
  }
  log_.Restore(snapshot);
  if (!Mutated(Mutation::kOvertakenChangeMade)) membership_index_ = metadata.index;
  if (!Mutated(Mutation::kSnapshotKeepsMembership)) SwitchTo(*std::move(membership));
  return true;
}

void Raft::HandleStorageAppendResponse(const Message& message, bool trim_entries) {
  // An answer of an earlier term must not trim: the same (index, term) may since have been
  // overwritten and written again, and the storage may hold the version in between.
  if (trim_entries && message.index != 0) log_.StableTo({message.log_term, message.index});
  if (message.snapshot.has_value()) {
    const Index index = message.snapshot->metadata.index;
    log_.StableSnapshotTo(index);
    AppliedTo(index);
  }
}

void Raft::HandleStorageApplyResponse(const Message& message) {
  AppliedTo(message.entries.empty() ? message.index : message.entries.back().index);
}

void Raft::AppliedTo(Index index) {
  ReleaseUncommitted(log_.AppliedTo(std::max(index, log_.applied())));
  MaybeLeaveJoint();
}

}  // namespace keelson::raft::internal
