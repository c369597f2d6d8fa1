// What a node may say and believe, given what has reached it: the rules of the protocol for
// single messages. They see a defect in the message or the step that is wrong, long before it has
// done harm, and need nothing but the wire and the observer's events.
//
//   I2   a node appends nothing twice, and refuses nothing that it has acknowledged, in one term.
//   I5   a follower commits no more than its leaders' messages have told it, and of an App no
//        more than the entries it carries.
//   I6   a node that hears its leader follows no candidate (check-quorum's stickiness), and no
//        pre-vote moves a term.
//   I9   what a leader sends next to a peer lies behind what it knows the peer to hold.
//   I15  a node acknowledges no more than what its leader has sent it.
#ifndef KEELSON_RAFT_SIM_WIRE_RULES_H_
#define KEELSON_RAFT_SIM_WIRE_RULES_H_

#include <map>
#include <set>
#include <string>

#include "absl/time/time.h"
#include "raft/internal/trace.h"
#include "raft/node.h"
#include "raft/sim/invariants.h"
#include "raft/types.h"

namespace keelson::raft::sim {

class WireRules {
 public:
  struct Options {
    // For so long after it has answered its leader a node ignores candidates; zero when it
    // need not, without check-quorum.
    absl::Duration stickiness;
  };
  // `invariants` hears of violations; borrowed, outlives this.
  WireRules(Invariants& invariants, const Options& options)
      : invariants_(invariants), options_(options) {}

  void OnStarted(NodeId node) { nodes_.erase(node); }
  // A message leaves, at `now`.
  void OnSend(const Message& message, absl::Duration now);
  // A message is about to be handed to its receiver. True when it is an acknowledgement that a
  // later one has overtaken: the moment to ask the leader what it makes of it.
  bool OnArrive(const Message& message);
  void OnEvent(NodeId node, const AnyEvent& event, absl::Duration now);
  void OnStatus(NodeId node, const Status& status);
  // After every event, for each node that runs.
  void OnPeek(NodeId node, const Node::Snapshot& peek);

 private:
  struct NodeRecord {
    Term term = 0;
    bool led = false;         // at the last peek or since
    bool follows = false;     // a leader
    Index told = 0;           // how far it may think the log to be committed
    Term sent_in = 0;         // the latest term of an App or Snap for it ...
    Index sent_to = 0;        // ... and the last entry that it may hold by those
    Term acked_in = 0;        // the latest term in which it acknowledged entries ...
    Index acked_to = 0;       // ... up to this one
    Term replaced_in = 0;     // the latest term in which it replaced entries ...
    Index replaced_from = 0;  // ... from this one on
    Term heard_in = 0;        // the latest term in which it answered its leader, 0: leader lost ...
    absl::Duration heard_at;
  };

  void OnReplaced(NodeId node, NodeRecord& record, const trace::LogConflict& conflict);
  void OnRefused(NodeId node, const NodeRecord& record, const trace::AppendRefused& refused);
  void OnHigherTerm(NodeId node, const NodeRecord& record, const trace::HigherTermSeen& seen,
                    absl::Duration now);
  void CheckAck(NodeRecord& record, const Message& message);

  Invariants& invariants_;
  const Options options_;
  std::map<NodeId, NodeRecord> nodes_;
  std::set<Term> transfers_;  // terms of campaigns that a leader asked for
  std::map<std::pair<Term, NodeId>, Index> arrived_acks_;  // (term, peer) -> greatest
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_WIRE_RULES_H_
