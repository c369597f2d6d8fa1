#include "raft/testing/golden_render.h"

#include <algorithm>
#include <cctype>
#include <iterator>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "raft/testing/golden_file.h"

namespace keelson::raft::golden {
namespace {

std::string Set(const std::vector<NodeId>& ids) {
  return absl::StrCat("(", absl::StrJoin(ids, " "), ")");
}

std::string Target(NodeId id) {
  if (id == kNoNode) return "None";
  if (id == kAppendThread) return "AppendThread";
  if (id == kApplyThread) return "ApplyThread";
  return absl::StrCat(absl::Hex(id));
}

// As Go's %q does it, for bytes.
std::string Quoted(std::string_view bytes) {
  std::string out = "\"";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (std::isprint(byte)) {
      out += c;
    } else {
      absl::StrAppendFormat(&out, "\\x%02x", byte);
    }
  }
  return out + "\"";
}

std::string_view EntryTypeName(EntryType type) {
  switch (type) {
    case EntryType::kNormal:
      return "EntryNormal";
    case EntryType::kConfChange:
      return "EntryConfChange";
    case EntryType::kConfChangeV2:
      return "EntryConfChangeV2";
  }
  return "Entry?";
}

std::string ChangesText(const std::vector<ConfChangeSingle>& changes) {
  return absl::StrJoin(changes, " ", [](std::string* out, const ConfChangeSingle& change) {
    // In the order of ConfChangeType's numbers.
    const auto number = static_cast<size_t>(change.type);
    absl::StrAppend(out, number < 4 ? std::string(1, "vrul"[number]) : "unknown", change.node);
  });
}

std::string Described(const Message& message, const std::string& indent) {
  std::string out = absl::StrFormat("%s%s->%s %s Term:%d Log:%d/%d", indent, Target(message.from),
                                    Target(message.to), std::string(MessageTypeName(message.type)),
                                    message.term, message.log_term, message.index);
  if (message.reject) absl::StrAppend(&out, " Rejected (Hint: ", message.reject_hint, ")");
  if (message.commit != 0) absl::StrAppend(&out, " Commit:", message.commit);
  if (message.vote != 0) absl::StrAppend(&out, " Vote:", message.vote);
  if (message.entries.size() == 1) {
    absl::StrAppend(&out, " Entries:[", EntryText(message.entries.front()), "]");
  } else if (message.entries.size() > 1) {
    out += " Entries:[";
    for (const Entry& entry : message.entries) {
      absl::StrAppend(&out, "\n", indent, "  ", EntryText(entry));
    }
    absl::StrAppend(&out, "\n", indent, "]");
  }
  if (message.snapshot.has_value()) {
    absl::StrAppend(&out, "\n", indent, "  Snapshot: ", SnapshotText(*message.snapshot));
  }
  if (!message.responses.empty()) {
    out += " Responses:[";
    for (const Message& response : message.responses) {
      absl::StrAppend(&out, "\n", Described(response, indent + "  "));
    }
    absl::StrAppend(&out, "\n", indent, "]");
  }
  return out;
}

}  // namespace

std::string RoleText(Role role) {
  switch (role) {
    case Role::kFollower:
      return "StateFollower";
    case Role::kCandidate:
      return "StateCandidate";
    case Role::kLeader:
      return "StateLeader";
    case Role::kPreCandidate:
      return "StatePreCandidate";
  }
  return "State?";
}

std::string ConfigText(const ConfState& config) {
  std::string out = "voters=" + Set(config.voters);
  if (!config.voters_outgoing.empty()) out += "&&" + Set(config.voters_outgoing);
  if (!config.learners.empty()) out += " learners=" + Set(config.learners);
  if (!config.learners_next.empty()) out += " learners_next=" + Set(config.learners_next);
  if (config.auto_leave) out += " autoleave";
  return out;
}

std::string ProgressText(const PeerStatus& peer) {
  std::string out;
  switch (peer.state) {
    case ProgressState::kProbe:
      out = "StateProbe";
      break;
    case ProgressState::kReplicate:
      out = "StateReplicate";
      break;
    case ProgressState::kSnapshot:
      out = "StateSnapshot";
      break;
  }
  absl::StrAppend(&out, " match=", peer.match, " next=", peer.next);
  if (peer.is_learner) out += " learner";
  if (peer.paused) out += " paused";
  if (peer.pending_snapshot > 0) absl::StrAppend(&out, " pendingSnap=", peer.pending_snapshot);
  if (!peer.recent_active) out += " inactive";
  if (peer.inflight > 0) {
    absl::StrAppend(&out, " inflight=", peer.inflight);
    if (peer.inflight_full) out += "[full]";
  }
  return out;
}

std::string EntryText(const Entry& entry) {
  std::string data;
  if (entry.type == EntryType::kNormal) {
    data = " " + Quoted(entry.data.view());
  } else if (const auto change = DecodeConfChange(entry); !change.ok()) {
    data = " " + std::string(change.status().message());
  } else if (!change->changes.empty()) {
    data = " " + ChangesText(change->changes);
  }
  return absl::StrCat(entry.term, "/", entry.index, " ", std::string(EntryTypeName(entry.type)),
                      data);
}

std::string EntriesText(const std::vector<Entry>& entries) {
  std::string out;
  for (const Entry& entry : entries) absl::StrAppend(&out, EntryText(entry), "\n");
  return out;
}

std::string SnapshotText(const Snapshot& snapshot) {
  const auto list = [](const std::vector<NodeId>& ids) {
    return absl::StrCat("[", absl::StrJoin(ids, " "), "]");
  };
  const SnapshotMetadata& metadata = snapshot.metadata;
  const ConfState& conf = metadata.conf_state;
  return absl::StrCat("Index:", metadata.index, " Term:", metadata.term,
                      " ConfState:Voters:", list(conf.voters),
                      " VotersOutgoing:", list(conf.voters_outgoing),
                      " Learners:", list(conf.learners), " LearnersNext:", list(conf.learners_next),
                      " AutoLeave:", conf.auto_leave ? "true" : "false");
}

std::string MessageText(const Message& message) { return Described(message, ""); }

std::string HardStateText(const HardState& state) {
  std::string out = absl::StrCat("Term:", state.term);
  if (state.vote != kNoNode) absl::StrAppend(&out, " Vote:", state.vote);
  return absl::StrCat(out, " Commit:", state.commit);
}

absl::StatusOr<std::vector<ConfChangeSingle>> ParseChanges(const std::string& text) {
  std::vector<ConfChangeSingle> changes;
  for (const absl::string_view token :
       absl::StrSplit(text, absl::ByAnyChar(" \n\t"), absl::SkipEmpty())) {
    const size_t type = std::string_view("vrul").find(token.front());
    if (token.size() < 2 || type == std::string_view::npos) {
      return absl::InvalidArgumentError(absl::StrCat("unknown token ", token));
    }
    ConfChangeSingle change;
    change.type = static_cast<ConfChangeType>(type);
    KEELSON_ASSIGN_OR_RETURN(change.node, ParseNumber({token.data() + 1, token.size() - 1}));
    changes.push_back(change);
  }
  return changes;
}

std::string StartedText(NodeId self, const trace::Started& started, const ConfState& config) {
  std::vector<NodeId> voters;
  std::set_union(config.voters.begin(), config.voters.end(), config.voters_outgoing.begin(),
                 config.voters_outgoing.end(), std::back_inserter(voters));
  const std::string peers = absl::StrJoin(
      voters, ",", [](std::string* out, NodeId id) { absl::StrAppend(out, absl::Hex(id)); });
  return absl::StrFormat(
      "newRaft %x [peers: [%s], term: %d, commit: %d, applied: %d, lastindex: %d, lastterm: %d]",
      self, peers, started.hard_state.term, started.hard_state.commit, started.applied,
      started.last_index, started.last_term);
}

}  // namespace keelson::raft::golden
