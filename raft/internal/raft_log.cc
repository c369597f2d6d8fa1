#include "raft/internal/raft_log.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/status/status.h"
#include "base/check.h"
#include "raft/internal/mutation.h"

namespace keelson::raft::internal {
namespace {

// How many of `entries` fit into `max_bytes`; at least `min_count` of them do.
size_t CountWithin(std::span<const Entry> entries, uint64_t max_bytes, size_t min_count) {
  uint64_t bytes = 0;
  size_t count = 0;
  for (; count < entries.size(); ++count) {
    bytes += EncodedBytes(entries[count]);
    if (bytes > max_bytes && count >= min_count) break;
  }
  return count;
}

uint64_t SumEncoded(std::span<const Entry> entries) {
  uint64_t bytes = 0;
  for (const Entry& entry : entries) bytes += EncodedBytes(entry);
  return bytes;
}

}  // namespace

RaftLog::RaftLog(NodeId self, const LogStorage& storage, uint64_t max_apply_bytes,
                 bool apply_unstable, Observer* observer)
    : self_(self),
      storage_(storage),
      observer_(observer),
      max_apply_bytes_(max_apply_bytes),
      apply_unstable_(apply_unstable),
      unstable_(storage.LastIndex() + 1),
      committed_(storage.FirstIndex() - 1),
      applying_(committed_),
      applied_(committed_) {}

void RaftLog::Load(Index commit, Index applied) {
  committed_ = std::max({committed_, commit, applied});
  applied_ = std::max(applied_, applied);
  applying_ = applied_;
}

Index RaftLog::FirstIndex() const {
  if (const auto first = unstable_.FirstIndex()) return *first;
  return storage_.FirstIndex();
}

Index RaftLog::LastIndex() const {
  if (const auto last = unstable_.LastIndex()) return *last;
  return storage_.LastIndex();
}

std::optional<Term> RaftLog::TermAt(Index index) const {
  if (const auto term = unstable_.TermAt(index)) return term;
  // The entry just before the first one still has a known term.
  if (index + 1 < FirstIndex() || index > LastIndex()) return std::nullopt;
  const absl::StatusOr<Term> term = storage_.TermAt(index);
  if (!term.ok()) return std::nullopt;
  return *term;
}

EntryId RaftLog::LastEntry() const {
  const Index last = LastIndex();
  const std::optional<Term> term = TermAt(last);
  KEELSON_CHECK(term.has_value()) << "no term for the last entry " << last;
  return {*term, last};
}

bool RaftLog::IsUpToDate(EntryId id) const {
  const EntryId last = LastEntry();
  return id.term > last.term || (id.term == last.term && id.index >= last.index);
}

std::optional<std::vector<Entry>> RaftLog::Slice(Index first, Index last,
                                                 uint64_t max_bytes) const {
  if (first < FirstIndex()) return std::nullopt;
  KEELSON_CHECK(last <= LastIndex() + 1) << "slice to " << last << " of " << LastIndex();
  if (first >= last) return std::vector<Entry>();
  if (first >= unstable_.offset()) {
    const auto all = unstable_.Slice(first, last);
    const auto cut = all.first(CountWithin(all, max_bytes, 1));
    return std::vector<Entry>(cut.begin(), cut.end());
  }
  const Index stable_end = std::min(last, unstable_.offset());
  absl::StatusOr<std::vector<Entry>> stable = storage_.Entries(first, stable_end, max_bytes);
  if (!stable.ok()) {
    KEELSON_CHECK(absl::IsOutOfRange(stable.status())) << stable.status().ToString();
    return std::nullopt;
  }
  std::vector<Entry> entries = *std::move(stable);
  if (stable_end == last || entries.size() < stable_end - first) return entries;
  const uint64_t used = SumEncoded(entries);
  if (used >= max_bytes) return entries;
  const auto tail = unstable_.Slice(unstable_.offset(), last);
  const auto cut = tail.first(CountWithin(tail, max_bytes - used, 0));
  entries.insert(entries.end(), cut.begin(), cut.end());
  return entries;
}

absl::StatusOr<Snapshot> RaftLog::LatestSnapshot() const { return storage_.LatestSnapshot(); }

std::optional<Index> RaftLog::MaybeAppend(EntryId prev, std::span<const Entry> entries) {
  if (!Matches(prev)) return std::nullopt;
  // Entries that are here already stay: an App that was delayed must not cut off what was
  // acknowledged after it.
  Index conflict = FindConflict(entries);
  if (Mutated(Mutation::kTruncateMatchingTail) && !entries.empty()) {
    conflict = std::max(entries.front().index, committed_ + 1);
    if (conflict > entries.back().index) conflict = 0;
  }
  if (conflict != 0) {
    KEELSON_CHECK(conflict > committed_)
        << "entry " << conflict << " conflicts with the committed entry, committed=" << committed_;
    AppendUnstable(entries.subspan(conflict - prev.index - 1));
  }
  return prev.index + entries.size();
}

Index RaftLog::Append(std::span<const Entry> entries) {
  if (!entries.empty()) AppendUnstable(entries);
  return LastIndex();
}

void RaftLog::AppendUnstable(std::span<const Entry> entries) {
  const Index from = entries.front().index;
  KEELSON_CHECK(from > committed_) << "entry " << from << " is committed=" << committed_;
  switch (unstable_.TruncateAndAppend(entries)) {
    case Unstable::AppendKind::kAppended:
      break;
    case Unstable::AppendKind::kReplaced:
      Emit(trace::UnstableReplaced{from});
      break;
    case Unstable::AppendKind::kTruncated:
      Emit(trace::UnstableTruncated{from});
      break;
  }
}

Index RaftLog::FindConflict(std::span<const Entry> entries) const {
  for (const Entry& entry : entries) {
    if (Matches({entry.term, entry.index})) continue;
    if (entry.index <= LastIndex()) {
      Emit(trace::LogConflict{entry.index, TermAt(entry.index).value_or(0), entry.term});
    }
    return entry.index;
  }
  return 0;
}

EntryId RaftLog::FindConflictByTerm(Index index, Term term) const {
  for (; index > 0; --index) {
    const std::optional<Term> own = TermAt(index);
    if (!own.has_value()) return {0, index};  // Compacted: it may match.
    if (*own <= term) return {*own, index};
  }
  return {0, 0};
}

void RaftLog::CommitTo(Index index) {
  const Index last = LastIndex();
  if (index > last) {
    // A leader claims that this node holds more than it does: its disk has lost what it
    // acknowledged. Going on without those entries is safe; crashing again and again is not.
    Emit(event::CommitBeyondLog{index, last});
    index = last;
  }
  committed_ = std::max(committed_, index);
}

bool RaftLog::MaybeCommit(EntryId at) {
  // By counting, only entries of the leader's own term are committed: an older one could still
  // be overwritten by a later leader that lacks it (Raft paper, 5.4.2, figure 8). So the leader's
  // term is asked for, and not the entry's.
  if (at.term == 0 || at.index <= committed_ || !Matches(at)) return false;
  CommitTo(at.index);
  return true;
}

void RaftLog::StableTo(EntryId id) {
  const Term held = TermAt(id.index).value_or(0);
  switch (unstable_.StableTo(id.index, id.term)) {
    case Unstable::StableResult::kTrimmed:
      Emit(trace::EntriesStable{id.index, id.term});
      break;
    case Unstable::StableResult::kMissing:
      Emit(trace::AppendAckIgnored{trace::StaleAppendAck::kMissing, id.index, id.term, 0});
      break;
    case Unstable::StableResult::kCoveredBySnapshot:
      Emit(
          trace::AppendAckIgnored{trace::StaleAppendAck::kCoveredBySnapshot, id.index, id.term, 0});
      break;
    case Unstable::StableResult::kOtherTerm:
      Emit(trace::AppendAckIgnored{trace::StaleAppendAck::kOtherTerm, id.index, id.term, held});
      break;
  }
}

void RaftLog::Restore(const Snapshot& snapshot) {
  trace::SnapshotRestoring restoring;
  restoring.index = snapshot.metadata.index;
  restoring.term = snapshot.metadata.term;
  restoring.commit = committed_;
  restoring.applied = applied_;
  restoring.applying = applying_;
  restoring.unstable_offset = unstable_.offset();
  restoring.unstable_offset_in_progress = unstable_.offset_in_progress();
  restoring.unstable_count = unstable_.size();
  Emit(restoring);
  committed_ = snapshot.metadata.index;
  unstable_.Restore(snapshot);
}

Index RaftLog::MaxAppliable() const {
  return apply_unstable_ || Mutated(Mutation::kApplyUnstable)
             ? committed_
             : std::min(committed_, unstable_.offset() - 1);
}

bool RaftLog::HasNextCommitted() const {
  const bool restoring = unstable_.HasSnapshot() && !Mutated(Mutation::kRestoreOvertakesApply);
  if (apply_paused_ || restoring) return false;
  return applying_ < MaxAppliable();
}

std::vector<Entry> RaftLog::NextCommitted() const {
  if (!HasNextCommitted()) return {};
  KEELSON_CHECK(applying_bytes_ < max_apply_bytes_) << "applying " << applying_bytes_ << " bytes";
  std::optional<std::vector<Entry>> entries =
      Slice(applying_ + 1, MaxAppliable() + 1, max_apply_bytes_ - applying_bytes_);
  KEELSON_CHECK(entries.has_value()) << "unapplied entry " << applying_ + 1 << " is compacted";
  return *std::move(entries);
}

void RaftLog::AcceptApplying(std::span<const Entry> entries) {
  Batch batch;
  batch.last = entries.back().index;
  batch.encoded_bytes = SumEncoded(entries);
  for (const Entry& entry : entries) batch.payload_bytes += PayloadBytes(entry);
  applying_ = batch.last;
  applying_bytes_ += batch.encoded_bytes;
  batches_.push_back(batch);
  // Also after a cut: the next batch waits until this one has been answered.
  apply_paused_ = applying_bytes_ >= max_apply_bytes_ || applying_ < MaxAppliable();
}

uint64_t RaftLog::AppliedTo(Index index) {
  KEELSON_CHECK(index >= applied_ && index <= committed_)
      << "applied " << index << " outside of [" << applied_ << ", " << committed_ << "]";
  applied_ = index;
  applying_ = std::max(applying_, applied_);
  uint64_t payload_bytes = 0;
  while (!batches_.empty() && batches_.front().last <= index) {
    if (!Mutated(Mutation::kApplyQuotaLeaks)) applying_bytes_ -= batches_.front().encoded_bytes;
    payload_bytes += batches_.front().payload_bytes;
    batches_.pop_front();
  }
  apply_paused_ = applying_bytes_ >= max_apply_bytes_;
  return payload_bytes;
}

}  // namespace keelson::raft::internal
