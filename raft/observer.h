// Typed events of the core, for logs, metrics, transcripts and invariant checkers.
#ifndef KEELSON_RAFT_OBSERVER_H_
#define KEELSON_RAFT_OBSERVER_H_

#include <cstdint>
#include <string_view>
#include <variant>

#include "raft/types.h"

namespace keelson::raft {

namespace event {
struct BecameFollower { Term term; NodeId leader; };
struct BecamePreCandidate { Term term; };
struct BecameCandidate { Term term; };
struct BecameLeader { Term term; };
struct VoteCast { bool pre_vote; NodeId candidate; Term term; bool granted; };
struct QuorumLost { Term term; };                       // a leader steps down (check-quorum)
struct LeaderChanged { NodeId from; NodeId to; Term term; };
struct LogConflict { Index index; Term existing; Term incoming; };  // a tail is replaced
struct AppendRejected { NodeId peer; Index rejected; Index hint; };
struct SnapshotSent { NodeId peer; Index index; };
struct SnapshotRestored { Index index; Term term; };
struct SnapshotIgnored { Index index; Term term; };
struct ConfChanged { ConfState conf_state; };
struct ConfChangeRefused { std::string_view reason; };
struct TransferStarted { NodeId to; };
struct TransferAborted { NodeId to; };
struct ProposalRefused { std::string_view reason; };
struct CommitBeyondLog { Index commit; Index last_index; };  // this node lost durable data
}  // namespace event

using Event =
    std::variant<event::BecameFollower, event::BecamePreCandidate, event::BecameCandidate,
                 event::BecameLeader, event::VoteCast, event::QuorumLost, event::LeaderChanged,
                 event::LogConflict, event::AppendRejected, event::SnapshotSent,
                 event::SnapshotRestored, event::SnapshotIgnored, event::ConfChanged,
                 event::ConfChangeRefused, event::TransferStarted, event::TransferAborted,
                 event::ProposalRefused, event::CommitBeyondLog>;

// Called inside Core's functions, on the caller's thread. Must not call the core.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void On(NodeId self, const Event& event) = 0;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_OBSERVER_H_
