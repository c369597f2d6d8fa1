// The membership in force, the progress of every member, and the votes of an election.
#ifndef KEELSON_RAFT_INTERNAL_TRACKER_H_
#define KEELSON_RAFT_INTERNAL_TRACKER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "raft/internal/progress.h"
#include "raft/internal/quorum.h"
#include "raft/types.h"

namespace keelson::raft::internal {

// Ordered, so that peers are always visited by ascending id.
using ProgressMap = std::map<NodeId, Progress>;

// True if sorted `ids` hold `id`.
bool Contains(const std::vector<NodeId>& ids, NodeId id);

class Tracker {
 public:
  // Limits for the windows of peers; see Inflights.
  Tracker(uint64_t max_inflight_messages, uint64_t max_inflight_bytes)
      : max_inflight_messages_(max_inflight_messages), max_inflight_bytes_(max_inflight_bytes) {}

  [[nodiscard]] const ConfState& config() const { return config_; }
  [[nodiscard]] ProgressMap& progress() { return progress_; }
  [[nodiscard]] const ProgressMap& progress() const { return progress_; }
  void Switch(ConfState config, ProgressMap progress);

  // Null when `id` is no member.
  [[nodiscard]] Progress* Find(NodeId id);
  [[nodiscard]] const Progress* Find(NodeId id) const;

  [[nodiscard]] Inflights NewInflights() const {
    return {max_inflight_messages_, max_inflight_bytes_};
  }

  [[nodiscard]] bool IsJoint() const { return !config_.voters_outgoing.empty(); }
  // A voter of either half.
  [[nodiscard]] bool IsVoter(NodeId id) const;
  // True if one voter decides alone.
  [[nodiscard]] bool IsSingleton() const { return config_.voters.size() == 1 && !IsJoint(); }
  // Voters of both halves, ascending.
  [[nodiscard]] std::vector<NodeId> AllVoters() const;

  // The index that a quorum has matched.
  [[nodiscard]] Index Committed() const;
  // True if a quorum has been heard of since the flags were cleared.
  [[nodiscard]] bool QuorumActive() const;
  // What a quorum has acknowledged, by other marks than match.
  [[nodiscard]] Index QuorumOf(AckedIndex acked) const {
    return JointCommitted(config_.voters, config_.voters_outgoing, acked);
  }

  struct Tally {
    size_t granted = 0;
    size_t rejected = 0;
    VoteResult result = VoteResult::kPending;
  };
  void ResetVotes() { votes_.clear(); }
  // Only the first answer of each member counts.
  void RecordVote(NodeId id, bool granted) { votes_.emplace(id, granted); }
  [[nodiscard]] Tally TallyVotes() const;

  // All state that decides about the future, for raft/model.
  template <typename Visitor>
  void VisitState(Visitor& visit) const {
    visit(config_);
    visit.ByNode(progress_);
    visit.ByNode(votes_);
  }

 private:
  uint64_t max_inflight_messages_;
  uint64_t max_inflight_bytes_;
  ConfState config_;
  ProgressMap progress_;
  std::map<NodeId, bool> votes_;
};

}  // namespace keelson::raft::internal

#endif  // KEELSON_RAFT_INTERNAL_TRACKER_H_
