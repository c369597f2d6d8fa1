#include "raft/sim/wire_rules.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace keelson::raft::sim {
namespace {

// The context of a vote request that follows a leader's wish.
constexpr std::string_view kTransfer = "CampaignTransfer";

}  // namespace

void WireRules::OnSend(const Message& message, absl::Duration now) {
  if (message.type == MessageType::kVote && message.context == kTransfer) {
    transfers_.insert(message.term);
  }
  NodeRecord& record = nodes_[message.from];
  if (message.type == MessageType::kHeartbeatResp && record.follows) {
    record.heard_in = message.term;
    record.heard_at = now;
  } else if (message.type == MessageType::kAppResp && !message.reject) {
    CheckAck(record, message);
  }
}

void WireRules::CheckAck(NodeRecord& record, const Message& message) {
  // One of an earlier term may have waited for the disk while a newer leader's messages came.
  if (message.term == record.sent_in && message.index > std::max(record.sent_to, record.told)) {
    invariants_.Fail(
        "I15", absl::StrCat("node ", message.from, " acknowledges entry ", message.index,
                            " and was sent only ", record.sent_to, " in term ", message.term));
  }
  if (message.term > record.acked_in) record.acked_to = 0;
  record.acked_in = std::max(record.acked_in, message.term);
  if (message.term == record.acked_in) {
    record.acked_to = std::max(record.acked_to, message.index);
  }
}

bool WireRules::OnArrive(const Message& message) {
  NodeRecord& record = nodes_[message.to];
  const auto sent = [&record, &message](Index last) {
    if (message.term > record.sent_in) record.sent_to = 0;
    record.sent_in = std::max(record.sent_in, message.term);
    if (message.term == record.sent_in) record.sent_to = std::max(record.sent_to, last);
  };
  switch (message.type) {
    case MessageType::kApp: {
      const Index last = message.index + message.entries.size();
      record.told = std::max(record.told, std::min(message.commit, last));
      sent(last);
      return false;
    }
    case MessageType::kHeartbeat:
      record.told = std::max(record.told, message.commit);
      return false;
    case MessageType::kSnap:
      record.told = std::max(record.told, message.snapshot->metadata.index);
      sent(message.snapshot->metadata.index);
      return false;
    case MessageType::kAppResp: {
      if (message.reject) return true;
      Index& greatest = arrived_acks_[{message.term, message.from}];
      const bool late = message.index < greatest;
      greatest = std::max(greatest, message.index);
      return late;
    }
    default:
      return false;
  }
}

void WireRules::OnEvent(NodeId node, const AnyEvent& event, absl::Duration now) {
  NodeRecord& record = nodes_[node];
  if (const auto* started = event.As<trace::Started>()) {
    record.term = started->hard_state.term;
    record.told = std::max(started->hard_state.commit, started->applied);
  } else if (const auto* follower = event.Became(Role::kFollower)) {
    record.term = follower->term;
  } else if (const auto* candidate = event.Became(Role::kCandidate)) {
    record.term = candidate->term;
  } else if (event.Became(Role::kLeader) != nullptr) {
    record.led = true;
  } else if (const auto* by_vote = event.As<trace::CommittedByVote>()) {
    record.told = std::max(record.told, by_vote->commit);
  } else if (const auto* changed = event.As<event::LeaderChanged>()) {
    record.follows = changed->to != kNoNode;
    if (!record.follows) record.heard_in = 0;
  } else if (const auto* seen = event.As<trace::HigherTermSeen>()) {
    OnHigherTerm(node, record, *seen, now);
  } else if (const auto* conflict = event.As<trace::LogConflict>()) {
    OnReplaced(node, record, *conflict);
  } else if (const auto* refused = event.As<trace::AppendRefused>()) {
    OnRefused(node, record, *refused);
  } else if (const auto* decreased = event.As<trace::ProgressDecreased>()) {
    if (decreased->peer.next <= decreased->peer.match) {
      invariants_.Fail("I9", absl::StrCat("leader ", node, " goes back to entry ",
                                          decreased->peer.next, " for node ", decreased->peer.id,
                                          ", which holds ", decreased->peer.match));
    }
  }
}

// From there on every entry is of the leader of this term: nothing can differ any more.
void WireRules::OnReplaced(NodeId node, NodeRecord& record, const trace::LogConflict& conflict) {
  if (record.replaced_in == record.term && record.replaced_from <= conflict.index) {
    invariants_.Fail(
        "I2", absl::StrCat("node ", node, " replaces entry ", conflict.index, " of term ",
                           conflict.existing, " in term ", record.term,
                           ", in which it has replaced all from ", record.replaced_from, " on"));
  }
  if (record.replaced_in < record.term || conflict.index < record.replaced_from) {
    record.replaced_from = conflict.index;
  }
  record.replaced_in = record.term;
}

void WireRules::OnRefused(NodeId node, const NodeRecord& record,
                          const trace::AppendRefused& refused) {
  const bool acked = record.acked_in == record.term && refused.index <= record.acked_to;
  const bool replaced = record.replaced_in == record.term &&
                        refused.index >= record.replaced_from && refused.own_log_term != 0;
  if (acked || replaced) {
    invariants_.Fail("I2", absl::StrCat("node ", node, " holds an entry ", refused.index,
                                        " of term ", refused.own_log_term, " in term ", record.term,
                                        ", in which it ", acked ? "has acknowledged" : "took",
                                        " the leader's, of term ", refused.log_term));
  }
}

void WireRules::OnHigherTerm(NodeId node, const NodeRecord& record,
                             const trace::HigherTermSeen& seen, absl::Duration now) {
  if (seen.type == MessageType::kPreVote) {
    return invariants_.Fail("I6", absl::StrCat("a pre-vote of node ", seen.from, " took node ",
                                               node, " to term ", seen.message_term));
  }
  if (seen.type != MessageType::kVote || transfers_.count(seen.message_term) > 0) return;
  if (record.heard_in != 0 && record.heard_in == seen.term &&
      now - record.heard_at < options_.stickiness) {
    invariants_.Fail(
        "I6", absl::StrCat("node ", node, " follows candidate ", seen.from, " to term ",
                           seen.message_term, ", ", absl::FormatDuration(now - record.heard_at),
                           " after it has answered the leader of term ", seen.term));
  }
}

void WireRules::OnStatus(NodeId node, const Status& status) {
  const NodeRecord& record = nodes_[node];
  const Term term = status.hard_state.term;
  if (record.replaced_in != term || status.last_index < record.replaced_from) return;
  const Term sent = invariants_.SentTerm(term, status.last_index);
  if (sent != 0 && sent != status.last_term) {
    invariants_.Fail("I2", absl::StrCat("node ", node, " ends in entry ", status.last_index,
                                        " of term ", status.last_term, ", and took one of term ",
                                        sent, " for it in term ", term));
  }
}

void WireRules::OnPeek(NodeId node, const Node::Snapshot& peek) {
  NodeRecord& record = nodes_[node];
  if (record.led || peek.soft_state.role == Role::kLeader) {
    record.told = std::max(record.told, peek.commit);
  }
  // It may commit more and step down in its next step.
  record.led = peek.soft_state.role == Role::kLeader;
  if (peek.commit > record.told) {
    invariants_.Fail("I5", absl::StrCat("node ", node, " calls entry ", peek.commit,
                                        " committed and was told only of ", record.told));
  }
}

}  // namespace keelson::raft::sim
