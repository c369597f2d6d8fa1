#include "raft/wal.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/internal/mutation.h"
#include "raft/internal/wal_batch.h"
#include "raft/internal/wal_directory.h"
#include "raft/internal/wal_replay.h"
#include "raft/internal/wal_writer.h"

namespace keelson::raft {
namespace {

using wal::BatchEncoder;
using wal::RecordBytes;
using wal::RecordType;

// Where a log starts and what its node has promised, for the head of a segment. Borrows all.
class Head final : public wal::HeadSource {
 public:
  Head(const SnapshotMetadata& start, const HardState& hard_state, const Index& last_index)
      : start_(start), hard_state_(hard_state), last_index_(last_index) {}

  [[nodiscard]] Index NextIndex() const override { return last_index_ + 1; }
  [[nodiscard]] uint64_t HeadBytes() const override {
    return RecordBytes(wal::EncodeSnapshotMetadata(start_).size()) +
           RecordBytes(wal::HardStateBytes(hard_state_));
  }
  void EncodeHead(BatchEncoder& encoder) const override {
    encoder.AddSnapshot(RecordType::kStart, wal::EncodeSnapshotMetadata(start_));
    encoder.AddHardState(hard_state_);
  }

 private:
  const SnapshotMetadata& start_;
  const HardState& hard_state_;
  const Index& last_index_;
};

class WalImpl final : public Wal {
 public:
  WalImpl(FileSystem& fs, const std::string& dir, const Options& options,
          std::unique_ptr<FileLock> lock)
      : head_(start_, hard_state_, last_index_),
        writer_(fs, dir, options, std::move(lock), head_) {}

  absl::Status Recover(const wal::LoadedLog& log);

  absl::Status Append(const Batch& batch) override;
  absl::StatusOr<SyncToken> Sync() override;
  absl::Status Compact(const SnapshotMetadata& start) override;
  [[nodiscard]] Stats GetStats() const override { return writer_.GetStats(); }

 private:
  absl::Status Validate(const Batch& batch, std::span<const Entry> entries) const;
  absl::Status WriteBatch(const Batch& batch, std::span<const Entry> entries);
  void Remember(const Batch& batch, std::span<const Entry> entries);
  absl::Status WriteStart(const SnapshotMetadata& start);
  absl::Status RemoveSegmentsBefore(Index first_needed);

  SnapshotMetadata start_;
  HardState hard_state_;
  Index last_index_ = 0;
  wal::TermRuns terms_;
  const Head head_;
  wal::SegmentWriter writer_;
};

absl::Status WalImpl::Recover(const wal::LoadedLog& log) {
  KEELSON_RETURN_IF_ERROR(writer_.Recover(log));
  start_ = log.replay.start();
  hard_state_ = log.replay.hard_state();
  last_index_ = log.replay.last_index();
  terms_ = log.replay.terms();
  return absl::OkStatus();
}

absl::Status WalImpl::Validate(const Batch& batch, std::span<const Entry> entries) const {
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
    if (entry.data.size() > wal::kMaxPayloadBytes - wal::kEntryMetaBytes) {
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

absl::Status WalImpl::Append(const Batch& batch) {
  if (!writer_.poison().ok()) return writer_.poison();
  std::span<const Entry> entries = batch.entries;
  const Index start = batch.snapshot.has_value() ? batch.snapshot->index : start_.index;
  while (!entries.empty() && entries[0].index <= start) entries = entries.subspan(1);

  if (absl::Status valid = Validate(batch, entries); !valid.ok()) return writer_.Poison(valid);
  KEELSON_RETURN_IF_ERROR(WriteBatch(batch, entries));
  Remember(batch, entries);
  return absl::OkStatus();
}

absl::Status WalImpl::WriteBatch(const Batch& batch, std::span<const Entry> entries) {
  uint64_t bytes = 0;
  size_t scratch = 0;
  for (const Entry& entry : entries) {
    bytes += RecordBytes(wal::kEntryMetaBytes + entry.data.size());
    scratch += BatchEncoder::ScratchBytes(entry);
  }
  std::string snapshot;
  if (batch.snapshot.has_value()) snapshot = wal::EncodeSnapshotMetadata(*batch.snapshot);
  const uint64_t small =
      (batch.snapshot.has_value() ? RecordBytes(snapshot.size()) : 0) +
      (batch.hard_state.has_value() ? 2 * RecordBytes(wal::kLaterHardStateBytes) : 0);
  if (bytes + small > wal::kMaxBatchBytes) {
    return writer_.Poison(absl::InvalidArgumentError(absl::StrCat("batch of ", bytes, " bytes")));
  }
  if (bytes + small == 0) return absl::OkStatus();
  KEELSON_RETURN_IF_ERROR(writer_.EnsureRoom(bytes + small, wal::kCompactReserveBytes));

  BatchEncoder& encoder = writer_.Begin(scratch + small);
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
  if (batch.snapshot.has_value()) encoder.AddSnapshot(RecordType::kReset, snapshot);
  for (const Entry& entry : entries) encoder.AddEntry(entry);
  if (batch.hard_state.has_value() && early != *batch.hard_state &&
      !Mutated(Mutation::kVoteNotSaved)) {
    encoder.AddHardState(*batch.hard_state);
  }
  return writer_.Write();
}

void WalImpl::Remember(const Batch& batch, std::span<const Entry> entries) {
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

absl::StatusOr<SyncToken> WalImpl::Sync() {
  if (!writer_.poison().ok()) return writer_.poison();
  KEELSON_RETURN_IF_ERROR(writer_.Sync());
  return MakeSyncToken();
}

absl::Status WalImpl::Compact(const SnapshotMetadata& start) {
  if (!writer_.poison().ok()) return writer_.poison();
  if (start.index < start_.index || start.index > last_index_) {
    return writer_.Poison(absl::InvalidArgumentError(
        absl::StrCat("compaction to ", start.index, " outside the log of [", start_.index + 1, ", ",
                     last_index_, "]")));
  }
  if (const Term known = terms_.At(start.index); known != start.term) {
    return writer_.Poison(absl::InvalidArgumentError(absl::StrCat(
        "compaction to ", start.index, " of term ", start.term, ", the entry has term ", known)));
  }
  if (start != start_) KEELSON_RETURN_IF_ERROR(WriteStart(start));
  if (!Mutated(Mutation::kCompactBeforeSync)) KEELSON_RETURN_IF_ERROR(writer_.Sync());
  return RemoveSegmentsBefore(start.index + 1 + (Mutated(Mutation::kCompactOneTooFar) ? 1 : 0));
}

absl::Status WalImpl::WriteStart(const SnapshotMetadata& start) {
  const std::string encoded = wal::EncodeSnapshotMetadata(start);
  const uint64_t bytes = RecordBytes(encoded.size());
  KEELSON_RETURN_IF_ERROR(writer_.EnsureRoom(bytes, 0));
  writer_.Begin(bytes).AddSnapshot(RecordType::kStart, encoded);
  KEELSON_RETURN_IF_ERROR(writer_.Write());
  start_ = start;
  terms_.StartAt(start.index, start.term);
  return absl::OkStatus();
}

absl::Status WalImpl::RemoveSegmentsBefore(Index first_needed) {
  while (writer_.segments().size() > 1 && writer_.segments()[1].next_index <= first_needed) {
    KEELSON_RETURN_IF_ERROR(writer_.RemoveOldest());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> Wal::Exists(FileSystem& fs, const std::string& dir) {
  KEELSON_ASSIGN_OR_RETURN(const bool folder, fs.Exists(dir));
  if (!folder) return false;
  const auto segments = wal::ListSegments(fs, dir);
  if (segments.ok()) return true;
  if (segments.status().code() == absl::StatusCode::kNotFound) return false;
  return segments.status();
}

absl::Status Wal::Create(FileSystem& fs, const std::string& dir, const Identity& identity,
                         const SnapshotMetadata& start, const Options& options) {
  KEELSON_RETURN_IF_ERROR(fs.CreateDirectories(dir));
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<FileLock> lock,
                           fs.Lock(JoinPath(dir, wal::kLockName)));
  KEELSON_ASSIGN_OR_RETURN(const bool exists, Exists(fs, dir));
  if (exists) {
    return absl::AlreadyExistsError(absl::StrCat("'", dir, "' holds a write-ahead log already"));
  }
  const HardState hard_state = {.commit = start.index};
  const Index last_index = start.index;
  const Head head(start, hard_state, last_index);
  return wal::SegmentWriter::Create(fs, dir, identity, options, head);
}

absl::StatusOr<std::unique_ptr<Wal>> Wal::Open(FileSystem& fs, const std::string& dir,
                                               const Identity& identity, const Options& options,
                                               Recovered* recovered) {
  KEELSON_RETURN_IF_ERROR(wal::ListSegments(fs, dir).status());
  auto lock = fs.Lock(JoinPath(dir, wal::kLockName));
  if (!lock.ok()) return Annotate(lock.status(), "lock the write-ahead log '" + dir + "'");
  KEELSON_ASSIGN_OR_RETURN(wal::LoadedLog log, wal::LoadLog(fs, dir, identity, nullptr));
  auto wal = std::make_unique<WalImpl>(fs, dir, options, *std::move(lock));
  KEELSON_RETURN_IF_ERROR(wal->Recover(log));

  recovered->hard_state = log.replay.hard_state();
  recovered->start = log.replay.start();
  recovered->torn_bytes = log.torn_bytes;
  recovered->entries = std::move(log.replay).TakeEntries();
  return std::unique_ptr<Wal>(std::move(wal));
}

}  // namespace keelson::raft
