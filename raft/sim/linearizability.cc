#include "raft/sim/linearizability.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "absl/container/flat_hash_set.h"

namespace keelson::raft::sim {
namespace {

// The search over one history. Calls and returns form a doubly linked list in order of time;
// an operation that has been placed is taken out of it.
class Search {
 public:
  Search(std::span<const RegisterOperation> history, std::vector<size_t> chosen)
      : history_(history), operations_(std::move(chosen)), placed_((operations_.size() + 63) / 64) {
    BuildList();
  }

  LinearizabilityResult Run(uint64_t max_steps);

 private:
  struct Point {
    size_t operation = 0;  // in operations_
    bool call = false;
    size_t previous = 0;
    size_t next = 0;
  };
  struct Placed {
    size_t call = 0;            // its point
    uint64_t state_before = 0;  // of the register
  };

  void BuildList();
  // Points 1 to 2n in order of time; 0 is the head, and the end.
  [[nodiscard]] const RegisterOperation& Of(size_t point) const {
    return history_[operations_[points_[point].operation]];
  }
  void Unlink(size_t point) {
    points_[points_[point].previous].next = points_[point].next;
    points_[points_[point].next].previous = points_[point].previous;
  }
  void Relink(size_t point) {
    points_[points_[point].previous].next = point;
    points_[points_[point].next].previous = point;
  }
  // Places the operation whose call is at `point`, unless the register or the memo says no.
  bool Place(size_t point);
  // Takes back the last one; the point to go on from.
  size_t Backtrack();
  void Flip(size_t operation) { placed_[operation / 64] ^= uint64_t{1} << (operation % 64); }
  void NoteLongest();

  const std::span<const RegisterOperation> history_;
  const std::vector<size_t> operations_;  // the part of the history that matters
  std::vector<Point> points_;
  std::vector<size_t> return_of_;  // operation -> the point of its return
  std::vector<uint64_t> placed_;   // a bit for each operation
  uint64_t state_ = 0;
  std::vector<Placed> stack_;
  absl::flat_hash_set<std::vector<uint64_t>> memo_;  // placed_ and the state after it
  size_t longest_ = 0;
  std::vector<size_t> unplaced_;
};

void Search::BuildList() {
  std::vector<std::tuple<uint64_t, bool, size_t>> order;  // time, is a return, operation
  for (size_t i = 0; i < operations_.size(); ++i) {
    order.emplace_back(history_[operations_[i]].call, false, i);
    order.emplace_back(history_[operations_[i]].end, true, i);
  }
  std::sort(order.begin(), order.end());
  points_.resize(order.size() + 1);
  return_of_.resize(operations_.size());
  for (size_t at = 1; at < points_.size(); ++at) {
    const auto& [time, is_return, operation] = order[at - 1];
    points_[at] = {.operation = operation,
                   .call = !is_return,
                   .previous = at - 1,
                   .next = (at + 1) % points_.size()};
    if (is_return) return_of_[operation] = at;
  }
  points_[0] = {.operation = 0,
                .call = false,
                .previous = points_.size() - 1,
                .next = points_.size() > 1 ? size_t{1} : 0};
}

bool Search::Place(size_t point) {
  const RegisterOperation& operation = Of(point);
  if (!operation.write && operation.value != state_) return false;
  const size_t number = points_[point].operation;
  const uint64_t after = operation.write ? operation.value : state_;
  Flip(number);
  std::vector<uint64_t> key = placed_;
  key.push_back(after);
  if (!memo_.insert(std::move(key)).second) {
    Flip(number);
    return false;
  }
  stack_.push_back({.call = point, .state_before = state_});
  state_ = after;
  Unlink(point);
  Unlink(return_of_[number]);
  return true;
}

size_t Search::Backtrack() {
  const Placed last = stack_.back();
  stack_.pop_back();
  const size_t number = points_[last.call].operation;
  Flip(number);
  state_ = last.state_before;
  Relink(return_of_[number]);
  Relink(last.call);
  return points_[last.call].next;
}

void Search::NoteLongest() {
  if (stack_.size() < longest_) return;
  longest_ = stack_.size();
  unplaced_.clear();
  for (size_t i = 0; i < operations_.size(); ++i) {
    if ((placed_[i / 64] >> (i % 64) & 1) == 0) unplaced_.push_back(operations_[i]);
  }
}

LinearizabilityResult Search::Run(uint64_t max_steps) {
  LinearizabilityResult result;
  size_t at = points_[0].next;
  while (points_[0].next != 0) {
    if (++result.steps > max_steps) {
      result.verdict = Linearizability::kGaveUp;
      return result;
    }
    if (at != 0 && points_[at].call) {
      at = Place(at) ? points_[0].next : points_[at].next;
      continue;
    }
    // A return whose operation has not been placed, or the end: this branch is dead.
    NoteLongest();
    if (stack_.empty()) {
      result.verdict = Linearizability::kNo;
      result.unplaced = unplaced_;
      return result;
    }
    at = Backtrack();
  }
  return result;
}

}  // namespace

LinearizabilityResult CheckRegister(std::span<const RegisterOperation> history,
                                    uint64_t max_steps) {
  std::set<uint64_t> seen;
  for (const RegisterOperation& operation : history) {
    if (!operation.write) seen.insert(operation.value);
  }
  std::vector<size_t> chosen;
  for (size_t i = 0; i < history.size(); ++i) {
    // Whatever its fate, it can take effect after everything else: nobody saw it.
    const bool idle =
        history[i].write && history[i].end == kNever && seen.count(history[i].value) == 0;
    if (!idle) chosen.push_back(i);
  }
  return Search(history, std::move(chosen)).Run(max_steps);
}

}  // namespace keelson::raft::sim
