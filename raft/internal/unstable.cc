#include "raft/internal/unstable.h"

#include <algorithm>

#include "base/check.h"
#include "raft/internal/mutation.h"

namespace keelson::raft::internal {

std::optional<Index> Unstable::FirstIndex() const {
  if (!snapshot_.has_value()) return std::nullopt;
  return snapshot_->metadata.index + 1;
}

std::optional<Index> Unstable::LastIndex() const {
  if (size() > 0) return offset_ + size() - 1;
  if (snapshot_.has_value()) return snapshot_->metadata.index;
  return std::nullopt;
}

std::optional<Term> Unstable::TermAt(Index index) const {
  if (index < offset_) {
    if (snapshot_.has_value() && snapshot_->metadata.index == index) {
      return snapshot_->metadata.term;
    }
    return std::nullopt;
  }
  if (index >= offset_ + size()) return std::nullopt;
  return entries_[head_ + (index - offset_)].term;
}

std::span<const Entry> Unstable::NextEntries() const {
  return Slice(offset_in_progress_, offset_ + size());
}

const Snapshot* Unstable::NextSnapshot() const {
  return snapshot_.has_value() && !snapshot_in_progress_ ? &*snapshot_ : nullptr;
}

void Unstable::AcceptInProgress() {
  offset_in_progress_ = offset_ + size();
  if (snapshot_.has_value()) snapshot_in_progress_ = true;
}

Unstable::StableResult Unstable::StableTo(Index index, Term term) {
  const std::optional<Term> held = TermAt(index);
  if (!held.has_value()) return StableResult::kMissing;
  if (index < offset_) return StableResult::kCoveredBySnapshot;
  if (*held != term && !Mutated(Mutation::kTrimByIndexOnly)) return StableResult::kOtherTerm;
  const size_t count = index + 1 - offset_;
  for (size_t i = 0; i < count; ++i) entries_[head_ + i].data = Payload();  // Free now.
  head_ += count;
  offset_ = index + 1;
  offset_in_progress_ = std::max(offset_in_progress_, offset_);
  if (head_ == entries_.size()) {
    entries_.clear();
    head_ = 0;
  } else if (head_ > entries_.size() / 2) {
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<ptrdiff_t>(head_));
    head_ = 0;
  }
  return StableResult::kTrimmed;
}

void Unstable::StableSnapshotTo(Index index) {
  if (!snapshot_.has_value() || snapshot_->metadata.index != index) return;
  snapshot_.reset();
  snapshot_in_progress_ = false;
}

void Unstable::Restore(const Snapshot& snapshot) {
  offset_ = snapshot.metadata.index + 1;
  offset_in_progress_ = offset_;
  entries_.clear();
  head_ = 0;
  snapshot_ = snapshot;
  snapshot_in_progress_ = false;
}

Unstable::AppendKind Unstable::TruncateAndAppend(std::span<const Entry> entries) {
  const Index from = entries.front().index;
  AppendKind kind = AppendKind::kAppended;
  if (from <= offset_ && size() + (offset_ - from) > 0) {
    // All that is here is replaced, and perhaps entries in the storage as well.
    entries_.clear();
    head_ = 0;
    offset_ = from;
    offset_in_progress_ = from;
    kind = AppendKind::kReplaced;
  } else if (from < offset_ + size()) {
    entries_.resize(head_ + (from - offset_));
    // The append worker may have the old ones already; the new ones must go there again.
    if (!Mutated(Mutation::kRewrittenTailNotStored)) {
      offset_in_progress_ = std::min(offset_in_progress_, from);
    }
    kind = AppendKind::kTruncated;
  }
  KEELSON_CHECK(from == offset_ + size()) << "gap before entry " << from;
  entries_.insert(entries_.end(), entries.begin(), entries.end());
  return kind;
}

std::span<const Entry> Unstable::Slice(Index first, Index last) const {
  KEELSON_CHECK(first <= last && first >= offset_ && last <= offset_ + size())
      << "slice [" << first << ", " << last << ") of [" << offset_ << ", " << offset_ + size()
      << ")";
  return std::span<const Entry>(entries_).subspan(head_ + (first - offset_), last - first);
}

}  // namespace keelson::raft::internal
