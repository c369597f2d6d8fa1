#include "raft/testing/golden_tables.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "raft/internal/conf_change.h"
#include "raft/internal/quorum.h"
#include "raft/testing/golden_render.h"

namespace keelson::raft::golden {
namespace {

using internal::VoteResult;

struct QuorumInput {
  bool joint = false;
  std::vector<NodeId> incoming;
  std::vector<NodeId> outgoing;
  std::vector<NodeId> voters;  // of both, in the order of the values
  std::map<NodeId, Index> indexes;
  std::map<NodeId, bool> votes;
};

absl::StatusOr<QuorumInput> Parse(const Case& test) {
  QuorumInput input;
  std::vector<std::string> values;
  for (const Arg& arg : test.args) {
    if (arg.key == "cfg" || arg.key == "cfgj") {
      input.joint = input.joint || arg.key == "cfgj";
      for (const std::string& value : arg.values) {
        if (arg.key == "cfgj" && value == "zero") continue;
        KEELSON_ASSIGN_OR_RETURN(const uint64_t id, ParseNumber(value));
        (arg.key == "cfg" ? input.incoming : input.outgoing).push_back(id);
      }
    } else if (arg.key == "idx" || arg.key == "votes") {
      values.insert(values.end(), arg.values.begin(), arg.values.end());
    } else {
      return absl::InvalidArgumentError(absl::StrCat("unknown arg ", arg.key));
    }
  }
  for (const auto* ids : {&input.incoming, &input.outgoing}) {
    for (const NodeId id : *ids) {
      if (std::find(input.voters.begin(), input.voters.end(), id) == input.voters.end()) {
        input.voters.push_back(id);
      }
    }
  }
  if (values.size() != input.voters.size()) {
    return absl::InvalidArgumentError("error: mismatched input");
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] == "_") continue;
    if (test.command == "vote") {
      if (values[i] != "y" && values[i] != "n") return absl::InvalidArgumentError("unknown vote");
      input.votes[input.voters[i]] = values[i] == "y";
    } else {
      KEELSON_ASSIGN_OR_RETURN(input.indexes[input.voters[i]], ParseNumber(values[i]));
    }
  }
  std::sort(input.incoming.begin(), input.incoming.end());
  std::sort(input.outgoing.begin(), input.outgoing.end());
  std::sort(input.voters.begin(), input.voters.end());
  return input;
}

std::string IndexText(Index index) {
  return index == internal::kEveryIndex ? "∞" : absl::StrCat(index);
}

std::string VoteText(VoteResult result) {
  switch (result) {
    case VoteResult::kPending:
      return "VotePending";
    case VoteResult::kLost:
      return "VoteLost";
    case VoteResult::kWon:
      return "VoteWon";
  }
  return "Vote?";
}

// A bar for each voter: how many others it is ahead of.
std::string Chart(const QuorumInput& input) {
  if (input.voters.empty()) return "<empty majority quorum>";
  const size_t n = input.voters.size();
  const auto index_of = [&](NodeId id) {
    const auto it = input.indexes.find(id);
    return it == input.indexes.end() ? Index{0} : it->second;
  };
  std::string out = std::string(n, ' ') + "    idx\n";
  for (const NodeId id : input.voters) {
    const size_t bar = static_cast<size_t>(
        std::count_if(input.voters.begin(), input.voters.end(),
                      [&](NodeId other) { return index_of(other) < index_of(id); }));
    if (input.indexes.contains(id)) {
      out += std::string(bar, 'x') + ">" + std::string(n - bar, ' ');
    } else {
      out += "?" + std::string(n, ' ');
    }
    absl::StrAppendFormat(&out, " %5d    (id=%d)\n", index_of(id), id);
  }
  return out;
}

// The committed index in the slowest way: the largest acknowledged one that a majority has.
Index NaiveCommitted(const std::vector<NodeId>& voters, const std::map<NodeId, Index>& indexes) {
  if (voters.empty()) return internal::kEveryIndex;
  Index best = 0;
  for (const auto& [id, candidate] : indexes) {
    size_t count = 0;
    for (const NodeId voter : voters) {
      const auto it = indexes.find(voter);
      count += it != indexes.end() && it->second >= candidate ? 1 : 0;
    }
    if (count > voters.size() / 2) best = std::max(best, candidate);
  }
  return best;
}

Index Committed(const std::vector<NodeId>& a, const std::vector<NodeId>& b,
                const std::map<NodeId, Index>& indexes) {
  return internal::JointCommitted(a, b, [&](NodeId id) -> std::optional<Index> {
    const auto it = indexes.find(id);
    if (it == indexes.end()) return std::nullopt;
    return it->second;
  });
}

void Compare(std::string& out, Index got, Index want, const std::string& how) {
  if (got != want) absl::StrAppend(&out, IndexText(got), " <-- ", how, "\n");
}

std::string RunCommitted(const QuorumInput& input) {
  const std::vector<NodeId>& incoming = input.incoming;
  const Index index = Committed(incoming, input.outgoing, input.indexes);
  std::string out = Chart(input);
  if (input.joint) {
    Compare(out, Committed(input.outgoing, incoming, input.indexes), index, "via symmetry");
    return absl::StrCat(out, IndexText(index), "\n");
  }
  Compare(out, NaiveCommitted(incoming, input.indexes), index, "via alternative computation");
  Compare(out, Committed({}, incoming, input.indexes), index, "zero-joint quorum");
  Compare(out, Committed(incoming, incoming, input.indexes), index, "self-joint quorum");
  for (const auto& [id, acked] : input.indexes) {
    // Whoever is behind what is committed may fall back further without changing it.
    if (acked >= index || acked == 0) continue;
    for (const Index lower : {acked - 1, Index{0}}) {
      std::map<NodeId, Index> indexes = input.indexes;
      indexes[id] = lower;
      Compare(out, Committed(incoming, {}, indexes), index,
              absl::StrCat("overlaying ", id, "->", lower));
    }
  }
  return absl::StrCat(out, IndexText(index), "\n");
}

std::string RunVote(const QuorumInput& input) {
  const auto vote_of = [&](NodeId id) -> std::optional<bool> {
    const auto it = input.votes.find(id);
    if (it == input.votes.end()) return std::nullopt;
    return it->second;
  };
  const VoteResult result = internal::JointVote(input.incoming, input.outgoing, vote_of);
  std::string out;
  if (const VoteResult other = internal::JointVote(input.outgoing, input.incoming, vote_of);
      other != result) {
    absl::StrAppend(&out, VoteText(other), " <-- via symmetry\n");
  }
  return absl::StrCat(out, VoteText(result), "\n");
}

}  // namespace

std::string RunQuorumCase(const Case& test) {
  const absl::StatusOr<QuorumInput> input = Parse(test);
  if (!input.ok()) return absl::StrCat(std::string(input.status().message()), "\n");
  if (test.command == "committed") return RunCommitted(*input);
  if (test.command == "vote") return RunVote(*input);
  return "unknown command\n";
}

std::string ConfChangeTable::Run(const Case& test) {
  const absl::StatusOr<std::vector<ConfChangeSingle>> changes = ParseChanges(test.input);
  const internal::Changer changer(tracker_, last_index_++);
  if (!changes.ok()) return absl::StrCat(std::string(changes.status().message()), "\n");
  absl::StatusOr<internal::Membership> next = absl::InvalidArgumentError("unknown command");
  if (test.command == "simple") {
    next = changer.Simple(*changes);
  } else if (test.command == "enter-joint") {
    next = changer.EnterJoint(test.ValueOr("autoleave", "false") == "true", *changes);
  } else if (test.command == "leave-joint") {
    next = changes->empty() ? changer.LeaveJoint()
                            : absl::InvalidArgumentError("this command takes no input");
  }
  if (!next.ok()) return absl::StrCat(std::string(next.status().message()), "\n");
  tracker_.Switch(std::move(next->config), std::move(next->progress));
  std::string out = ConfigText(tracker_.config()) + "\n";
  for (const auto& [id, progress] : tracker_.progress()) {
    absl::StrAppend(&out, id, ": ", ProgressText(progress.ToStatus(id)), "\n");
  }
  return out;
}

}  // namespace keelson::raft::golden
