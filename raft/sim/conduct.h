// What each node may do by itself, whatever comes of it: the checks that see a defect when it
// acts and not when it has done harm. They know the nodes by their events and by where they say
// they stand.
//
//   I3   a term begins with a campaign.
//   I6   a leader counts replicas of entries of its own term only.
//   I9   what a leader knows of a peer does not shrink within its term.
//   I4   no snapshot replaces a log that holds what it covers, nor one that is committed further.
//   I10  what a node takes for durable is on its disk, and nothing that it is still to write replaces
//        it.
//   I12  the quorums of two memberships in a row meet; a node goes by the membership after the
//        entry that it has applied, and switches when it has applied the change; nobody campaigns
//        by a membership that a committed change has ended.
//   I13  a leader that is no voter any more steps down.
//   I17  a leader has counted the votes of a quorum of its membership, and only votes that were
//        given.
//   I19  a leader whose log is applied has no uncommitted bytes.
//   I18  a vote that is free goes to a candidate whose log is good enough.
#ifndef KEELSON_RAFT_SIM_CONDUCT_H_
#define KEELSON_RAFT_SIM_CONDUCT_H_

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "raft/core.h"
#include "raft/internal/trace.h"
#include "raft/node.h"
#include "raft/sim/invariants.h"
#include "raft/types.h"

namespace keelson::raft::sim {

class Conduct {
 public:
  // `invariants` hears of violations; borrowed, outlives this.
  explicit Conduct(Invariants& invariants) : invariants_(invariants) {}

  void OnStarted(NodeId node) { nodes_.erase(node); }
  void OnEvent(NodeId node, const AnyEvent& event);
  // The entries that were handed to the append worker next are written, the disk's record up to
  // date.
  void OnWritten(NodeId node);
  // A node applied an entry; `membership` after it when it was the last of its batch.
  void OnApplied(NodeId node, const Entry& entry, const ConfState* membership);
  // After every event, for each node that runs.
  void OnPeek(NodeId node, const Node::Snapshot& peek);
  void OnStatus(NodeId node, const Status& status);

 private:
  struct NodeRecord {
    std::optional<Node::Snapshot> peek;
    std::optional<ConfState> membership;
    bool recovering = false;  // from a loss of data: it gives no votes
    Index restoring = 0;      // the next membership comes with a snapshot of this entry
    Index applied = 0;
    Index changed_at = 0;         // the entry of its last membership change
    std::deque<Index> unwritten;  // the first entry of each append that waits
  };

  void OnStable(NodeId node, const NodeRecord& record, const trace::EntriesStable& stable);
  void OnConfChanged(NodeId node, NodeRecord& record, const ConfState& state);
  void CheckSwitch(NodeId node, NodeRecord& record, const ConfState& state);
  void OnRestoring(NodeId node, NodeRecord& record, const trace::SnapshotRestoring& restoring);
  void OnCounted(NodeId node, const trace::VoteReceived& vote);
  void OnVote(NodeId node, const trace::VoteCast& vote);
  void OnElected(NodeId node, Term term);
  void OnCampaign(NodeId node);

  Invariants& invariants_;
  std::map<NodeId, NodeRecord> nodes_;
  std::map<std::pair<Term, NodeId>, std::set<NodeId>> granted_;  // (term, candidate) -> voters
  std::map<std::pair<Term, NodeId>, std::set<NodeId>> counted_;  // of these, by the candidate
  std::set<Term> led_;                                           // terms that have a leader
  Term last_campaign_ = 0;                                       // the highest term of any
  std::map<std::pair<Term, NodeId>, Index> matches_;             // (leader's term, peer)
  std::map<Index, ConfState> memberships_;                       // after the ends of batches
  std::set<Index> changes_;  // entries that changed the membership, or tried to
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_CONDUCT_H_
