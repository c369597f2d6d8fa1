#include "raft/sim/log_view.h"

#include <algorithm>

#include "raft/sim/kv_machine.h"

namespace keelson::raft::sim {

bool LogView::Append(std::span<const Entry> entries) {
  for (const Entry& entry : entries) {
    if (entry.index <= start_) continue;
    if (entry.index > last() + 1) return false;
    items_.resize(entry.index - start_ - 1);
    const uint64_t hash = HashEntry(entry);
    const uint64_t before = items_.empty() ? at_start_.prefix : items_.back().prefix;
    items_.push_back({.term = entry.term, .hash = hash, .prefix = MixHash(before, hash)});
  }
  return true;
}

void LogView::CopyTail(const LogView& other, Index from) {
  if (other.start_ != start_) {
    *this = other;
    return;
  }
  from = std::max(from, start_ + 1);
  items_.resize(std::min<size_t>(items_.size(), from - start_ - 1));
  for (Index index = last() + 1; index <= other.last(); ++index) {
    items_.push_back(*other.At(index));
  }
}

void LogView::Compact(Index index) {
  const Item* item = At(index);
  if (item == nullptr || index == start_) return;
  at_start_ = *item;
  items_.erase(items_.begin(), items_.begin() + static_cast<int64_t>(index - start_));
  start_ = index;
}

void DiskLog::MarkSynced() {
  if (pending_reset) {
    durable = written;
  } else if (!pending_tails.empty()) {
    durable.CopyTail(written, *std::min_element(pending_tails.begin(), pending_tails.end()));
  }
  durable_state = written_state;
  if (!durable_state.recovering) {
    lost.reset();
    lost_last = 0;
  }
  pending_states.clear();
  pending_tails.clear();
  pending_reset = false;
}

void DiskLog::NoteLoss() {
  lost_last = LastPromised();
  // A second loss before the first is made good adds nothing: its acknowledgements did not count.
  if (!lost.has_value()) lost = durable;
  durable_state = {};
  pending_states.clear();
  pending_tails.clear();
}

const LogView::Item* DiskLog::Promised(Index index) const {
  const LogView::Item* item = durable.At(index);
  return item == nullptr && lost.has_value() ? lost->At(index) : item;
}

Index DiskLog::LastPromised() const { return std::max(durable.last(), lost_last); }

}  // namespace keelson::raft::sim
