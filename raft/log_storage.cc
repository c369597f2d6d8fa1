#include "raft/log_storage.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace keelson::raft {

MemoryLog::MemoryLog(const SnapshotMetadata& start, const HardState& hard_state)
    : hard_state_(hard_state),
      conf_state_(start.conf_state),
      start_index_(start.index),
      start_term_(start.term) {}

absl::StatusOr<Term> MemoryLog::TermAt(Index index) const {
  if (index < start_index_) {
    return absl::OutOfRangeError(absl::StrCat("entry ", index, " is compacted"));
  }
  if (index == start_index_) return start_term_;
  if (index > LastIndex()) {
    return absl::NotFoundError(absl::StrCat("entry ", index, " is past the end"));
  }
  return At(index).term;
}

absl::StatusOr<std::vector<Entry>> MemoryLog::Entries(Index first, Index last,
                                                      uint64_t max_bytes) const {
  if (first <= start_index_) {
    return absl::OutOfRangeError(absl::StrCat("entry ", first, " is compacted"));
  }
  if (last > LastIndex() + 1) {
    return absl::NotFoundError(absl::StrCat("entry ", last - 1, " is past the end"));
  }
  // Measured first, so that the result is allocated once.
  Index end = first;
  uint64_t bytes = 0;
  for (; end < last; ++end) {
    bytes += EncodedBytes(At(end));
    if (bytes > max_bytes && end != first) break;
  }
  std::vector<Entry> result;
  result.reserve(end - first);
  for (Index i = first; i < end; ++i) result.push_back(At(i));
  return result;
}

absl::StatusOr<Snapshot> MemoryLog::LatestSnapshot() const {
  if (!offered_.has_value()) return absl::UnavailableError("no snapshot is ready");
  return *offered_;
}

void MemoryLog::Append(const std::vector<Entry>& entries) {
  if (entries.empty()) return;
  KEELSON_CHECK(entries.front().index <= LastIndex() + 1)
      << "gap before entry " << entries.front().index << ", last is " << LastIndex();
  for (const Entry& entry : entries) {
    if (entry.index <= start_index_) continue;
    // Only the first entry can be in the middle; from then on they go to the end.
    while (LastIndex() >= entry.index) entries_.pop_back();
    KEELSON_CHECK(entry.index == LastIndex() + 1) << "gap before entry " << entry.index;
    entries_.push_back(entry);
  }
}

void MemoryLog::Compact(Index index) {
  KEELSON_CHECK(index >= start_index_ && index <= LastIndex())
      << "compact to " << index << " of [" << start_index_ << ", " << LastIndex() << "]";
  while (start_index_ < index) {
    Entry& first = entries_[head_++];
    start_term_ = first.term;
    first.data = Payload();  // Free now.
    ++start_index_;
  }
  if (head_ <= entries_.size() / 2) return;
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<ptrdiff_t>(head_));
  head_ = 0;
}

void MemoryLog::Reset(const Snapshot& snapshot) {
  entries_.clear();
  head_ = 0;
  start_index_ = snapshot.metadata.index;
  start_term_ = snapshot.metadata.term;
  conf_state_ = snapshot.metadata.conf_state;
  // An older one does not connect to the log any more.
  if (offered_.has_value() && offered_->metadata.index < start_index_) offered_.reset();
}

}  // namespace keelson::raft
