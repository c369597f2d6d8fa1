// Switching from one membership to the next (raft.md section 8).
//
// As in etcd-io/raft a change takes effect when its entry is applied, not when it is
// appended; pending_conf_index_ keeps a second one out until then.
#include <optional>
#include <utility>

#include "raft/internal/raft.h"

namespace keelson::raft::internal {

std::optional<ConfState> Raft::ApplyConfChange(Index index, const ConfChange& change) {
  // What was handed out before a snapshot came is still applied, but is part of its membership.
  if (index <= membership_index_) {
    Emit(trace::ConfChangeOvertaken{index});
    return std::nullopt;
  }
  membership_index_ = index;
  return MakeConfChange(change);
}

ConfState Raft::MakeConfChange(const ConfChange& change) {
  absl::StatusOr<Membership> next = Changer(tracker_, log_.LastIndex()).Apply(change);
  if (!next.ok()) {
    Emit(event::ConfChangeRefused{"cannot be applied", change, EntryType::kConfChangeV2,
                                  tracker_.config(), 0, log_.applied()});
    return tracker_.config();
  }
  SwitchTo(*std::move(next));
  return tracker_.config();
}

void Raft::SwitchTo(Membership membership) {
  tracker_.Switch(std::move(membership.config), std::move(membership.progress));
  Emit(event::ConfChanged{tracker_.config()});
  if (role_ != Role::kLeader) return;
  const Progress* self = tracker_.Find(options_.id);
  if (self == nullptr || self->is_learner()) {
    // A leader that is no voter could go on, but would count wrongly as available.
    if (options_.step_down_on_removal && !Mutated(Mutation::kDemotedLeaderStays)) {
      BecomeFollower(term_, kNoNode);
    }
    return;
  }
  if (!tracker_.config().voters.empty()) ReactAsLeader();
}

void Raft::ReactAsLeader() {
  if (MaybeCommit()) {
    // The quorum has shrunk, and more is committed.
    ReleaseParkedReads();
    BroadcastAppend();
  } else {
    // New members need not wait for a heartbeat.
    for (auto& [id, progress] : tracker_.progress()) {
      if (id != options_.id) MaybeSendAppend(id, progress, /*send_if_empty=*/false);
    }
  }
  if (lead_transferee_ != kNoNode && !tracker_.IsVoter(lead_transferee_)) {
    AbortTransfer(/*replaced=*/false);
  }
  ReleaseConfirmedReads();
}

void Raft::MaybeLeaveJoint() {
  if (role_ != Role::kLeader || !tracker_.config().auto_leave ||
      (log_.applied() < pending_conf_index_ && !Mutated(Mutation::kAutoLeaveTwice))) {
    return;
  }
  if (Mutated(Mutation::kAutoLeaveTriedOnce) && log_.applied() > pending_conf_index_) return;
  // Refused while a transfer runs, and then tried again after the next apply.
  const ConfState joint = tracker_.config();
  if (ProposeConfChange(ConfChange()).ok()) {
    Emit(trace::AutoLeaveProposed{joint});
  } else {
    Emit(trace::AutoLeaveRefused{joint});
  }
}

}  // namespace keelson::raft::internal
