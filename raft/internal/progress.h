// What the leader knows of one peer, and when it may send to it (raft.md section 6).
//
//   probe      one App at a time, to find where the logs part
//   replicate  Apps flow ahead of the answers, within the window
//   snapshot   no Apps until the snapshot has arrived
#ifndef KEELSON_RAFT_INTERNAL_PROGRESS_H_
#define KEELSON_RAFT_INTERNAL_PROGRESS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "raft/internal/inflights.h"
#include "raft/types.h"

namespace keelson::raft::internal {

class Progress {
 public:
  Progress(Index match, Index next, Inflights inflights, bool is_learner, bool recent_active)
      : match_(match),
        next_(next),
        inflights_(std::move(inflights)),
        recent_active_(recent_active),
        is_learner_(is_learner) {}

  void BecomeProbe();
  void BecomeReplicate();
  void BecomeSnapshot(Index snapshot_index);

  // An App with `entries` entries of `bytes` payload went out from next().
  void SentEntries(size_t entries, uint64_t bytes);
  void SentCommit(Index commit) { sent_commit_ = commit; }

  // The peer's log matches up to `index`. False when that is old news.
  bool MaybeUpdate(Index index);
  // The peer refused prev index `rejected`; it may match at `hint`. False when the refusal
  // is stale and must not move anything.
  bool MaybeDecreaseTo(Index rejected, Index hint);
  void FreeInflights(Index index) { inflights_.FreeThrough(index); }

  // True if an App, even an empty one, would tell the peer about a newer commit index.
  [[nodiscard]] bool CanBumpCommit(Index commit) const {
    return commit > sent_commit_ && sent_commit_ < next_ - 1;
  }
  // True if no App may be sent now.
  [[nodiscard]] bool IsPaused() const { return state_ == ProgressState::kSnapshot || flow_paused_; }

  [[nodiscard]] PeerStatus ToStatus(NodeId id) const;

  [[nodiscard]] Index match() const { return match_; }
  [[nodiscard]] Index next() const { return next_; }
  [[nodiscard]] ProgressState state() const { return state_; }
  [[nodiscard]] bool window_full() const { return inflights_.Full(); }
  [[nodiscard]] bool recent_active() const { return recent_active_; }
  [[nodiscard]] bool is_learner() const { return is_learner_; }
  // Which life of the peer this is about; nullopt until it has spoken.
  [[nodiscard]] std::optional<uint64_t> incarnation() const { return incarnation_; }
  // Not 0 while the peer recovers from a loss of data: until this index is committed and
  // there, nothing it says counts towards a quorum.
  [[nodiscard]] Index recover_to() const { return recover_to_; }
  [[nodiscard]] bool recovering() const { return recover_to_ != 0; }

  void set_recent_active(bool active) { recent_active_ = active; }
  void set_is_learner(bool learner) { is_learner_ = learner; }
  void set_flow_paused(bool paused) { flow_paused_ = paused; }
  void SetLife(uint64_t incarnation, Index recover_to) {
    incarnation_ = incarnation;
    recover_to_ = recover_to;
  }
  // The snapshot failed: it is no base for the next probe.
  void ForgetPendingSnapshot() { pending_snapshot_ = 0; }

  // All state that decides about the future, for raft/model.
  template <typename Visitor>
  void VisitState(Visitor& visit) const {
    visit(match_, next_, sent_commit_, pending_snapshot_, inflights_);
    visit(state_, recent_active_, flow_paused_, is_learner_);
    visit(incarnation_.value_or(0), recover_to_);
  }

 private:
  void ResetTo(ProgressState state);

  // 0 <= match < next: entries up to match are on the peer, next is sent next.
  Index match_;
  Index next_;
  Index sent_commit_ = 0;
  Index pending_snapshot_ = 0;
  Inflights inflights_;
  ProgressState state_ = ProgressState::kProbe;
  bool recent_active_;
  bool flow_paused_ = false;
  bool is_learner_;
  std::optional<uint64_t> incarnation_;
  Index recover_to_ = 0;
};

}  // namespace keelson::raft::internal

#endif  // KEELSON_RAFT_INTERNAL_PROGRESS_H_
