// Defects that the simulator plants in this library, to see that it finds them. What each
// breaks, and where it happened for real: raft/docs/mutations.md.
//
//   if (index <= match_ && !Mutated(Mutation::kLateAckLowersMatch)) return false;
//
// In the product Mutated is the constant false and nothing is left of such a condition. The
// libraries are compiled once more for the simulator (raft/mutable.bzl), with
// KEELSON_RAFT_MUTATIONS defined; the two never meet in one program.
#ifndef KEELSON_RAFT_INTERNAL_MUTATION_H_
#define KEELSON_RAFT_INTERNAL_MUTATION_H_

#include <cstdint>

namespace keelson::raft {

// In the order of the catalogue, raft/sim/mutations.cc.
enum class Mutation : uint8_t {
  kNone = 0,
  kCountOldTermEntries,
  kChangeBeforeOwnCommit,
  kChangeWhilePending,
  kHalfIsQuorum,
  kHalfWinsElection,
  kJointCommitByNewHalf,
  kJointCommitByUnion,
  kJointVoteByNewHalf,
  kJointVoteByUnion,
  kManyChangesAtOnce,
  kConfChangeOnAppend,
  kSnapshotKeepsMembership,
  kStaleMembershipAfterReset,
  kEmptyMemberTakesEntries,
  kOvertakenChangeMade,
  kNoCommitByVote,
  kCampaignWithUnappliedChange,
  kPreVoteMovesTerm,
  kPreVoteGrantMovesTerm,
  kPreVoteCountsAsVote,
  kVotesNotReset,
  kStickinessDropped,
  kSilentToLowerTerm,
  kLearnerCampaigns,
  kLearnerRefusesVote,
  kLearnersCounted,
  kDemotedLeaderStays,
  kVoteOnInheritedVote,
  kVoteNotReset,
  kVoteTwice,
  kVoteByIndexOnly,
  kTruncateMatchingTail,
  kCommitToOwnLast,
  kAckOwnLast,
  kHeartbeatCommitUncapped,
  kLateRejectLowersNext,
  kRejectTakenForAck,
  kLateAckLowersMatch,
  kStaleTermAnswers,
  kOneShortOfQuorum,
  kAckDuplicateAtOnce,
  kAckStaleAtOnce,
  kAckWhenProposed,
  kSingleMemberCommitsAtOnce,
  kApplyUnstable,
  kReadBeforeOwnCommit,
  kReadWithoutQuorum,
  kReadWithoutBarrier,
  kReadBeforeApplied,
  kFollowerReadsAtOwnCommit,
  kReadAnsweredByOldRound,
  kReadJoinsRunningRound,
  kSnapshotConfNewer,
  kRestoredTermLost,
  kResetKeepsEntries,
  kStaleSnapshotInstalled,
  kRestoreOvertakesApply,
  kSnapshotsPileUp,
  kSnapshotAckAtOnce,
  kSnapshotDropsAckedTail,
  kOldSnapshotOffered,
  kSnapshotRemovedTooEarly,
  kCompactBeforeFlush,
  kFlushedToWhereItEnded,
  kSnapshotWithoutSessions,
  kSnapshotNotSynced,
  kFullWindowSilent,
  kFlowPausedForever,
  kSnapshotFailureIgnored,
  kWindowNeverFreed,
  kProbeNeverLeft,
  kNoRetryAfterFullDisk,
  kNoSessions,
  kForwardedAndKept,
  kReapplyAfterRestart,
  kPositionBehindEffects,
  kConfChangeBeforeApply,
  kLeaveJointNotTold,
  kTrimByIndexOnly,
  kTrimByOldTermAck,
  kRewrittenTailNotStored,
  kLeaderCountsUnsynced,
  kEntriesNeedNoSync,
  kVotesNeedNoSync,
  kOwnVoteAtOnce,
  kRecoveryNotSynced,
  kAckBeforeSync,
  kUncommittedKeptOverTerms,
  kEmptyEntriesUseQuota,
  kApplyQuotaLeaks,
  kAutoLeaveTriedOnce,
  kAutoLeaveTwice,
  kTransferNeverAborted,
  kRejectedVoteResetsTimer,
  kTornTailIsDamage,
  kTailNotZeroed,
  kSyncErrorIgnored,
  kSyncRetried,
  kWriteErrorIgnored,
  kUnprovenNotRewritten,
  kSegmentBeforeSync,
  kSegmentNameNotSynced,
  kSegmentsRemovedUnordered,
  kCompactBeforeSync,
  kCommitAheadOfEntries,
  kEntriesAheadOfTerm,
  kTermNotSaved,
  kVoteNotSaved,
  kNextUnderflow,
  kZeroVoters,
  kCompactOneTooFar,
  kCount,
};

#ifdef KEELSON_RAFT_MUTATIONS
inline constexpr bool kMutationsCompiledIn = true;
namespace internal {
inline Mutation planted_mutation = Mutation::kNone;
}  // namespace internal
// True when `mutation` is planted.
inline bool Mutated(Mutation mutation) { return mutation == internal::planted_mutation; }
// Plants `mutation` and removes the one before. Only while no node runs, and on the one thread
// of the simulator.
inline void PlantMutation(Mutation mutation) { internal::planted_mutation = mutation; }
#else
inline constexpr bool kMutationsCompiledIn = false;
constexpr bool Mutated(Mutation) { return false; }
inline void PlantMutation(Mutation) {}
#endif

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_MUTATION_H_
