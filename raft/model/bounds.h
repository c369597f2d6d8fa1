// What the checker explores, and the mistakes that it can be made to find.
#ifndef KEELSON_RAFT_MODEL_BOUNDS_H_
#define KEELSON_RAFT_MODEL_BOUNDS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace keelson::raft::model {

// A mistake that the harness makes around the core, as a bad driver, disk or network would, or
// as a bug in the core would look from outside.
enum class Defect : uint8_t {
  kNone,
  kAckBeforeSync,        // everything that waits for the disk leaves at once
  kSelfAckBeforeSync,    // a member counts itself before its disk does
  kForgottenVote,        // a restart loses the vote
  kForgottenTerm,        // a restart loses term and vote
  kLostTail,             // a restart loses the last durable entry
  kEveryVoteYes,         // a refused vote is read as a grant
  kStaleVoteCounted,     // a grant of an earlier term is read as one of this term
  kCandidateLogIgnored,  // a voter does not ask whether the candidate's log is up to date
  kHeartbeatCommit,      // a heartbeat carries the commit index beyond what the peer holds
  kCommitOldTerm,        // followers are told to commit an entry of an earlier term by counting
  kOvertakingCampaign,   // vote requests do not wait for the disk, as in etcd-io/raft
};

struct DefectInfo {
  Defect defect;
  std::string_view name;
  std::string_view needs;  // flags with which the checker finds it quickly
};

// All but kNone.
inline constexpr DefectInfo kDefects[] = {
    {Defect::kAckBeforeSync, "ack-before-sync", ""},
    {Defect::kSelfAckBeforeSync, "self-ack-before-sync", ""},
    {Defect::kForgottenVote, "forgotten-vote", ""},
    {Defect::kForgottenTerm, "forgotten-term", ""},
    {Defect::kLostTail, "lost-tail", ""},
    {Defect::kEveryVoteYes, "every-vote-yes", ""},
    {Defect::kStaleVoteCounted, "stale-vote-counted", ""},
    {Defect::kCandidateLogIgnored, "candidate-log-ignored", ""},
    {Defect::kHeartbeatCommit, "heartbeat-commit", "--heartbeats=1"},
    {Defect::kCommitOldTerm, "commit-old-term", "--start=figure8 --terms=4 --heartbeats=1"},
    {Defect::kOvertakingCampaign, "overtaking-campaign", ""},
};

// Where a run begins.
enum class Start : uint8_t {
  kEmpty,    // empty logs, term 0
  kFigure8,  // three members, the second step of figure 8 of the Raft paper: entry 1 is of term 1 at
             // one member, of term 2 at another, and missing at the third
};

struct Bounds {
  size_t nodes = 3;         // 1..kMaxNodes
  uint64_t terms = 2;       // nobody campaigns for a later one
  uint64_t entries = 3;     // clients propose while the leader's log is shorter
  unsigned crashes = 1;     // of each member
  unsigned duplicates = 1;  // messages that are delivered and stay, in a run
  unsigned drops = 0;       // messages taken away, in a run; see raft/model/README.md
  unsigned heartbeats = 0;  // rounds, in a run
  unsigned stalls = 1;      // steps after which the disk lags, in a run
  bool pre_vote = false;
  bool symmetry = true;  // members are interchangeable
  bool discard = true;   // messages that have become meaningless are taken away
  Start start = Start::kEmpty;
  Defect defect = Defect::kNone;
  uint64_t max_states = 40'000'000;
};

}  // namespace keelson::raft::model

#endif  // KEELSON_RAFT_MODEL_BOUNDS_H_
