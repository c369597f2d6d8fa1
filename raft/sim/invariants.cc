#include "raft/sim/invariants.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"

namespace keelson::raft::sim {
namespace {

bool Contains(const std::vector<NodeId>& nodes, NodeId node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

// An empty half of a joint membership agrees with everything.
bool IsMajority(const std::vector<NodeId>& voters, const std::vector<NodeId>& who) {
  const auto count = std::count_if(voters.begin(), voters.end(),
                                   [&who](NodeId voter) { return Contains(who, voter); });
  return voters.empty() || static_cast<size_t>(count) > voters.size() / 2;
}

bool IsQuorum(const ConfState& state, const std::vector<NodeId>& who) {
  return !state.voters.empty() && IsMajority(state.voters, who) &&
         IsMajority(state.voters_outgoing, who);
}

}  // namespace

void Invariants::Fail(const std::string& invariant, const std::string& text) {
  if (!violation_.has_value()) violation_ = {.invariant = invariant, .text = text};
}

std::optional<uint64_t> Invariants::CommittedPrefix(Index index) const {
  if (index == 0) return 0;
  if (index > committed_.size()) return std::nullopt;
  return committed_[index - 1].prefix;
}

void Invariants::CheckRead(NodeId node, const Wal::Recovered& recovered) {
  const DiskLog& disk = *nodes_[node].disk;
  if (recovered.hard_state.term < disk.durable_state.term) {
    return Fail("DUR", absl::StrCat("node ", node, " had synced term ", disk.durable_state.term,
                                    " and read back term ", recovered.hard_state.term));
  }
  if (recovered.hard_state.term == disk.durable_state.term && disk.durable_state.vote != kNoNode &&
      recovered.hard_state.vote != disk.durable_state.vote) {
    return Fail("DUR",
                absl::StrCat("node ", node, " had synced a vote for ", disk.durable_state.vote,
                             " and read back one for ", recovered.hard_state.vote));
  }
  // A tail that was being replaced when the node crashed may be the old or the new one.
  Index replaced = disk.durable.last() + 1;
  for (const Index tail : disk.pending_tails) replaced = std::min(replaced, tail);
  if (disk.pending_reset) replaced = 0;
  for (Index index = recovered.start.index + 1; index < replaced; ++index) {
    const LogView::Item* durable = disk.durable.At(index);
    if (durable == nullptr || index == disk.durable.start()) continue;
    const Index offset = index - recovered.start.index - 1;
    if (offset >= recovered.entries.size() ||
        HashEntry(recovered.entries[offset]) != durable->hash) {
      return Fail("DUR", absl::StrCat("node ", node, " had synced entry ", index, " of term ",
                                      durable->term, " and did not read it back"));
    }
  }
  if (!recovered.entries.empty() && recovered.entries.back().term > recovered.hard_state.term) {
    return Fail("DUR", absl::StrCat("node ", node, " read back an entry of term ",
                                    recovered.entries.back().term, " and only term ",
                                    recovered.hard_state.term));
  }
  if (recovered.start.index > committed()) {
    Fail("I5", absl::StrCat("the log of node ", node, " starts after entry ", recovered.start.index,
                            ", which is not committed"));
  }
}

void Invariants::OnLoss(NodeId node) {
  nodes_[node].lost = true;
  // A vote that it has forgotten it may give again: it must not matter, which I1 sees to.
  std::erase_if(votes_, [node](const auto& vote) { return vote.first.second == node; });
}

void Invariants::OnRecovered(NodeId node, const Wal::Recovered& recovered, Index applied) {
  NodeRecord& record = nodes_[node];
  if (!std::exchange(record.lost, false)) CheckRead(node, recovered);
  record.applied = applied;
  record.peek.reset();
  record.memberships.clear();
}

void Invariants::OnEvent(NodeId node, const Event& event) {
  if (const auto* changed = std::get_if<event::ConfChanged>(&event)) {
    nodes_[node].memberships.push_back(changed->conf_state);
  }
  const auto* became = std::get_if<event::RoleChanged>(&event);
  if (became == nullptr || became->role != Role::kLeader) return;
  const ConfState membership = MembershipOf(node);
  if (!Contains(membership.voters, node) && !Contains(membership.voters_outgoing, node)) {
    Fail("I13",
         absl::StrCat("node ", node, " became leader of term ", became->term, " and is no voter"));
  }
  const auto [leader, fresh] = leaders_.try_emplace(
      became->term, Leader{.node = node, .committed_before = CommittedBefore(became->term)});
  if (!fresh) {
    Fail("I1", absl::StrCat("nodes ", leader->second.node, " and ", node,
                            " both became leader of term ", became->term));
  }
}

void Invariants::OnAppended(NodeId node, std::span<const Entry> entries) {
  const LogView& log = nodes_[node].disk->written;
  for (const Entry& entry : entries) {
    if (entry.index <= log.start()) continue;
    const LogView::Item* item = log.At(entry.index);
    if (item == nullptr) {
      return Fail("I3", absl::StrCat("node ", node, " left a gap before entry ", entry.index));
    }
    const auto [known, fresh] = prefixes_.try_emplace({entry.index, entry.term}, item->prefix);
    if (!fresh && known->second != item->prefix) {
      return Fail("I4", absl::StrCat("node ", node, " wrote an entry ", entry.index, " of term ",
                                     entry.term, " that differs, or follows a log that differs"));
    }
    if (entry.type != EntryType::kNormal) changes_.emplace(entry.index, entry.term);
    const auto leader = leaders_.find(entry.term);
    if (leader == leaders_.end() || leader->second.node != node) continue;
    if (leader->second.first_index != 0) continue;
    leader->second.first_index = entry.index;
    const Index before = leader->second.committed_before;
    const LogView::Item* last = log.At(before);
    if (before >= entry.index ||
        (before >= log.start() && (last == nullptr || last->prefix != CommittedPrefix(before)))) {
      return Fail("I7", absl::StrCat("node ", node, " became leader of term ", entry.term,
                                     " without the committed entry ", before));
    }
  }
}

Term Invariants::SentTerm(Term term, Index index) const {
  const auto sent = sent_.find(term);
  if (sent == sent_.end()) return 0;
  const auto entry = sent->second.find(index);
  return entry == sent->second.end() ? 0 : entry->second;
}

void Invariants::CheckChanges(NodeId node, std::span<const Entry> entries) {
  for (const Entry& entry : entries) {
    // One that it made in an earlier life may come back from elsewhere.
    const std::optional<Node::Snapshot>& peek = nodes_[node].peek;
    const bool own =
        peek.has_value() && peek->soft_state.role == Role::kLeader && peek->term == entry.term;
    if (own && entry.type != EntryType::kNormal) CheckChange(node, entry);
  }
}

void Invariants::CheckChange(NodeId node, const Entry& entry) {
  const NodeRecord& record = nodes_[node];
  for (Index index = record.applied + 1; index < entry.index; ++index) {
    const LogView::Item* item = record.disk->written.At(index);
    if (item == nullptr || changes_.count({index, item->term}) == 0) continue;
    return Fail("I12", absl::StrCat("leader ", node, " appends the membership change ", entry.index,
                                    " and has not applied the one before it, ", index));
  }
}

void Invariants::OnLogStart(NodeId node, const SnapshotMetadata& start) {
  if (memberships_.At(start.index) != start.conf_state) {
    Fail("I18", absl::StrCat("the log or snapshot of node ", node, " after entry ", start.index,
                             " carries another membership than the one there"));
  }
}

void Invariants::OnSync(NodeId node) {
  for (const HardState& state : nodes_[node].disk->pending_states) {
    if (state.vote == kNoNode) continue;
    const auto [vote, fresh] = votes_.try_emplace({state.term, node}, state.vote);
    if (!fresh && vote->second != state.vote) {
      Fail("I2", absl::StrCat("node ", node, " voted for ", vote->second, " and ", state.vote,
                              " in term ", state.term));
    }
  }
}

void Invariants::OnSend(const Message& message) {
  const auto record = nodes_.find(message.from);
  if (record == nodes_.end()) return;
  if (message.type == MessageType::kSnap) OnLogStart(message.from, message.snapshot->metadata);
  if (message.type == MessageType::kApp) {
    std::map<Index, Term>& sent = sent_[message.term];
    sent[message.index] = message.log_term;
    for (const Entry& entry : message.entries) sent[entry.index] = entry.term;
  }
  const DiskLog& disk = *record->second.disk;
  const bool answer =
      message.type == MessageType::kAppResp || message.type == MessageType::kVoteResp;
  if (!answer) return;
  if (message.term > disk.durable_state.term) {
    return Fail("I15", absl::StrCat("node ", message.from, " answers in term ", message.term,
                                    " but only term ", disk.durable_state.term, " is durable"));
  }
  if (message.reject) return;
  if (message.type == MessageType::kVoteResp) {
    // A later durable term also keeps the node from voting again in this one: the vote itself
    // need not be on disk then, when both came in one step.
    const bool durable =
        message.term < disk.durable_state.term || message.to == disk.durable_state.vote;
    const auto [vote, fresh] = votes_.try_emplace({message.term, message.from}, message.to);
    if (!durable || vote->second != message.to) {
      Fail("I2", absl::StrCat("node ", message.from, " grants its vote of term ", message.term,
                              " to ", message.to, ", which is not durable or not its only one"));
    }
    return;
  }
  CheckAck(message, disk);
}

void Invariants::CheckAck(const Message& message, const DiskLog& disk) {
  // Within one term an acknowledged tail is never cut; an answer of an older term may be
  // released after a newer leader's batch of the same sync replaced the tail.
  if (message.term != disk.durable_state.term) return;
  if (message.index > disk.durable.last()) {
    return Fail("I15", absl::StrCat("node ", message.from, " acknowledges entry ", message.index,
                                    " but only ", disk.durable.last(), " is durable"));
  }
  const LogView::Item* item = disk.durable.At(message.index);
  const std::map<Index, Term>& sent = sent_[message.term];
  const auto leaders = sent.find(message.index);
  if (item != nullptr && leaders != sent.end() && leaders->second != item->term) {
    Fail("I15",
         absl::StrCat("node ", message.from, " acknowledges entry ", message.index, " of term ",
                      leaders->second, ", and one of term ", item->term, " is durable"));
  }
}

Index Invariants::CommittedBefore(Term term) const {
  // A leader that was elected long ago may hear of its election only now, when later terms
  // have committed more.
  Index index = committed();
  while (index > 0 && committed_in_[index - 1] >= term) --index;
  return index;
}

void Invariants::Commit(NodeId node, const Node::Snapshot& peek) {
  const Index commit = peek.commit;
  // Which log is it that a quorum holds durably up to `commit`, or held and acknowledged before it
  // lost it?
  std::map<uint64_t, std::vector<NodeId>> holders;
  std::map<uint64_t, const LogView*> logs;
  for (const auto& [holder, record] : nodes_) {
    const LogView::Item* item = record.disk->Promised(commit);
    if (item == nullptr) continue;
    holders[item->prefix].push_back(holder);
    if (item == record.disk->durable.At(commit)) logs.emplace(item->prefix, &record.disk->durable);
  }
  // The step that committed may also have changed the membership, before or after.
  const std::vector<ConfState>& memberships = nodes_[node].memberships;
  for (const auto& [prefix, who] : holders) {
    if (std::none_of(memberships.begin(), memberships.end(),
                     [&who = who](const ConfState& state) { return IsQuorum(state, who); })) {
      continue;
    }
    const auto found = logs.find(prefix);
    if (found == logs.end()) break;  // All of them have lost it.
    const LogView& log = *found->second;
    for (Index index = committed() + 1; index <= commit; ++index) {
      const LogView::Item* item = log.At(index);
      if (item == nullptr || index == log.start()) {
        return Fail("I5", absl::StrCat("node ", who.front(), " compacted entry ", index,
                                       " before it was committed"));
      }
      committed_.push_back(*item);
      committed_in_.push_back(peek.term);
    }
    return;
  }
  Fail("I6", absl::StrCat("node ", node, " calls entry ", commit,
                          " committed, which is not durable on a quorum"));
}

void Invariants::OnPeek(NodeId node, const Node::Snapshot& peek) {
  NodeRecord& record = nodes_[node];
  CheckPeek(node, record, peek);
  if (record.memberships.size() > 1) {
    record.memberships.front() = std::move(record.memberships.back());
    record.memberships.resize(1);
  }
}

void Invariants::CheckPeek(NodeId node, NodeRecord& record, const Node::Snapshot& peek) {
  if (record.peek.has_value()) {
    const Node::Snapshot& last = *record.peek;
    if (peek.term == last.term && peek.commit == last.commit && peek.applied == last.applied &&
        peek.first_index == last.first_index) {
      record.peek->soft_state = peek.soft_state;
      return;
    }
    if (peek.term < last.term || peek.commit < last.commit || peek.applied < last.applied ||
        peek.first_index < last.first_index) {
      return Fail("I3", absl::StrCat("node ", node, " went back: term ", last.term, " -> ",
                                     peek.term, ", commit ", last.commit, " -> ", peek.commit,
                                     ", applied ", last.applied, " -> ", peek.applied,
                                     ", first index ", last.first_index, " -> ", peek.first_index));
    }
  }
  record.peek = peek;
  if (peek.commit > committed()) Commit(node, peek);
  if (violation_.has_value()) return;
  if (peek.applied > peek.commit) {
    Fail("I8", absl::StrCat("node ", node, " applied ", peek.applied, " but committed only ",
                            peek.commit));
  }
}

ConfState Invariants::MembershipOf(NodeId node) const {
  const auto record = nodes_.find(node);
  if (record == nodes_.end() || record->second.memberships.empty()) return {};
  return record->second.memberships.back();
}

void Invariants::CheckMembership(NodeId node, const ConfState& state) {
  bool good = !state.voters.empty();
  for (const NodeId learner : state.learners) {
    good = good && !Contains(state.voters, learner) && !Contains(state.voters_outgoing, learner);
  }
  for (const NodeId next : state.learners_next) {
    good = good && Contains(state.voters_outgoing, next) && !Contains(state.voters, next);
  }
  good = good && (!state.voters_outgoing.empty() || !state.auto_leave);
  if (!good) {
    Fail("I12", absl::StrCat("the membership of node ", node, " after entry ", nodes_[node].applied,
                             " makes no sense"));
  }
}

void Invariants::CheckLogs(const std::vector<NodeId>& members) {
  for (const NodeId node : members) {
    const LogView::Item* item = nodes_[node].disk->durable.At(committed());
    if (item == nullptr || item->prefix != CommittedPrefix(committed())) {
      Fail("I5", absl::StrCat("the log of node ", node, " does not hold the committed entry ",
                              committed()));
    }
  }
}

void Invariants::OnStatus(NodeId node, const Status& status) {
  if (status.hard_state.commit > status.last_index || status.applied > status.hard_state.commit) {
    return Fail("I8", absl::StrCat("node ", node, ": applied ", status.applied, ", commit ",
                                   status.hard_state.commit, ", last index ", status.last_index));
  }
  if (status.soft_state.role != Role::kLeader) return;
  for (const PeerStatus& peer : status.peers) {
    const auto record = nodes_.find(peer.id);
    if (record == nodes_.end()) continue;
    if (peer.match >= peer.next) {
      return Fail("I9", absl::StrCat("leader ", node, ": match ", peer.match, " >= next ",
                                     peer.next, " of node ", peer.id));
    }
    // A peer of a newer term may have replaced its tail since it acknowledged.
    if (record->second.disk->durable_state.term > status.hard_state.term) continue;
    // What a leader inherited it counts at once: it commits nothing by that, since only an
    // entry of its own term can be committed by counting.
    if (peer.id == node) {
      const auto leader = leaders_.find(status.hard_state.term);
      const Index own = leader == leaders_.end() ? 0 : leader->second.first_index;
      if (own == 0 || peer.match < own) continue;
    }
    if (peer.match > record->second.disk->LastPromised()) {
      return Fail(
          peer.id == node ? "I10" : "I9",
          absl::StrCat("leader ", node, " counts node ", peer.id, " for entry ", peer.match,
                       ", but only ", record->second.disk->durable.last(), " is durable there"));
    }
  }
}

void Invariants::OnApplied(NodeId node, const Entry& entry, const KvState& state, bool last) {
  NodeRecord& record = nodes_[node];
  if (entry.index != record.applied + 1) {
    return Fail("I11", absl::StrCat("node ", node, " applied entry ", entry.index, " after ",
                                    record.applied));
  }
  record.applied = entry.index;
  if (entry.index > committed()) {
    return Fail("I11", absl::StrCat("node ", node, " applied entry ", entry.index,
                                    ", which is not committed"));
  }
  if (HashEntry(entry) != committed_[entry.index - 1].hash) {
    return Fail("I11", absl::StrCat("node ", node, " applied another entry ", entry.index,
                                    " than the committed one"));
  }
  const LogView& durable = record.disk->durable;
  const LogView::Item* item = durable.At(entry.index);
  if (entry.index > durable.last() || (item != nullptr && item->term != entry.term)) {
    return Fail("I15", absl::StrCat("node ", node, " applied entry ", entry.index, " of term ",
                                    entry.term, ", which is not durable there"));
  }
  const auto [known, fresh] =
      applied_.try_emplace(entry.index, Applied{.stream_hash = state.stream_hash,
                                                .state_hash = state.state_hash,
                                                .conf_state = std::nullopt});
  membership_changes_ += fresh && entry.type != EntryType::kNormal;
  if (fresh) memberships_.Apply(entry);
  if (!fresh && (known->second.stream_hash != state.stream_hash ||
                 known->second.state_hash != state.state_hash)) {
    return Fail("I11", absl::StrCat("the state of node ", node, " after entry ", entry.index,
                                    " differs from that of the others"));
  }
  if (!last) return;
  if (known->second.conf_state.value_or(state.applied.conf_state) != state.applied.conf_state) {
    return Fail("I12", absl::StrCat("the membership of node ", node, " after entry ", entry.index,
                                    " differs from that of the others"));
  }
  if (!known->second.conf_state.has_value()) CheckMembership(node, state.applied.conf_state);
  known->second.conf_state = state.applied.conf_state;
}

void Invariants::OnRestored(NodeId node, const KvState& state) {
  NodeRecord& record = nodes_[node];
  if (state.applied.index < record.applied) {
    return Fail("I3", absl::StrCat("a snapshot of ", state.applied.index, " replaced the state ",
                                   record.applied, " of node ", node));
  }
  record.applied = state.applied.index;
  const auto known = applied_.find(state.applied.index);
  if (known == applied_.end()) {
    return Fail("I11", absl::StrCat("node ", node, " restored a snapshot of entry ",
                                    state.applied.index, ", which nobody has applied"));
  }
  if (known->second.stream_hash != state.stream_hash ||
      known->second.state_hash != state.state_hash) {
    Fail("I11", absl::StrCat("the snapshot that node ", node, " restored is not the state after ",
                             state.applied.index));
  }
}

}  // namespace keelson::raft::sim
