#include "raft/internal/quorum.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "raft/internal/mutation.h"

namespace keelson::raft::internal {
namespace {

// Only for defects that count so.
[[maybe_unused]] std::vector<NodeId> Union(std::span<const NodeId> a, std::span<const NodeId> b) {
  std::vector<NodeId> ids;
  std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(ids));
  return ids;
}

}  // namespace

Index MajorityCommitted(std::span<const NodeId> voters, AckedIndex acked) {
  if (voters.empty()) return kEveryIndex;
  absl::InlinedVector<Index, 9> indexes;
  for (const NodeId id : voters) indexes.push_back(acked(id).value_or(0));
  // The quorum-th largest: with n voters, floor(n/2)+1 of them are at or above it.
  size_t quorum = voters.size() / 2 + 1;
  if (Mutated(Mutation::kOneShortOfQuorum) && quorum > 1) --quorum;
  if (Mutated(Mutation::kHalfIsQuorum)) quorum = (voters.size() + 1) / 2;
  const auto nth = indexes.begin() + static_cast<ptrdiff_t>(quorum - 1);
  std::nth_element(indexes.begin(), nth, indexes.end(), std::greater<>());
  return *nth;
}

VoteResult MajorityVote(std::span<const NodeId> voters, CastVote vote) {
  if (voters.empty()) return VoteResult::kWon;
  size_t yes = 0;
  size_t missing = 0;
  for (const NodeId id : voters) {
    const std::optional<bool> cast = vote(id);
    if (!cast.has_value()) {
      ++missing;
    } else if (*cast) {
      ++yes;
    }
  }
  const size_t quorum =
      Mutated(Mutation::kHalfWinsElection) ? (voters.size() + 1) / 2 : voters.size() / 2 + 1;
  if (yes >= quorum) return VoteResult::kWon;
  return yes + missing >= quorum ? VoteResult::kPending : VoteResult::kLost;
}

Index JointCommitted(std::span<const NodeId> incoming, std::span<const NodeId> outgoing,
                     AckedIndex acked) {
  if (Mutated(Mutation::kJointCommitByNewHalf)) return MajorityCommitted(incoming, acked);
  if (Mutated(Mutation::kJointCommitByUnion))
    return MajorityCommitted(Union(incoming, outgoing), acked);
  return std::min(MajorityCommitted(incoming, acked), MajorityCommitted(outgoing, acked));
}

VoteResult JointVote(std::span<const NodeId> incoming, std::span<const NodeId> outgoing,
                     CastVote vote) {
  if (Mutated(Mutation::kJointVoteByNewHalf)) return MajorityVote(incoming, vote);
  if (Mutated(Mutation::kJointVoteByUnion)) return MajorityVote(Union(incoming, outgoing), vote);
  const VoteResult a = MajorityVote(incoming, vote);
  const VoteResult b = MajorityVote(outgoing, vote);
  if (a == b) return a;
  if (a == VoteResult::kLost || b == VoteResult::kLost) return VoteResult::kLost;
  return VoteResult::kPending;  // One half has won, the other one has not yet.
}

}  // namespace keelson::raft::internal
