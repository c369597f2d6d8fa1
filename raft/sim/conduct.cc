#include "raft/sim/conduct.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"

namespace keelson::raft::sim {
namespace {

bool IsMajority(const std::vector<NodeId>& voters, const std::set<NodeId>& who) {
  const auto count = std::count_if(voters.begin(), voters.end(),
                                   [&who](NodeId voter) { return who.count(voter) > 0; });
  return voters.empty() || static_cast<size_t>(count) > voters.size() / 2;
}

bool IsQuorum(const ConfState& state, const std::set<NodeId>& who) {
  return IsMajority(state.voters, who) && IsMajority(state.voters_outgoing, who);
}

// False when a quorum of `a` and one of `b` need not have a node in common: tries every set of
// nodes against the rest.
bool QuorumsMeet(const ConfState& a, const ConfState& b) {
  std::set<NodeId> all;
  for (const auto* voters : {&a.voters, &a.voters_outgoing, &b.voters, &b.voters_outgoing}) {
    all.insert(voters->begin(), voters->end());
  }
  const std::vector<NodeId> nodes(all.begin(), all.end());
  for (uint64_t bits = 0; bits < uint64_t{1} << nodes.size(); ++bits) {
    std::set<NodeId> some;
    std::set<NodeId> others;
    for (size_t i = 0; i < nodes.size(); ++i) {
      ((bits >> i & 1) != 0 ? some : others).insert(nodes[i]);
    }
    if (IsQuorum(a, some) && IsQuorum(b, others)) return false;
  }
  return true;
}

bool IsVoter(const ConfState& state, NodeId node) {
  const auto holds = [node](const std::vector<NodeId>& ids) {
    return std::find(ids.begin(), ids.end(), node) != ids.end();
  };
  return holds(state.voters) || holds(state.voters_outgoing);
}

}  // namespace

void Conduct::OnEvent(NodeId node, const AnyEvent& event) {
  NodeRecord& record = nodes_[node];
  if (const auto* started = event.As<trace::Started>()) {
    record.changed_at = started->applied;
    record.recovering = started->hard_state.recovering;
  } else if (const auto* restoring = event.As<trace::SnapshotRestoring>()) {
    OnRestoring(node, record, *restoring);
  } else if (const auto* changed = event.As<event::ConfChanged>()) {
    OnConfChanged(node, record, changed->conf_state);
  } else if (const auto* campaign = event.Became(Role::kCandidate)) {
    last_campaign_ = std::max(last_campaign_, campaign->term);
    granted_[{campaign->term, node}].insert(node);
  } else if (const auto* vote = event.As<trace::VoteCast>()) {
    OnVote(node, *vote);
  } else if (const auto* counted = event.As<trace::VoteReceived>()) {
    OnCounted(node, *counted);
  } else if (const auto* elected = event.Became(Role::kLeader)) {
    OnElected(node, elected->term);
  } else if (const auto* append = event.As<trace::AppendHandedOver>()) {
    if (append->first != 0) record.unwritten.push_back(append->first);
  } else if (const auto* stable = event.As<trace::EntriesStable>()) {
    OnStable(node, record, *stable);
  } else if (event.Is<trace::ElectionStarted>()) {
    OnCampaign(node);
  } else if (event.Is<event::RecoveryStarted>()) {
    record.recovering = true;
  } else if (event.Is<event::RecoveryEnded>()) {
    record.recovering = false;
  } else if (const auto* lost = event.As<event::PeerRecovering>()) {
    // Nothing is known any more of a peer that has lost its data.
    std::erase_if(matches_, [lost](const auto& match) { return match.first.second == lost->peer; });
  }
}

void Conduct::OnWritten(NodeId node) {
  std::deque<Index>& unwritten = nodes_[node].unwritten;
  if (!unwritten.empty()) unwritten.pop_front();
}

void Conduct::OnStable(NodeId node, const NodeRecord& record, const trace::EntriesStable& stable) {
  const DiskLog& disk = invariants_.DiskOf(node);
  const LogView::Item* item = disk.durable.At(stable.index);
  const bool compacted = stable.index < disk.durable.start();
  const auto replaces = [&stable](Index first) { return first <= stable.index; };
  if (!compacted && (item == nullptr || item->term != stable.term)) {
    invariants_.Fail("I10", absl::StrCat("node ", node, " takes entry ", stable.index, " of term ",
                                         stable.term, " for durable, which is not on its disk"));
  } else if (std::any_of(record.unwritten.begin(), record.unwritten.end(), replaces) ||
             std::any_of(disk.pending_tails.begin(), disk.pending_tails.end(), replaces)) {
    invariants_.Fail(
        "I10", absl::StrCat("node ", node, " takes entry ", stable.index, " of term ", stable.term,
                            " for durable, which it is still to replace"));
  }
}

void Conduct::OnRestoring(NodeId node, NodeRecord& record,
                          const trace::SnapshotRestoring& restoring) {
  record.restoring = restoring.index;
  if (restoring.index <= restoring.commit) {
    invariants_.Fail("I4", absl::StrCat("node ", node, " restores a snapshot of entry ",
                                        restoring.index, " and has committed ", restoring.commit));
  }
  // What is stable is as it was written.
  const LogView::Item* held = restoring.index < restoring.unstable_offset
                                  ? invariants_.DiskOf(node).written.At(restoring.index)
                                  : nullptr;
  if (held != nullptr && held->term == restoring.term) {
    invariants_.Fail("I4", absl::StrCat("node ", node, " lets a snapshot of entry ",
                                        restoring.index, " replace a log that holds it"));
  }
}

void Conduct::OnConfChanged(NodeId node, NodeRecord& record, const ConfState& state) {
  const bool first = !record.membership.has_value();
  if (record.restoring != 0) {
    record.changed_at = record.restoring;
  } else if (!first) {
    if (!record.membership->voters.empty() && !QuorumsMeet(*record.membership, state)) {
      invariants_.Fail("I12", "two memberships in a row have quorums that do not meet");
    }
    CheckSwitch(node, record, state);
  }
  record.membership = state;
  record.restoring = 0;
}

void Conduct::CheckSwitch(NodeId node, NodeRecord& record, const ConfState& state) {
  const auto& changes = invariants_.memberships().changes();
  const auto next = changes.upper_bound(record.changed_at);
  if (next == changes.end() || next->first > record.applied) {
    return invariants_.Fail(
        "I12", absl::StrCat("node ", node, " switches its membership and has ", "applied up to ",
                            record.applied, ", where no change is after ", record.changed_at));
  }
  record.changed_at = next->first;
  if (next->second != state) {
    invariants_.Fail("I12", absl::StrCat("node ", node, " switches to another membership than ",
                                         "the one after entry ", next->first));
  }
}

void Conduct::OnVote(NodeId node, const trace::VoteCast& vote) {
  if (vote.pre_vote) return;
  if (vote.granted) {
    granted_[{vote.term, vote.candidate}].insert(node);
    return;
  }
  const bool free = vote.vote == kNoNode || vote.vote == vote.candidate;
  const bool good = std::pair(vote.candidate_last_term, vote.candidate_last_index) >=
                    std::pair(vote.last_term, vote.last_index);
  if (nodes_[node].recovering) return;
  if (vote.answer == trace::VoteAnswer::kRejected && free && good && led_.count(vote.term) == 0) {
    invariants_.Fail("I18", absl::StrCat("node ", node, " refuses ", vote.candidate,
                                         " its free vote of term ", vote.term));
  }
}

void Conduct::OnCounted(NodeId node, const trace::VoteReceived& vote) {
  if (vote.pre_vote || !vote.granted) return;
  if (granted_[{vote.term, node}].count(vote.from) == 0) {
    invariants_.Fail("I17", absl::StrCat("candidate ", node, " of term ", vote.term,
                                         " counts a vote that node ", vote.from, " has not given"));
  }
  counted_[{vote.term, node}].insert(vote.from);
}

void Conduct::OnElected(NodeId node, Term term) {
  led_.insert(term);
  const NodeRecord& record = nodes_[node];
  if (record.membership.has_value() && !IsQuorum(*record.membership, counted_[{term, node}])) {
    invariants_.Fail("I17", absl::StrCat("node ", node, " became leader of term ", term,
                                         " without the votes of a quorum"));
  }
}

void Conduct::OnCampaign(NodeId node) {
  const NodeRecord& record = nodes_[node];
  if (!record.peek.has_value()) return;
  const auto change = changes_.upper_bound(std::max(record.applied, record.peek->applied));
  if (change != changes_.end() && *change <= record.peek->commit) {
    invariants_.Fail("I12", absl::StrCat("node ", node, " campaigns before it has applied entry ",
                                         *change, ", a committed membership change"));
  }
}

void Conduct::OnApplied(NodeId node, const Entry& entry, const ConfState* membership) {
  nodes_[node].applied = entry.index;
  if (entry.type != EntryType::kNormal) changes_.insert(entry.index);
  if (membership != nullptr) memberships_.try_emplace(entry.index, *membership);
}

void Conduct::OnPeek(NodeId node, const Node::Snapshot& peek) {
  NodeRecord& record = nodes_[node];
  if (peek.term > last_campaign_) {
    invariants_.Fail("I3", absl::StrCat("node ", node, " is in term ", peek.term,
                                        ", for which nobody has campaigned"));
  }
  const bool leads = peek.soft_state.role == Role::kLeader;
  if (leads && record.membership.has_value() && !IsVoter(*record.membership, node)) {
    invariants_.Fail(
        "I13", absl::StrCat("node ", node, " leads term ", peek.term, " and is no voter any more"));
  }
  const bool led = record.peek.has_value() && record.peek->term == peek.term &&
                   record.peek->soft_state.role == Role::kLeader;
  if (leads && led && peek.commit > record.peek->commit &&
      invariants_.CommittedTerm(peek.commit) != peek.term) {
    invariants_.Fail("I6", absl::StrCat("leader ", node, " of term ", peek.term,
                                        " commits up to entry ", peek.commit, " of term ",
                                        invariants_.CommittedTerm(peek.commit), " by counting"));
  }
  record.peek = peek;
}

void Conduct::OnStatus(NodeId node, const Status& status) {
  const auto known = memberships_.find(status.applied);
  // While a snapshot waits to be loaded its membership is in force already.
  if (known != memberships_.end() && status.first_index <= status.applied + 1 &&
      known->second != status.conf_state) {
    invariants_.Fail("I12",
                     absl::StrCat("node ", node, " does not go by the membership after entry ",
                                  status.applied, ", the last it has applied"));
  }
  if (status.applied == status.last_index && status.uncommitted_bytes != 0) {
    invariants_.Fail("I19", absl::StrCat("leader ", node, " has applied its whole log and counts ",
                                         status.uncommitted_bytes, " uncommitted bytes"));
  }
  // Nothing is known any more of one that left, should it come back.
  std::erase_if(matches_, [&status](const auto& known_match) {
    const auto& [term, id] = known_match.first;
    return term == status.hard_state.term &&
           std::none_of(status.peers.begin(), status.peers.end(),
                        [id = id](const PeerStatus& peer) { return peer.id == id; });
  });
  for (const PeerStatus& peer : status.peers) {
    Index& match = matches_[{status.hard_state.term, peer.id}];
    if (peer.match < match) {
      invariants_.Fail("I9", absl::StrCat("leader ", node, " knew that node ", peer.id, " holds ",
                                          match, " and now only ", peer.match));
    }
    match = peer.match;
  }
}

}  // namespace keelson::raft::sim
