// Linearizable reads that wait: those that wait together share one ReadIndex round.
// A pure value of the loop: time comes in, actions go out.
#ifndef KEELSON_RAFT_INTERNAL_READ_BARRIERS_H_
#define KEELSON_RAFT_INTERNAL_READ_BARRIERS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "raft/types.h"

namespace keelson::raft {

class ReadBarriers {
 public:
  using Done = std::function<void(absl::Status)>;

  // A round without an answer is repeated, under a new context, after `retry`. `life` differs from
  // start to start of the process: the answer to what was asked before a crash is too old now.
  ReadBarriers(absl::Duration retry, uint64_t life) : retry_(retry), life_(life) {}

  void Add(absl::Duration deadline, Done done) { next_.push_back({deadline, std::move(done)}); }

  // The context to ask the core with, when a round should start now; empty while one is
  // under way (and not overdue) or nothing waits. Call Started or Failed with the outcome.
  std::optional<std::string> StartRound(absl::Duration now);
  // The core had no leader to ask: everyone waits for the next attempt.
  void RoundFailed();

  // The answer of `context` came. Returns who may read once its index is applied; empty for a
  // context that is not the current round's.
  std::vector<Done> Finish(const std::string& context);

  // The leader changed: the answer to the current round may never come, so ask again.
  void Restart();

  // Takes out those whose deadline has passed.
  std::vector<Done> Expire(absl::Duration now);
  // Takes out everyone.
  std::vector<Done> TakeAll();

  [[nodiscard]] bool waiting() const { return !current_.empty() || !next_.empty(); }
  [[nodiscard]] uint64_t rounds() const { return sequence_; }

 private:
  struct Waiter {
    absl::Duration deadline;
    Done done;
  };

  const absl::Duration retry_;
  const uint64_t life_;
  uint64_t sequence_ = 0;
  std::string context_;  // of the round under way; empty: none
  absl::Duration started_;
  std::vector<Waiter> current_;  // covered by the round under way
  std::vector<Waiter> next_;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_READ_BARRIERS_H_
