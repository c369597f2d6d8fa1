// The single steps of the algorithm, as typed values: what transcripts print and checkers of
// invariants follow. They change with the algorithm; events that users can build on are those of
// raft/observer.h.
#ifndef KEELSON_RAFT_INTERNAL_TRACE_H_
#define KEELSON_RAFT_INTERNAL_TRACE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <variant>

#include "raft/observer.h"
#include "raft/types.h"

namespace keelson::raft {

namespace trace {

// --- Elections ---

// The core was made from a log; sent once, first.
struct Started {
  HardState hard_state;
  Index applied = 0;
  Index last_index = 0;
  Term last_term = 0;
};
struct ElectionStarted {
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
// A vote request or answer proved that more is committed.
struct CommittedByVote {
  NodeId from = kNoNode;
  Index before = 0;
  Index commit = 0;
};
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
struct LeaderForgotten {
  NodeId leader = kNoNode;
  Term term = 0;
};
// Lease reads need the stickiness.
struct ForgetLeaderRefused {};
// A leader ignores what a peer said before it lost its data.
struct EarlierLifeIgnored {
  NodeId peer = kNoNode;
  MessageType type{};
  uint64_t incarnation = 0;
};

// --- The log ---

// A tail is replaced.
struct LogConflict {
  Index index = 0;
  Term existing = 0;
  Term incoming = 0;
};
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
// The append worker is to write something: entries [first, last], or none (0).
struct AppendHandedOver {
  Index first = 0;
  Index last = 0;
};
// The log takes its entries up to this one for durable.
struct EntriesStable {
  Index index = 0;
  Term term = 0;
};

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

enum class SnapshotWithheld : uint8_t { kPeerInactive, kNotReady };
struct SnapshotNotSent {
  NodeId peer = kNoNode;
  SnapshotWithheld why{};
};
// By an append response.
struct SnapshotRecovered {
  PeerStatus peer;
};
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
// It reached a node that cannot take it.
struct RestoredAsNonFollower {
  Role role{};
};
struct SnapshotFastForwarded {
  Index index = 0;
  Term term = 0;
  Index commit = 0;
  Index last_index = 0;
  Term last_term = 0;
};
struct SnapshotIgnored {
  Index index = 0;
  Term term = 0;
  Index commit = 0;
};

// --- Membership, proposals, transfer, reads ---

// The state machine applied this change, but the core has the membership of a snapshot from behind
// it.
struct ConfChangeOvertaken {
  Index index = 0;
};
struct AutoLeaveProposed {
  ConfState conf_state;
};
struct AutoLeaveRefused {
  ConfState conf_state;
};
enum class ProposalRefusal : uint8_t {
  kNoLeader,
  kNotForwarding,
  kNotMember,
  kTransferring,
  kQuota,
  kLeaderOnly
};
// The caller got the same as a status.
struct ProposalRefused {
  std::string_view reason;
  ProposalRefusal why = ProposalRefusal::kNoLeader;
  Term term = 0;
  NodeId peer = kNoNode;  // the leader or transferee that `reason` is about
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
// No leader is known, or too many reads wait.
struct ReadDropped {
  Term term = 0;
};
struct MalformedReadResponse {
  NodeId from = kNoNode;
  size_t entries = 0;
};

}  // namespace trace

using TraceVariant =
    std::variant<trace::Started, trace::ElectionStarted, trace::VoteRequested, trace::VoteCast,
                 trace::VoteReceived, trace::CommittedByVote, trace::HigherTermSeen,
                 trace::LowerTermIgnored, trace::LeaderForgotten, trace::ForgetLeaderRefused,
                 trace::EarlierLifeIgnored, trace::LogConflict, trace::UnstableReplaced,
                 trace::UnstableTruncated, trace::AppendAckIgnored, trace::AppendHandedOver,
                 trace::EntriesStable, trace::AppendRefused, trace::AppendRejected,
                 trace::ProgressDecreased, trace::PeerUnreachable, trace::UnknownPeer,
                 trace::SnapshotNotSent, trace::SnapshotRecovered, trace::SnapshotRestoring,
                 trace::RestoredAsNonFollower, trace::SnapshotFastForwarded, trace::SnapshotIgnored,
                 trace::ConfChangeOvertaken, trace::AutoLeaveProposed, trace::AutoLeaveRefused,
                 trace::ProposalRefused, trace::TimeoutNowSent, trace::TimeoutNowReceived,
                 trace::TimeoutNowIgnored, trace::ReadDropped, trace::MalformedReadResponse>;

// A type of its own, so that raft/observer.h can name it without all of these.
struct TraceEvent : TraceVariant {
  using TraceVariant::TraceVariant;
};

// An event of either kind, for who listens to both: a view of what it was made from.
class AnyEvent {
 public:
  AnyEvent(const Event& event) : event_(&event) {}    // NOLINT(google-explicit-constructor)
  AnyEvent(const TraceEvent& step) : step_(&step) {}  // NOLINT(google-explicit-constructor)

  // Null when it is something else.
  template <typename T>
  [[nodiscard]] const T* As() const {
    if constexpr (std::is_constructible_v<Event, const T&>) {
      return event_ == nullptr ? nullptr : std::get_if<T>(event_);
    } else {
      const TraceVariant* step = step_;
      return step == nullptr ? nullptr : std::get_if<T>(step);
    }
  }
  template <typename T>
  [[nodiscard]] bool Is() const {
    return As<T>() != nullptr;
  }
  // Came to be `role`.
  [[nodiscard]] const event::RoleChanged* Became(Role role) const {
    const auto* changed = As<event::RoleChanged>();
    return changed != nullptr && changed->role == role ? changed : nullptr;
  }
  // A number for each type.
  [[nodiscard]] size_t index() const {
    return event_ != nullptr ? event_->index() : std::variant_size_v<Event> + step_->index();
  }

 private:
  const Event* event_ = nullptr;
  const TraceEvent* step_ = nullptr;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_TRACE_H_
