#include "raft/internal/read_barriers.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "raft/internal/mutation.h"

namespace keelson::raft {

std::optional<std::string> ReadBarriers::StartRound(absl::Duration now) {
  if (Mutated(Mutation::kReadJoinsRunningRound) && !context_.empty()) {
    std::move(next_.begin(), next_.end(), std::back_inserter(current_));
    next_.clear();
  }
  if (!context_.empty() && now - started_ < retry_) return std::nullopt;
  if (current_.empty() && next_.empty()) {
    context_.clear();
    return std::nullopt;
  }
  std::move(next_.begin(), next_.end(), std::back_inserter(current_));
  next_.clear();
  // Never used twice: an answer to an older round must not confirm this one.
  context_ = absl::StrCat("r", absl::Hex(life_), "-", ++sequence_);
  started_ = now;
  return context_;
}

void ReadBarriers::RoundFailed() { context_.clear(); }

std::vector<ReadBarriers::Done> ReadBarriers::Finish(const std::string& context) {
  std::vector<Done> done;
  if (context_.empty()) return done;
  if (context != context_ && !Mutated(Mutation::kReadAnsweredByOldRound)) return done;
  context_.clear();
  for (Waiter& waiter : current_) done.push_back(std::move(waiter.done));
  current_.clear();
  return done;
}

void ReadBarriers::Restart() { context_.clear(); }

std::vector<ReadBarriers::Done> ReadBarriers::Expire(absl::Duration now) {
  std::vector<Done> expired;
  for (std::vector<Waiter>* waiters : {&current_, &next_}) {
    std::vector<Waiter> kept;
    for (Waiter& waiter : *waiters) {
      if (waiter.deadline <= now) {
        expired.push_back(std::move(waiter.done));
      } else {
        kept.push_back(std::move(waiter));
      }
    }
    *waiters = std::move(kept);
  }
  return expired;
}

std::vector<ReadBarriers::Done> ReadBarriers::TakeAll() { return Expire(absl::InfiniteDuration()); }

}  // namespace keelson::raft
