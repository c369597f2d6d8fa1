// Typed events of the core, for logs, metrics, transcripts and invariant checkers.
#ifndef KEELSON_RAFT_OBSERVER_H_
#define KEELSON_RAFT_OBSERVER_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

#include "raft/types.h"

namespace keelson::raft {

namespace event {

// --- Elections ---

// The core was made from a log; sent once, first.
struct Started {
  HardState hard_state;
  Index applied = 0;
  Index last_index = 0;
  Term last_term = 0;
};
struct BecameFollower {
  Term term = 0;
  NodeId leader = kNoNode;
};
struct BecamePreCandidate {
  Term term = 0;
};
struct BecameCandidate {
  Term term = 0;
};
struct BecameLeader {
  Term term = 0;
};
struct LeaderChanged {
  NodeId from = kNoNode;
  NodeId to = kNoNode;
  Term term = 0;
};
struct ElectionStarted {
  Term term = 0;
};
enum class CampaignRefusal : uint8_t { kAlreadyLeader, kNotPromotable, kUnappliedConfChange };
struct CampaignRefused {
  CampaignRefusal why{};
  Term term = 0;
};
struct VoteRequested {
  bool pre_vote = false;
  NodeId to = kNoNode;
  Term term = 0;  // own term
  Term last_term = 0;
  Index last_index = 0;
};
// This node answered, or ignored, a request for its vote.
enum class VoteAnswer : uint8_t { kGranted, kRejected, kIgnoredInLease };
struct VoteCast {
  bool pre_vote = false;
  NodeId candidate = kNoNode;
  Term term = 0;  // own term
  bool granted = false;
  VoteAnswer answer = VoteAnswer::kRejected;
  NodeId vote = kNoNode;  // given before in this term
  Term last_term = 0;     // end of the own log
  Index last_index = 0;
  Term candidate_last_term = 0;
  Index candidate_last_index = 0;
  int remaining_ticks = 0;  // of the lease, for kIgnoredInLease
};
struct VoteReceived {
  bool pre_vote = false;
  NodeId from = kNoNode;
  bool granted = false;
  Term term = 0;  // own term
  size_t granted_count = 0;
  size_t rejected_count = 0;
};
struct CommittedByVote {
  NodeId from = kNoNode;
  Index before = 0;
  Index commit = 0;
};  // a vote request or answer proved that more is committed
struct HigherTermSeen {
  MessageType type{};
  NodeId from = kNoNode;
  Term term = 0;
  Term message_term = 0;
};
struct LowerTermIgnored {
  MessageType type{};
  NodeId from = kNoNode;
  Term term = 0;
  Term message_term = 0;
};
struct QuorumLost {
  Term term = 0;
};  // a leader steps down (check-quorum)
struct LeaderForgotten {
  NodeId leader = kNoNode;
  Term term = 0;
};
struct ForgetLeaderRefused {};  // lease reads need the stickiness
struct RestoredAsNonFollower {
  Role role{};
};  // a snapshot reached a node that cannot take it

// This node found that it lost durable data; and that it has been brought up to date since.
struct RecoveryStarted {
  uint64_t incarnation = 0;
};
struct RecoveryEnded {
  uint64_t incarnation = 0;
  Index index = 0;
};
// A leader heard of that, and will trust the peer once `recover_to` is committed and there.
// Durable data was damaged or gone when this node started. What is sound was kept, the damaged files
// were moved aside, and the node recovers (docs/decisions/0011). Sent before the core is made.
struct StorageRepaired {
  uint64_t incarnation = 0;
  Index kept = 0;         // the last entry that is still there, in the log or the state machine
  Index known = 0;        // the last entry that is known to have been there; at least `kept`
  std::string_view what;  // which file, where, and what is wrong; not kept after the call
};
struct PeerRecovering {
  NodeId peer = kNoNode;
  uint64_t incarnation = 0;
  Index recover_to = 0;
};
struct PeerRecovered {
  NodeId peer = kNoNode;
  uint64_t incarnation = 0;
};
// A leader ignores what a peer said before it lost its data.
struct EarlierLifeIgnored {
  NodeId peer = kNoNode;
  MessageType type{};
  uint64_t incarnation = 0;
};
// From the driver: the log of a leader makes nothing durable. It hands over to `to`, or, when that is
// kNoNode, steps down.
struct DiskStalled {
  Term term = 0;
  int ticks = 0;  // since something became durable
  NodeId to = kNoNode;
};
struct FellAsleep {
  Term term = 0;
};
struct WokeUp {
  Term term = 0;
};

// --- The log ---

struct LogConflict {
  Index index = 0;
  Term existing = 0;
  Term incoming = 0;
};  // a tail is replaced
struct UnstableReplaced {
  Index index = 0;
};
struct UnstableTruncated {
  Index index = 0;
};
// An acknowledgement of the append worker named an entry that is not (any more) there.
enum class StaleAppendAck : uint8_t { kMissing, kCoveredBySnapshot, kOtherTerm };
struct AppendAckIgnored {
  StaleAppendAck why{};
  Index index = 0;
  Term term = 0;
  Term log_term = 0;  // what the log holds there, for kOtherTerm
};
struct CommitBeyondLog {
  Index commit = 0;
  Index last_index = 0;
};  // this node lost durable data

// --- Replication ---

// A follower refuses: its log does not hold (index, log_term).
struct AppendRefused {
  NodeId leader = kNoNode;
  Index index = 0;
  Term log_term = 0;
  Term own_log_term = 0;  // 0: no such entry
};
// The leader hears of a refusal.
struct AppendRejected {
  NodeId peer = kNoNode;
  Index rejected = 0;
  Index hint = 0;
  Term hint_term = 0;
};
struct ProgressDecreased {
  PeerStatus peer;
};
struct PeerUnreachable {
  PeerStatus peer;
};
struct UnknownPeer {
  NodeId peer = kNoNode;
};

// --- Snapshots ---

struct SnapshotSent {
  NodeId peer = kNoNode;
  Index index = 0;
  Term term = 0;
  Index first_index = 0;
  Index commit = 0;
  PeerStatus before;
  PeerStatus after;
};
enum class SnapshotWithheld : uint8_t { kPeerInactive, kNotReady };
struct SnapshotNotSent {
  NodeId peer = kNoNode;
  SnapshotWithheld why{};
};
struct SnapshotRecovered {
  PeerStatus peer;
};  // by an append response
struct SnapshotReported {
  bool ok = false;
  PeerStatus peer;
};  // by the transport
struct SnapshotRestoring {
  Index index = 0;
  Term term = 0;
  Index commit = 0;
  Index applied = 0;
  Index applying = 0;
  Index unstable_offset = 0;
  Index unstable_offset_in_progress = 0;
  size_t unstable_count = 0;
};
struct SnapshotRestored {
  Index index = 0;
  Term term = 0;
  Index commit = 0;
  Index last_index = 0;
  Term last_term = 0;
};
struct SnapshotFastForwarded {
  Index index = 0;
  Term term = 0;
  Index commit = 0;
  Index last_index = 0;
  Term last_term = 0;
};
struct SnapshotForeign {
  ConfState conf_state;
};  // this node is no member in it
struct SnapshotIgnored {
  Index index = 0;
  Term term = 0;
  Index commit = 0;
};

// --- Membership ---

struct ConfChanged {
  ConfState conf_state;
};
struct ConfChangeRefused {
  std::string_view reason;
  ConfChange change;
  EntryType entry_type = EntryType::kConfChangeV2;
  ConfState conf_state;
  Index pending = 0;  // a change may be unapplied up to here; 0 when that is not the reason
  Index applied = 0;
};
struct AutoLeaveProposed {
  ConfState conf_state;
};
struct AutoLeaveRefused {
  ConfState conf_state;
};

// --- Proposals, transfer, reads ---

enum class ProposalRefusal : uint8_t {
  kNoLeader,
  kNotForwarding,
  kNotMember,
  kTransferring,
  kQuota
};
struct ProposalRefused {
  std::string_view reason;
  ProposalRefusal why = ProposalRefusal::kNoLeader;
  Term term = 0;
  NodeId peer = kNoNode;  // the leader or transferee that `reason` is about
};
struct TransferStarted {
  NodeId to = kNoNode;
  Term term = 0;
};
// `replaced` when another transfer takes its place.
struct TransferAborted {
  NodeId to = kNoNode;
  Term term = 0;
  bool replaced = false;
};
enum class TransferRefusal : uint8_t { kLearner, kInProgress, kSelf, kNoLeader, kRecovering };
struct TransferRefused {
  NodeId to = kNoNode;
  Term term = 0;
  TransferRefusal why{};
};
struct TimeoutNowSent {
  NodeId to = kNoNode;
  bool caught_up_later = false;
};
struct TimeoutNowReceived {
  NodeId from = kNoNode;
  Term term = 0;
};
struct TimeoutNowIgnored {
  NodeId from = kNoNode;
  Term term = 0;
  Role role{};
};
struct ReadDropped {
  Term term = 0;
};  // no leader is known, or too many reads wait
struct MalformedReadResponse {
  NodeId from = kNoNode;
  size_t entries = 0;
};

}  // namespace event

using Event = std::variant<
    event::Started, event::BecameFollower, event::BecamePreCandidate, event::BecameCandidate,
    event::BecameLeader, event::LeaderChanged, event::ElectionStarted, event::CampaignRefused,
    event::VoteRequested, event::VoteCast, event::VoteReceived, event::HigherTermSeen,
    event::CommittedByVote, event::LowerTermIgnored, event::QuorumLost, event::LeaderForgotten,
    event::ForgetLeaderRefused, event::RestoredAsNonFollower, event::LogConflict,
    event::UnstableReplaced, event::UnstableTruncated, event::AppendAckIgnored,
    event::CommitBeyondLog, event::AppendRefused, event::AppendRejected, event::ProgressDecreased,
    event::PeerUnreachable, event::UnknownPeer, event::SnapshotSent, event::SnapshotNotSent,
    event::SnapshotRecovered, event::SnapshotReported, event::SnapshotRestoring,
    event::SnapshotRestored, event::SnapshotFastForwarded, event::SnapshotForeign,
    event::SnapshotIgnored, event::ConfChanged, event::ConfChangeRefused, event::AutoLeaveProposed,
    event::AutoLeaveRefused, event::ProposalRefused, event::TransferStarted, event::TransferAborted,
    event::TransferRefused, event::TimeoutNowSent, event::TimeoutNowReceived,
    event::TimeoutNowIgnored, event::ReadDropped, event::MalformedReadResponse,
    event::StorageRepaired, event::RecoveryStarted, event::RecoveryEnded, event::PeerRecovering,
    event::PeerRecovered, event::EarlierLifeIgnored, event::DiskStalled, event::FellAsleep,
    event::WokeUp>;

// Called inside Core's functions, on the caller's thread. Must not call the core.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void On(NodeId self, const Event& event) = 0;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_OBSERVER_H_
