// What happens inside, as typed values: for logs and metrics.
#ifndef KEELSON_RAFT_OBSERVER_H_
#define KEELSON_RAFT_OBSERVER_H_

#include <cstdint>
#include <string_view>
#include <variant>

#include "raft/types.h"

namespace keelson::raft {

namespace event {

// --- Who leads ---

// Also when a follower enters a new term, or a candidate tries again.
struct RoleChanged {
  Role role = Role::kFollower;
  Term term = 0;
  NodeId leader = kNoNode;  // a follower's, as far as it knows
};
struct LeaderChanged {
  NodeId from = kNoNode;
  NodeId to = kNoNode;
  Term term = 0;
};
// Campaign, or an election timeout, had no effect.
enum class CampaignRefusal : uint8_t { kAlreadyLeader, kNotPromotable, kUnappliedConfChange };
struct CampaignRefused {
  CampaignRefusal why{};
  Term term = 0;
};
// A leader has heard no quorum for an election timeout and steps down (check_quorum).
struct QuorumLost {
  Term term = 0;
};
// From the driver: the log of a leader makes nothing durable. It hands over to `to`, or, when that is
// kNoNode, steps down.
struct DiskStalled {
  Term term = 0;
  int ticks = 0;  // since something became durable
  NodeId to = kNoNode;
};
struct TransferStarted {
  NodeId to = kNoNode;
  Term term = 0;
};
struct TransferAborted {
  NodeId to = kNoNode;
  Term term = 0;
  bool replaced = false;  // another transfer takes its place
};
enum class TransferRefusal : uint8_t { kLearner, kInProgress, kSelf, kNoLeader, kRecovering };
struct TransferRefused {
  NodeId to = kNoNode;
  Term term = 0;
  TransferRefusal why{};
};
struct FellAsleep {
  Term term = 0;
};
struct WokeUp {
  Term term = 0;
};

// --- Lost data ---

// Durable data was damaged or gone when this node started. What is sound was kept, the damaged files
// were moved aside, and the node recovers (docs/decisions/0011). Sent before the core is made.
struct StorageRepaired {
  uint64_t incarnation = 0;
  Index kept = 0;         // the last entry that is still there, in the log or the state machine
  Index known = 0;        // the last entry that is known to have been there; at least `kept`
  std::string_view what;  // which file, where, and what is wrong; not kept after the call
};
// The leader says that more is committed here than the log holds: this node lost durable data.
struct CommitBeyondLog {
  Index commit = 0;
  Index last_index = 0;
};
// This node found that it lost durable data; and that it has been brought up to date since.
struct RecoveryStarted {
  uint64_t incarnation = 0;
};
struct RecoveryEnded {
  uint64_t incarnation = 0;
  Index index = 0;
};
// A leader heard of that, and will trust the peer once `recover_to` is committed and there.
struct PeerRecovering {
  NodeId peer = kNoNode;
  uint64_t incarnation = 0;
  Index recover_to = 0;
};
struct PeerRecovered {
  NodeId peer = kNoNode;
  uint64_t incarnation = 0;
};

// --- Snapshots ---

struct SnapshotSent {
  NodeId peer = kNoNode;
  Index index = 0;
  Term term = 0;
  Index first_index = 0;  // of the log, which does not reach back to what the peer needs
  Index commit = 0;
  PeerStatus before;
  PeerStatus after;
};
// The transport says what became of it.
struct SnapshotReported {
  bool ok = false;
  PeerStatus peer;
};
// This node takes one in place of its log.
struct SnapshotRestored {
  Index index = 0;
  Term term = 0;
  Index commit = 0;
  Index last_index = 0;
  Term last_term = 0;
};
// This node is no member in the one that it was sent, and does not take it.
struct SnapshotForeign {
  ConfState conf_state;
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

}  // namespace event

using Event =
    std::variant<event::RoleChanged, event::LeaderChanged, event::CampaignRefused,
                 event::QuorumLost, event::DiskStalled, event::TransferStarted,
                 event::TransferAborted, event::TransferRefused, event::FellAsleep, event::WokeUp,
                 event::StorageRepaired, event::CommitBeyondLog, event::RecoveryStarted,
                 event::RecoveryEnded, event::PeerRecovering, event::PeerRecovered,
                 event::SnapshotSent, event::SnapshotReported, event::SnapshotRestored,
                 event::SnapshotForeign, event::ConfChanged, event::ConfChangeRefused>;

struct TraceEvent;  // raft/internal/trace.h

// Called inside Core's functions, on the caller's thread. Must not call the core.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void On(NodeId self, const Event& event) = 0;
  // The single steps between the events, for transcripts and checkers of invariants within raft/.
  virtual void OnTrace(NodeId /*self*/, const TraceEvent& /*step*/) {}
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_OBSERVER_H_
