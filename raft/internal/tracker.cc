#include "raft/internal/tracker.h"
#include "raft/internal/mutation.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

namespace keelson::raft::internal {

bool Contains(const std::vector<NodeId>& ids, NodeId id) {
  return std::binary_search(ids.begin(), ids.end(), id);
}

void Tracker::Switch(ConfState config, ProgressMap progress) {
  config_ = std::move(config);
  progress_ = std::move(progress);
}

Progress* Tracker::Find(NodeId id) {
  const auto it = progress_.find(id);
  return it == progress_.end() ? nullptr : &it->second;
}

const Progress* Tracker::Find(NodeId id) const {
  const auto it = progress_.find(id);
  return it == progress_.end() ? nullptr : &it->second;
}

bool Tracker::IsVoter(NodeId id) const {
  return Contains(config_.voters, id) || Contains(config_.voters_outgoing, id);
}

std::vector<NodeId> Tracker::AllVoters() const {
  std::vector<NodeId> ids;
  std::set_union(config_.voters.begin(), config_.voters.end(), config_.voters_outgoing.begin(),
                 config_.voters_outgoing.end(), std::back_inserter(ids));
  return ids;
}

Index Tracker::Committed() const {
  std::vector<NodeId> voters = config_.voters;
  if (Mutated(Mutation::kLearnersCounted)) {
    voters.insert(voters.end(), config_.learners.begin(), config_.learners.end());
  }
  return JointCommitted(voters, config_.voters_outgoing, [this](NodeId id) -> std::optional<Index> {
    const Progress* progress = Find(id);
    if (progress == nullptr) return std::nullopt;
    return progress->recovering() ? 0 : progress->match();
  });
}

bool Tracker::QuorumActive() const {
  return JointVote(config_.voters, config_.voters_outgoing, [this](NodeId id) {
           const Progress* progress = Find(id);
           return std::optional<bool>(progress != nullptr && progress->recent_active() &&
                                      !progress->recovering());
         }) == VoteResult::kWon;
}

Tracker::Tally Tracker::TallyVotes() const {
  Tally tally;
  for (const auto& [id, progress] : progress_) {
    if (progress.is_learner()) continue;
    const auto vote = votes_.find(id);
    if (vote == votes_.end()) continue;
    ++(vote->second ? tally.granted : tally.rejected);
  }
  tally.result =
      JointVote(config_.voters, config_.voters_outgoing, [this](NodeId id) -> std::optional<bool> {
        const auto vote = votes_.find(id);
        if (vote == votes_.end()) return std::nullopt;
        return vote->second;
      });
  return tally;
}

}  // namespace keelson::raft::internal
