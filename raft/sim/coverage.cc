#include "raft/sim/coverage.h"

#include <algorithm>

#include "raft/internal/trace.h"

namespace keelson::raft::sim {

void Coverage::Begin() {
  nodes_.clear();
  partitioned_ = false;
  shape_.clear();
}

void Coverage::OnTrace(std::string_view what, std::span<const uint64_t> numbers) {
  if (what == "event") {
    View& view = nodes_[numbers[0]];
    events_.insert({view, numbers[1]});
    const TraceEvent started = trace::Started{};
    if (numbers[1] != AnyEvent(started).index()) return;
    view = View::kFollower;
  } else if (what == "role") {
    // With the numbers of Role.
    nodes_[numbers[0]] = static_cast<View>(numbers[1]);
  } else if (what == "crash") {
    nodes_[numbers[0]] = View::kDown;
  } else if (what == "partition") {
    partitioned_ = true;
  } else if (what == "whole" || what == "heal") {
    partitioned_ = false;
  } else if (what == "members") {
    // The node, then four lists with a zero after each.
    shape_.assign(1, 0);
    for (const uint64_t number : numbers.subspan(1)) {
      if (number == 0) {
        shape_.push_back(0);
      } else {
        ++shape_.back();
      }
    }
    shapes_.insert(shape_);
  } else {
    return;
  }
  NoteState();
}

void Coverage::NoteState() {
  std::vector<size_t> state;
  for (const auto& [node, view] : nodes_) state.push_back(static_cast<size_t>(view));
  // Who is who does not matter.
  std::sort(state.begin(), state.end());
  state.push_back(partitioned_ ? 1 : 0);
  state.insert(state.end(), shape_.begin(), shape_.end());
  states_.insert(std::move(state));
}

}  // namespace keelson::raft::sim
