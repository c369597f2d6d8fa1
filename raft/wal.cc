#include "raft/wal.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/status.h"
#include "raft/internal/mutation.h"
#include "raft/internal/wal_batch.h"
#include "raft/internal/wal_directory.h"
#include "raft/internal/wal_replay.h"

namespace keelson::raft {
namespace {

using wal::BatchEncoder;
using wal::Position;
using wal::RecordBytes;
using wal::RecordType;
using wal::SegmentHead;
using wal::SegmentName;

// Zeros are written this far ahead of the records. The first write into preallocated space
// costs a journal commit in its fdatasync (the extent becomes "written"); with zeros ahead
// only one sync in many does. Numbers in raft/docs/format.md.
constexpr uint64_t kZeroAheadBytes = 256 << 10;
// Larger batches pay for their own extents; writing twice would cost more than it saves.
constexpr uint64_t kZeroAheadMaxBatch = 64 << 10;
// The end of each segment that only Compact may use, so that it works on a full disk.
constexpr uint64_t kCompactReserveBytes = 4096;
constexpr uint64_t kMaxBatchBytes = wal::kMaxSegmentBytes / 2;

const std::string& Zeros() {
  static const std::string& zeros = *new std::string(kZeroAheadBytes, '\0');
  return zeros;
}

// Writes zeros to [first, last).
absl::Status WriteZeros(File& file, uint64_t first, uint64_t last) {
  while (first < last) {
    const uint64_t n = std::min<uint64_t>(last - first, Zeros().size());
    KEELSON_RETURN_IF_ERROR(file.WriteAt(first, std::string_view(Zeros()).substr(0, n)));
    first += n;
  }
  return absl::OkStatus();
}

std::string TemporaryPath(const std::string& dir) {
  return JoinPath(dir, std::string("next") + wal::kTemporarySuffix);
}

// What stands at the head of a segment.
struct HeadRecords {
  SegmentHead head;
  uint32_t previous_chain = 0;
  SnapshotMetadata start;
  HardState hard_state;
};

uint64_t HeadBytes(const HeadRecords& records) {
  return RecordBytes(wal::kSegmentHeadBytes) +
         RecordBytes(wal::EncodeSnapshotMetadata(records.start).size()) +
         RecordBytes(wal::HardStateBytes(records.hard_state));
}

// Reserves the file of the next segment under its temporary name. Nothing of the log changes.
absl::StatusOr<std::unique_ptr<File>> AllocateSegment(FileSystem& fs, const std::string& dir,
                                                      uint64_t bytes) {
  const std::string path = TemporaryPath(dir);
  auto file = fs.Open(path, {.write = true, .create = true, .truncate = true});
  absl::Status status = file.ok() ? (*file)->Allocate(0, bytes) : file.status();
  if (status.ok()) return file;
  (void)fs.Remove(path);  // Best effort: gives back what was reserved; Open removes it, too.
  return Annotate(status, "make room for a log segment");
}

// Writes the head into `file`, makes it durable and gives it its name. Returns where the
// next record goes.
absl::StatusOr<Position> PublishSegment(FileSystem& fs, const std::string& dir, File& file,
                                        const HeadRecords& records) {
  const uint64_t bytes = HeadBytes(records);
  BatchEncoder encoder;
  encoder.Begin({.incarnation = records.head.incarnation,
                 .sequence = records.head.sequence,
                 .offset = 0,
                 .chain = records.previous_chain,
                 .synced_offset = 0},
                bytes);
  encoder.AddSegmentHead(records.head);
  encoder.AddSnapshot(RecordType::kStart, wal::EncodeSnapshotMetadata(records.start));
  encoder.AddHardState(records.hard_state);
  KEELSON_RETURN_IF_ERROR(file.WriteAt(0, encoder.pieces()));
  KEELSON_RETURN_IF_ERROR(file.SyncData());
  KEELSON_RETURN_IF_ERROR(
      fs.Rename(TemporaryPath(dir), JoinPath(dir, SegmentName(records.head.sequence))));
  if (!Mutated(Mutation::kSegmentNameNotSynced)) KEELSON_RETURN_IF_ERROR(fs.SyncDirectory(dir));
  return Position{.incarnation = records.head.incarnation,
                  .sequence = records.head.sequence,
                  .offset = bytes,
                  .chain = encoder.chain(),
                  .synced_offset = bytes};
}

class WalImpl final : public Wal {
 public:
  WalImpl(FileSystem& fs, std::string dir, const Options& options, std::unique_ptr<FileLock> lock)
      : fs_(fs), dir_(std::move(dir)), options_(options), lock_(std::move(lock)) {}

  // Removes leftovers, cuts the torn tail, makes durable what was read.
  absl::Status Recover(const wal::LoadedLog& log);

  absl::Status Append(const Batch& batch) override;
  absl::StatusOr<SyncToken> Sync() override;
  absl::Status Compact(const SnapshotMetadata& start) override;
  [[nodiscard]] Stats GetStats() const override;

 private:
  struct Segment {
    uint64_t sequence;
    Index next_index;  // one past the last entry before it
  };

  absl::Status Validate(const Batch& batch, std::span<const Entry> entries) const;
  absl::Status WriteBatch(const Batch& batch, std::span<const Entry> entries);
  void Remember(const Batch& batch, std::span<const Entry> entries);
  absl::Status WriteStart(const SnapshotMetadata& start);
  // Writes what encoder_ holds at position_.
  absl::Status WriteEncoded();
  // Makes sure that `bytes` fit into the segment, `reserve` bytes before its end.
  absl::Status EnsureRoom(uint64_t bytes, uint64_t reserve);
  absl::Status Roll(uint64_t bytes);
  absl::Status SyncFile();
  absl::Status RemoveSegmentsBefore(Index first_needed);

  // Remembers that the log is unusable.
  absl::Status Poison(const absl::Status& status);

  FileSystem& fs_;
  const std::string dir_;
  const Options options_;
  std::unique_ptr<FileLock> lock_;

  absl::Status poison_;  // OK while the log works
  SegmentHead head_;     // of the segment in use
  std::unique_ptr<File> file_;
  Position position_;
  uint64_t zeroed_ = 0;  // the segment is known to hold written zeros up to here
  std::vector<Segment> segments_;
  BatchEncoder encoder_;

  SnapshotMetadata start_;
  HardState hard_state_;
  Index last_index_ = 0;
  wal::TermRuns terms_;
  Stats stats_;
};

absl::Status WalImpl::Poison(const absl::Status& status) {
  // RESOURCE_EXHAUSTED means "try again" to the caller, which is not what this is.
  absl::Status fatal = status.code() == absl::StatusCode::kResourceExhausted
                           ? absl::Status(absl::StatusCode::kUnknown, status.message())
                           : status;
  fatal = Annotate(fatal, "write-ahead log '" + dir_ + "' failed");
  poison_ = Annotate(fatal, "the log is stopped");
  return fatal;
}

absl::Status WalImpl::Recover(const wal::LoadedLog& log) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs_.List(dir_));
  for (const std::string& name : names) {
    if (std::string_view(name).ends_with(wal::kTemporarySuffix)) {
      KEELSON_RETURN_IF_ERROR(fs_.Remove(JoinPath(dir_, name)));
    }
  }

  const wal::LoadedSegment& last = log.segments.back();
  KEELSON_ASSIGN_OR_RETURN(
      file_, fs_.Open(JoinPath(dir_, SegmentName(last.head.sequence)), {.write = true}));
  if (last.file_bytes < last.head.segment_bytes) {  // Someone cut the file.
    KEELSON_RETURN_IF_ERROR(
        file_->Allocate(last.file_bytes, last.head.segment_bytes - last.file_bytes));
  }
  if (!Mutated(Mutation::kTailNotZeroed)) {
    KEELSON_RETURN_IF_ERROR(WriteZeros(*file_, last.end, last.content_end));
  }
  // What was read may have come from the page cache alone, after a kill in the middle of a
  // batch. It will be acknowledged on the strength of having been recovered: sync it first.
  // Write it again before that, because a sync that failed in the last life has marked the
  // pages clean, and another one would pass over them.
  if (!Mutated(Mutation::kUnprovenNotRewritten)) {
    KEELSON_RETURN_IF_ERROR(file_->WriteAt(last.end - log.unproven.size(), log.unproven));
  }
  if (!Mutated(Mutation::kRecoveryNotSynced)) KEELSON_RETURN_IF_ERROR(file_->SyncData());
  KEELSON_RETURN_IF_ERROR(fs_.SyncDirectory(dir_));

  head_ = last.head;
  position_ = {.incarnation = last.head.incarnation,
               .sequence = last.head.sequence,
               .offset = last.end,
               .chain = log.chain,
               .synced_offset = last.end};
  zeroed_ = std::max(last.end, last.content_end);
  for (const wal::LoadedSegment& segment : log.segments) {
    segments_.push_back({segment.head.sequence, segment.head.next_index});
  }
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
  if (!poison_.ok()) return poison_;
  std::span<const Entry> entries = batch.entries;
  const Index start = batch.snapshot.has_value() ? batch.snapshot->index : start_.index;
  while (!entries.empty() && entries[0].index <= start) entries = entries.subspan(1);

  if (absl::Status valid = Validate(batch, entries); !valid.ok()) return Poison(valid);
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
  if (bytes + small > kMaxBatchBytes) {
    return Poison(absl::InvalidArgumentError(absl::StrCat("batch of ", bytes, " bytes")));
  }
  if (bytes + small == 0) return absl::OkStatus();
  KEELSON_RETURN_IF_ERROR(EnsureRoom(bytes + small, kCompactReserveBytes));

  encoder_.Begin(position_, scratch + small);
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
      encoder_.AddHardState(early);
    }
  }
  if (batch.snapshot.has_value()) encoder_.AddSnapshot(RecordType::kReset, snapshot);
  for (const Entry& entry : entries) encoder_.AddEntry(entry);
  if (batch.hard_state.has_value() && early != *batch.hard_state &&
      !Mutated(Mutation::kVoteNotSaved)) {
    encoder_.AddHardState(*batch.hard_state);
  }
  return WriteEncoded();
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

absl::Status WalImpl::WriteEncoded() {
  const uint64_t end = position_.offset + encoder_.bytes();
  absl::Status written;
  if (end > zeroed_) {
    const uint64_t zero_end = encoder_.bytes() > kZeroAheadMaxBatch
                                  ? end
                                  : std::min(head_.segment_bytes, end + kZeroAheadBytes);
    written = WriteZeros(*file_, end, zero_end);
    zeroed_ = zero_end;
  }
  if (written.ok()) written = file_->WriteAt(position_.offset, encoder_.pieces());
  if (!written.ok() && !Mutated(Mutation::kWriteErrorIgnored)) return Poison(written);
  stats_.appended_bytes += encoder_.bytes();
  position_.offset = end;
  position_.chain = encoder_.chain();
  return absl::OkStatus();
}

absl::Status WalImpl::EnsureRoom(uint64_t bytes, uint64_t reserve) {
  if (position_.offset + bytes + reserve <= head_.segment_bytes) return absl::OkStatus();
  return Roll(bytes);
}

absl::Status WalImpl::Roll(uint64_t bytes) {
  HeadRecords records = {
      .head = head_, .previous_chain = position_.chain, .start = start_, .hard_state = hard_state_};
  ++records.head.sequence;
  records.head.next_index = last_index_ + 1;
  records.head.segment_bytes =
      std::max(options_.segment_bytes, HeadBytes(records) + bytes + kCompactReserveBytes);

  auto file = AllocateSegment(fs_, dir_, records.head.segment_bytes);
  if (!file.ok()) {
    // The only error that leaves everything as it was.
    if (file.status().code() == absl::StatusCode::kResourceExhausted) return file.status();
    return Poison(file.status());
  }
  // A segment exists only if all before it is durable: recovery relies on it.
  if (!Mutated(Mutation::kSegmentBeforeSync)) KEELSON_RETURN_IF_ERROR(SyncFile());
  auto position = PublishSegment(fs_, dir_, **file, records);
  if (!position.ok()) return Poison(position.status());

  file_ = *std::move(file);
  head_ = records.head;
  position_ = *position;
  zeroed_ = position_.offset;
  segments_.push_back({head_.sequence, head_.next_index});
  return absl::OkStatus();
}

absl::Status WalImpl::SyncFile() {
  if (position_.synced_offset == position_.offset || options_.unsafe_no_sync) {
    return absl::OkStatus();
  }
  absl::Status synced = file_->SyncData();
  if (Mutated(Mutation::kSyncRetried) && !synced.ok()) synced = file_->SyncData();
  if (!synced.ok() && !Mutated(Mutation::kSyncErrorIgnored)) return Poison(synced);
  ++stats_.syncs;
  position_.synced_offset = position_.offset;
  return absl::OkStatus();
}

absl::StatusOr<SyncToken> WalImpl::Sync() {
  if (!poison_.ok()) return poison_;
  KEELSON_RETURN_IF_ERROR(SyncFile());
  return MakeSyncToken();
}

absl::Status WalImpl::Compact(const SnapshotMetadata& start) {
  if (!poison_.ok()) return poison_;
  if (start.index < start_.index || start.index > last_index_) {
    return Poison(absl::InvalidArgumentError(absl::StrCat("compaction to ", start.index,
                                                          " outside the log of [", start_.index + 1,
                                                          ", ", last_index_, "]")));
  }
  if (const Term known = terms_.At(start.index); known != start.term) {
    return Poison(absl::InvalidArgumentError(absl::StrCat(
        "compaction to ", start.index, " of term ", start.term, ", the entry has term ", known)));
  }
  if (start != start_) KEELSON_RETURN_IF_ERROR(WriteStart(start));
  if (!Mutated(Mutation::kCompactBeforeSync)) KEELSON_RETURN_IF_ERROR(SyncFile());
  return RemoveSegmentsBefore(start.index + 1 + (Mutated(Mutation::kCompactOneTooFar) ? 1 : 0));
}

absl::Status WalImpl::WriteStart(const SnapshotMetadata& start) {
  const std::string encoded = wal::EncodeSnapshotMetadata(start);
  const uint64_t bytes = RecordBytes(encoded.size());
  KEELSON_RETURN_IF_ERROR(EnsureRoom(bytes, 0));
  encoder_.Begin(position_, bytes);
  encoder_.AddSnapshot(RecordType::kStart, encoded);
  KEELSON_RETURN_IF_ERROR(WriteEncoded());
  start_ = start;
  terms_.StartAt(start.index, start.term);
  return absl::OkStatus();
}

absl::Status WalImpl::RemoveSegmentsBefore(Index first_needed) {
  while (segments_.size() > 1 && segments_[1].next_index <= first_needed) {
    // One at a time, oldest first: if a crash undid the first of two removals and kept the
    // second, a segment would seem to be missing in the middle.
    absl::Status removed = fs_.Remove(JoinPath(dir_, SegmentName(segments_[0].sequence)));
    if (removed.ok() && !Mutated(Mutation::kSegmentsRemovedUnordered)) {
      removed = fs_.SyncDirectory(dir_);
    }
    if (!removed.ok()) return Poison(removed);
    segments_.erase(segments_.begin());
  }
  return absl::OkStatus();
}

Wal::Stats WalImpl::GetStats() const {
  Stats stats = stats_;
  stats.segments = segments_.size();
  return stats;
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
  HeadRecords records = {
      .head = {.cluster_id = identity.cluster_id,
               .node_id = identity.node_id,
               .incarnation =
                   options.incarnation != 0 ? options.incarnation : Random::SeedFromSystem(),
               .sequence = 1,
               .next_index = start.index + 1},
      .start = start,
      .hard_state = {.commit = start.index}};
  records.head.segment_bytes =
      std::max(options.segment_bytes, HeadBytes(records) + kCompactReserveBytes);
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                           AllocateSegment(fs, dir, records.head.segment_bytes));
  return PublishSegment(fs, dir, *file, records).status();
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
