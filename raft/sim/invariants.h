// What must be true of a Raft cluster after every event (reference: raft.md section 13).
//
// The checker sees the nodes from outside: what they write and sync, what they send, what
// their observers report, what they apply, and where they say they stand. It keeps its own
// record of the one true sequence of committed entries.
//
//   I1   at most one leader a term.
//   I2   a node votes for one candidate a term, and a visible grant is durable.
//   I3   term, commit, applied and the log's start never go back; the durable term survives.
//   I4   two logs with an entry of equal index and term are equal up to it.
//   I5   what is committed never changes.
//   I6   what a node calls committed is durable on a quorum of the membership in force there.
//   I7   a new leader has every entry committed in an earlier term.
//   I8   applied <= commit <= last index.
//   I9   a leader believes of a peer only what is durable there.
//   I10  and of itself.
//   I11  all nodes apply one sequence, without gap or repetition, to equal states.
//   I12  the membership after an entry is the same everywhere, and makes sense; a leader appends a
//        change only when the one before it has been applied.
//   I13  a leader is a voter of its membership when it is elected.
//   I15  no message promises what is not durable, and nothing is applied that is not durable here.
//   I18  the start of a log, and a snapshot on its way, carry the membership there.
//   DUR  a restart finds everything that had been synced, or knows that it does not.
#ifndef KEELSON_RAFT_SIM_INVARIANTS_H_
#define KEELSON_RAFT_SIM_INVARIANTS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "raft/core.h"
#include "raft/node.h"
#include "raft/observer.h"
#include "raft/sim/kv_machine.h"
#include "raft/sim/log_view.h"
#include "raft/sim/memberships.h"
#include "raft/types.h"
#include "raft/wal.h"

namespace keelson::raft::sim {

struct Violation {
  std::string invariant;  // "I6"
  std::string text;
};

class Invariants {
 public:
  // The disk of `node`; borrowed, and outlives this.
  void AddDisk(NodeId node, const DiskLog* disk) { nodes_[node].disk = disk; }

  // The membership that the group begins with.
  void SetFirstMembership(const ConfState& state) { memberships_ = Memberships(state); }

  // --- What happens, in the order of events ---

  // The node knows that it has lost durable data. `disk` has been told. Call before OnRecovered.
  void OnLoss(NodeId node);
  // The node starts with what its log and machine held. Call before the disk's record is
  // brought up to date with `recovered`. It reports its membership by an observer's event.
  void OnRecovered(NodeId node, const Wal::Recovered& recovered, Index applied);
  void OnCrashed(NodeId node) { nodes_[node].peek.reset(); }
  void OnEvent(NodeId node, const Event& event);
  // Entries were written, the disk's record is up to date.
  void OnAppended(NodeId node, std::span<const Entry> entries);
  // The same, of entries that are new and not just read.
  void CheckChanges(NodeId node, std::span<const Entry> entries);
  // A sync is about to be noted: everything pending on the disk becomes durable.
  void OnSync(NodeId node);
  void OnSend(const Message& message);
  // The log of `node` starts, or is about to, after `start`.
  void OnLogStart(NodeId node, const SnapshotMetadata& start);
  // `last` of its batch: the membership in `state` is that after the entry.
  void OnApplied(NodeId node, const Entry& entry, const KvState& state, bool last);
  void OnRestored(NodeId node, const KvState& state);
  // After every event, for each node that runs.
  void OnPeek(NodeId node, const Node::Snapshot& peek);
  void OnStatus(NodeId node, const Status& status);

  // When all is quiet: every log holds what is committed. (While there is work, a log may lag
  // behind its node, which has replaced a tail in memory already.)
  void CheckLogs(const std::vector<NodeId>& members);

  // --- What is known ---

  [[nodiscard]] Index committed() const { return committed_.size(); }
  // The term of the committed entry `index`; 0 if it is not committed.
  [[nodiscard]] Term CommittedTerm(Index index) const {
    return index == 0 || index > committed_.size() ? 0 : committed_[index - 1].term;
  }
  // The prefix hash of the committed entry `index`, or nothing if it is not committed.
  [[nodiscard]] std::optional<uint64_t> CommittedPrefix(Index index) const;
  // The membership that `node` goes by.
  [[nodiscard]] ConfState MembershipOf(NodeId node) const;
  // The term of entry `index` of the leader of `term`, if that one has sent it to anyone; else 0.
  [[nodiscard]] Term SentTerm(Term term, Index index) const;
  [[nodiscard]] const Memberships& memberships() const { return memberships_; }
  [[nodiscard]] const DiskLog& DiskOf(NodeId node) const { return *nodes_.at(node).disk; }
  // How many entries that change the membership have been applied.
  [[nodiscard]] uint64_t membership_changes() const { return membership_changes_; }
  // How many leaders there have been.
  [[nodiscard]] size_t elections() const { return leaders_.size(); }

  // The first violation; later ones are not recorded.
  [[nodiscard]] const std::optional<Violation>& violation() const { return violation_; }
  void Fail(const std::string& invariant, const std::string& text);

 private:
  struct NodeRecord {
    const DiskLog* disk = nullptr;
    Index applied = 0;  // of its machine, in this incarnation
    bool lost = false;  // data, found out at this start
    std::optional<Node::Snapshot> peek;
    // Memberships that were in force since the last peek, the present one last.
    std::vector<ConfState> memberships;
  };
  struct Leader {
    NodeId node = kNoNode;
    Index committed_before = 0;
    Index first_index = 0;  // of its own entries; 0 while none has been written
  };
  struct Applied {
    uint64_t stream_hash = 0;
    uint64_t state_hash = 0;
    std::optional<ConfState> conf_state;  // of the entries that ended a batch somewhere
  };

  void Commit(NodeId node, const Node::Snapshot& peek);
  // The last entry that a leader of a term before `term` committed.
  [[nodiscard]] Index CommittedBefore(Term term) const;
  void CheckRead(NodeId node, const Wal::Recovered& recovered);
  void CheckPeek(NodeId node, NodeRecord& record, const Node::Snapshot& peek);
  void CheckMembership(NodeId node, const ConfState& state);
  void CheckAck(const Message& message, const DiskLog& disk);
  void CheckChange(NodeId node, const Entry& entry);

  std::map<NodeId, NodeRecord> nodes_;
  std::map<Term, Leader> leaders_;
  std::map<std::pair<Term, NodeId>, NodeId> votes_;      // (term, voter) -> candidate
  std::map<std::pair<Index, Term>, uint64_t> prefixes_;  // I4
  std::vector<LogView::Item> committed_;                 // entry i at i - 1
  std::vector<Term> committed_in_;                       // the term of the leader that committed it
  std::map<Index, Applied> applied_;
  std::set<std::pair<Index, Term>> changes_;    // entries that change the membership
  std::map<Term, std::map<Index, Term>> sent_;  // by each leader: terms of its entries
  Memberships memberships_;
  uint64_t membership_changes_ = 0;
  std::optional<Violation> violation_;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_INVARIANTS_H_
