#include "raft/internal/segment_pins.h"

#include <algorithm>

namespace keelson::raft::wal {

void SegmentPins::Wrote(GroupId group, uint64_t sequence, Index first, Index last) {
  Group& state = groups_[group];
  const std::optional<uint64_t> before = PinOf(state);
  while (!state.runs.empty() && state.runs.back().first >= first) state.runs.pop_back();
  if (state.runs.empty() || state.runs.back().sequence != sequence) {
    state.runs.push_back({sequence, first});
  }
  state.last = last;
  Trim(state);
  Pin(group, before, PinOf(state));
}

void SegmentPins::StartAt(GroupId group, Index start) {
  const auto found = groups_.find(group);
  if (found == groups_.end()) return;
  Group& state = found->second;
  const std::optional<uint64_t> before = PinOf(state);
  state.start = start;
  Trim(state);
  Pin(group, before, PinOf(state));
  if (state.runs.empty()) groups_.erase(found);
}

void SegmentPins::Trim(Group& group) {
  auto keep = group.runs.begin();
  while (keep != group.runs.end()) {
    const auto next = keep + 1;
    const Index run_last = next == group.runs.end() ? group.last : next->first - 1;
    if (run_last > group.start) break;
    keep = next;
  }
  group.runs.erase(group.runs.begin(), keep);
}

void SegmentPins::Clear(GroupId group) {
  const auto found = groups_.find(group);
  if (found == groups_.end()) return;
  Pin(group, PinOf(found->second), std::nullopt);
  groups_.erase(found);
}

void SegmentPins::Pin(GroupId group, std::optional<uint64_t> before,
                      std::optional<uint64_t> after) {
  if (before == after) return;
  if (before.has_value()) {
    const auto old = pinned_.find(*before);
    old->second.erase(group);
    if (old->second.empty()) pinned_.erase(old);
  }
  if (after.has_value()) pinned_[*after].insert(group);
}

std::optional<uint64_t> SegmentPins::Oldest() const {
  if (pinned_.empty()) return std::nullopt;
  return pinned_.begin()->first;
}

std::vector<GroupId> SegmentPins::Before(uint64_t sequence, size_t limit) const {
  std::vector<GroupId> groups;
  for (const auto& [segment, pinning] : pinned_) {
    if (segment >= sequence) break;
    for (const GroupId group : pinning) {
      if (groups.size() >= limit) return groups;
      groups.push_back(group);
    }
  }
  return groups;
}

}  // namespace keelson::raft::wal
