// The part of the log that is not known to be durable yet: a tail of entries, and perhaps
// a received snapshot in front of them.
//
//   stable storage | in progress (handed to the append worker) | new
//                  ^ offset                                    ^ offset_in_progress
#ifndef KEELSON_RAFT_INTERNAL_UNSTABLE_H_
#define KEELSON_RAFT_INTERNAL_UNSTABLE_H_

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "raft/types.h"

namespace keelson::raft::internal {

class Unstable {
 public:
  // Nothing unstable; the next entry will be at `offset`.
  explicit Unstable(Index offset) : offset_(offset), offset_in_progress_(offset) {}

  // What is known here; nullopt: ask the storage.
  [[nodiscard]] std::optional<Index> FirstIndex() const;
  [[nodiscard]] std::optional<Index> LastIndex() const;
  [[nodiscard]] std::optional<Term> TermAt(Index index) const;

  // Entries and snapshot that were not handed to the append worker yet.
  [[nodiscard]] std::span<const Entry> NextEntries() const;
  [[nodiscard]] const Snapshot* NextSnapshot() const;
  // Everything so far has now been handed over.
  void AcceptInProgress();

  // Entries up to (index, term) are durable. Only what is still the same is let go: the
  // same index with another term was overwritten after it was handed over.
  enum class StableResult { kTrimmed, kMissing, kCoveredBySnapshot, kOtherTerm };
  StableResult StableTo(Index index, Term term);
  void StableSnapshotTo(Index index);

  // Replaces everything by `snapshot`.
  void Restore(const Snapshot& snapshot);

  enum class AppendKind { kAppended, kReplaced, kTruncated };
  // Puts consecutive `entries` at their indexes; what was there and behind goes.
  AppendKind TruncateAndAppend(std::span<const Entry> entries);

  // Entries [first, last), all of which must be here.
  [[nodiscard]] std::span<const Entry> Slice(Index first, Index last) const;

  [[nodiscard]] Index offset() const { return offset_; }
  [[nodiscard]] Index offset_in_progress() const { return offset_in_progress_; }
  [[nodiscard]] size_t size() const { return entries_.size() - head_; }
  [[nodiscard]] bool HasSnapshot() const { return snapshot_.has_value(); }

  // All state that decides about the future, for raft/model.
  template <typename Visitor>
  void VisitState(Visitor& visit) const {
    visit(snapshot_, snapshot_in_progress_, offset_, offset_in_progress_, size());
    for (const Entry& entry : Slice(offset_, offset_ + size())) visit(entry);
  }

 private:
  std::optional<Snapshot> snapshot_;
  bool snapshot_in_progress_ = false;
  // Live entries are [head_, end); head_ moves so that trimming costs no copies.
  std::vector<Entry> entries_;
  size_t head_ = 0;
  Index offset_;
  Index offset_in_progress_;
};

}  // namespace keelson::raft::internal

#endif  // KEELSON_RAFT_INTERNAL_UNSTABLE_H_
