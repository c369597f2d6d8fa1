#include "raft/internal/progress.h"

#include <algorithm>

#include "base/check.h"
#include "raft/internal/mutation.h"

namespace keelson::raft::internal {

void Progress::ResetTo(ProgressState state) {
  flow_paused_ = false;
  pending_snapshot_ = 0;
  state_ = state;
  inflights_.Reset();
}

void Progress::BecomeProbe() {
  // A snapshot that was sent counts as the base: if it arrived after all, probing below it
  // would be wasted.
  const Index base = state_ == ProgressState::kSnapshot ? pending_snapshot_ : 0;
  ResetTo(ProgressState::kProbe);
  next_ = std::max(match_, base) + 1;
  sent_commit_ = std::min(sent_commit_, next_ - 1);
}

void Progress::BecomeReplicate() {
  ResetTo(ProgressState::kReplicate);
  next_ = match_ + 1;
}

void Progress::BecomeSnapshot(Index snapshot_index) {
  ResetTo(ProgressState::kSnapshot);
  pending_snapshot_ = snapshot_index;
  next_ = snapshot_index + 1;
  sent_commit_ = snapshot_index;
}

void Progress::SentEntries(size_t entries, uint64_t bytes) {
  KEELSON_CHECK(state_ != ProgressState::kSnapshot) << "entries sent beside a snapshot";
  if (state_ == ProgressState::kProbe) {
    if (entries > 0) flow_paused_ = true;
    return;
  }
  if (entries > 0) {
    next_ += entries;
    inflights_.Add(next_ - 1, bytes);
  }
  // With a full window the message is a probe for the loss of the whole window; the next one
  // waits for a heartbeat response.
  flow_paused_ = inflights_.Full();
}

bool Progress::MaybeUpdate(Index index) {
  if (index <= match_ && !Mutated(Mutation::kLateAckLowersMatch)) return false;
  match_ = index;
  next_ = std::max(next_, index + 1);
  flow_paused_ = false;
  return true;
}

bool Progress::MaybeDecreaseTo(Index rejected, Index hint) {
  if (state_ == ProgressState::kReplicate) {
    if (Mutated(Mutation::kLateRejectLowersNext)) {
      next_ = std::max<Index>(std::min(rejected, hint + 1), 1);
      return true;
    }
    if (rejected <= match_) return false;  // Late: the peer has acknowledged more since.
    next_ = match_ + 1;
    sent_commit_ = std::min(sent_commit_, next_ - 1);
    return true;
  }
  // A probe asks about next - 1 only; anything else answers an older question.
  if (next_ - 1 != rejected) return false;
  next_ = std::max(std::min(rejected, hint + 1), match_ + 1);
  if (Mutated(Mutation::kNextUnderflow)) next_ = std::min(rejected, hint);
  sent_commit_ = std::min(sent_commit_, next_ - 1);
  flow_paused_ = false;
  return true;
}

PeerStatus Progress::ToStatus(NodeId id) const {
  PeerStatus status;
  status.id = id;
  status.match = match_;
  status.next = next_;
  status.state = state_;
  status.pending_snapshot = pending_snapshot_;
  status.recent_active = recent_active_;
  status.paused = IsPaused();
  status.is_learner = is_learner_;
  status.inflight = inflights_.count();
  status.inflight_full = inflights_.Full();
  return status;
}

}  // namespace keelson::raft::internal
