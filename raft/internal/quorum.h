// Majorities: which index they have reached, and how they vote (raft.md sections 4, 5, 8).
//
// A joint configuration has two voter sets, and every decision needs a majority of both.
// An empty set decides nothing: it has reached every index and agrees with everyone, so
// that a configuration that is not joint is the special case of an empty second set.
#ifndef KEELSON_RAFT_INTERNAL_QUORUM_H_
#define KEELSON_RAFT_INTERNAL_QUORUM_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include "absl/functional/function_ref.h"
#include "raft/types.h"

namespace keelson::raft::internal {

// The index that an empty voter set "has reached".
inline constexpr Index kEveryIndex = std::numeric_limits<Index>::max();

enum class VoteResult : uint8_t { kPending, kLost, kWon };

// What a voter has acknowledged, or voted; nullopt when it has not been heard of.
using AckedIndex = absl::FunctionRef<std::optional<Index>(NodeId)>;
using CastVote = absl::FunctionRef<std::optional<bool>(NodeId)>;

// The largest index that a majority of `voters` has acknowledged; an unheard voter counts
// as 0, no voters as kEveryIndex.
Index MajorityCommitted(std::span<const NodeId> voters, AckedIndex acked);

// Lost as soon as the missing votes could not win any more.
VoteResult MajorityVote(std::span<const NodeId> voters, CastVote vote);

Index JointCommitted(std::span<const NodeId> incoming, std::span<const NodeId> outgoing,
                     AckedIndex acked);
VoteResult JointVote(std::span<const NodeId> incoming, std::span<const NodeId> outgoing,
                     CastVote vote);

}  // namespace keelson::raft::internal

#endif  // KEELSON_RAFT_INTERNAL_QUORUM_H_
