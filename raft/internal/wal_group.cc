#include "raft/internal/wal_group.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "raft/internal/mutation.h"

namespace keelson::raft::wal {

GroupState::GroupState(SnapshotMetadata start, const HardState& hard_state)
    : start_(std::move(start)), hard_state_(hard_state), last_index_(start_.index) {
  hard_state_.commit = start_.index;
  terms_.StartAt(start_.index, start_.term);
}

GroupState::GroupState(const LogReplay& replay)
    : start_(replay.start()),
      hard_state_(replay.hard_state()),
      last_index_(replay.last_index()),
      terms_(replay.terms()) {}

std::span<const Entry> GroupState::NewEntries(const Wal::Batch& batch) const {
  std::span<const Entry> entries = batch.entries;
  const Index start = batch.snapshot.has_value() ? batch.snapshot->index : start_.index;
  while (!entries.empty() && entries[0].index <= start) entries = entries.subspan(1);
  return entries;
}

absl::Status GroupState::Validate(const Wal::Batch& batch, std::span<const Entry> entries) const {
  const Index start = batch.snapshot.has_value() ? batch.snapshot->index : start_.index;
  if (start < start_.index) {
    return absl::InvalidArgumentError(
        absl::StrCat("snapshot ", start, " is before the start ", start_.index, " of the log"));
  }
  Index last = batch.snapshot.has_value() ? start : last_index_;
  Term term = batch.snapshot.has_value() ? batch.snapshot->term : 0;
  if (!batch.snapshot.has_value() && !entries.empty()) term = terms_.At(entries[0].index - 1);
  if (!entries.empty() && entries[0].index > last + 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("entry ", entries[0].index, " leaves a gap after ", last));
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry& entry = entries[i];
    if (entry.index != entries[0].index + i || entry.term < term) {
      return absl::InvalidArgumentError(absl::StrCat("entry ", entry.index, " of term ", entry.term,
                                                     " does not follow the one before it"));
    }
    if (entry.data.size() > kMaxPayloadBytes - kEntryMetaBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("entry ", entry.index, " of ", entry.data.size(), " bytes is too long"));
    }
    term = entry.term;
    last = entry.index;
  }
  if (!batch.hard_state.has_value()) return absl::OkStatus();
  if (batch.hard_state->term < hard_state_.term || batch.hard_state->commit > last) {
    return absl::InvalidArgumentError(absl::StrCat(
        "hard state of term ", batch.hard_state->term, " and commit ", batch.hard_state->commit,
        " does not fit a log of term ", hard_state_.term, " that ends at ", last));
  }
  return absl::OkStatus();
}

absl::Status GroupState::ValidateStart(const SnapshotMetadata& start) const {
  if (start.index < start_.index || start.index > last_index_) {
    return absl::InvalidArgumentError(absl::StrCat("compaction to ", start.index,
                                                   " outside the log of [", start_.index + 1, ", ",
                                                   last_index_, "]"));
  }
  if (const Term known = terms_.At(start.index); known != start.term) {
    return absl::InvalidArgumentError(absl::StrCat("compaction to ", start.index, " of term ",
                                                   start.term, ", the entry has term ", known));
  }
  return absl::OkStatus();
}

GroupState::Size GroupState::SizeOf(const Wal::Batch& batch, std::span<const Entry> entries) {
  Size size;
  for (const Entry& entry : entries) {
    size.file_bytes += RecordBytes(kEntryMetaBytes + entry.data.size());
    size.scratch_bytes += BatchEncoder::ScratchBytes(entry);
  }
  const uint64_t small =
      (batch.snapshot.has_value() ? RecordBytes(EncodeSnapshotMetadata(*batch.snapshot).size())
                                  : 0) +
      (batch.hard_state.has_value() ? 2 * RecordBytes(kLaterHardStateBytes) : 0);
  size.file_bytes += small;
  size.scratch_bytes += small;
  return size;
}

void GroupState::Encode(const Wal::Batch& batch, std::span<const Entry> entries,
                        BatchEncoder& encoder) const {
  HardState early;
  if (batch.hard_state.has_value()) {
    // Term and vote first: no entry may survive whose term does not. The commit index only as
    // far as the log reaches before the entries below; the rest of it follows them.
    early = *batch.hard_state;
    if (!Mutated(Mutation::kCommitAheadOfEntries)) {
      early.commit = std::min(early.commit, last_index_);
      if (!entries.empty()) early.commit = std::min(early.commit, entries[0].index - 1);
    }
    if (Mutated(Mutation::kVoteNotSaved)) early.vote = kNoNode;
    if (Mutated(Mutation::kEntriesAheadOfTerm) && !entries.empty()) {
      early = {};
    } else {
      encoder.AddHardState(early);
    }
  }
  if (batch.snapshot.has_value())
    encoder.AddSnapshot(RecordType::kReset, EncodeSnapshotMetadata(*batch.snapshot));
  for (const Entry& entry : entries) encoder.AddEntry(entry);
  if (batch.hard_state.has_value() && early != *batch.hard_state &&
      !Mutated(Mutation::kVoteNotSaved)) {
    encoder.AddHardState(*batch.hard_state);
  }
}

void GroupState::Remember(const Wal::Batch& batch, std::span<const Entry> entries) {
  if (batch.snapshot.has_value()) {
    start_ = *batch.snapshot;
    last_index_ = start_.index;
    terms_.Clear();
    terms_.StartAt(start_.index, start_.term);
  }
  for (const Entry& entry : entries) terms_.Set(entry.index, entry.term);
  if (!entries.empty()) last_index_ = entries.back().index;
  if (batch.hard_state.has_value()) hard_state_ = *batch.hard_state;
}

void GroupState::RememberStart(const SnapshotMetadata& start) {
  start_ = start;
  terms_.StartAt(start.index, start.term);
}

}  // namespace keelson::raft::wal
