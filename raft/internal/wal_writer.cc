#include "raft/internal/wal_writer.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/status.h"
#include "raft/internal/mutation.h"

namespace keelson::raft::wal {
namespace {

// Zeros are written this far ahead of the records. The first write into preallocated space
// costs a journal commit in its fdatasync (the extent becomes "written"); with zeros ahead
// only one sync in many does. Numbers in raft/docs/format.md.
constexpr uint64_t kZeroAheadBytes = 256 << 10;
// Larger batches pay for their own extents; writing twice would cost more than it saves.
constexpr uint64_t kZeroAheadMaxBatch = 64 << 10;

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
  return JoinPath(dir, std::string("next") + kTemporarySuffix);
}

uint64_t AllHeadBytes(const HeadSource& source) {
  return RecordBytes(kSegmentHeadBytes) + source.HeadBytes();
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
                                        const SegmentHead& head, uint32_t previous_chain,
                                        const HeadSource& source) {
  const uint64_t bytes = AllHeadBytes(source);
  BatchEncoder encoder;
  encoder.Begin({.incarnation = head.incarnation,
                 .sequence = head.sequence,
                 .offset = 0,
                 .chain = previous_chain,
                 .synced_offset = 0},
                bytes);
  encoder.AddSegmentHead(head);
  source.EncodeHead(encoder);
  KEELSON_RETURN_IF_ERROR(file.WriteAt(0, encoder.pieces()));
  KEELSON_RETURN_IF_ERROR(file.SyncData());
  KEELSON_RETURN_IF_ERROR(fs.Rename(TemporaryPath(dir), JoinPath(dir, SegmentName(head.sequence))));
  if (!Mutated(Mutation::kSegmentNameNotSynced)) KEELSON_RETURN_IF_ERROR(fs.SyncDirectory(dir));
  return Position{.incarnation = head.incarnation,
                  .sequence = head.sequence,
                  .offset = encoder.bytes(),
                  .chain = encoder.chain(),
                  .synced_offset = encoder.bytes()};
}

}  // namespace

absl::Status SegmentWriter::Create(FileSystem& fs, const std::string& dir, const Identity& identity,
                                   const Wal::Options& options, const HeadSource& source,
                                   uint64_t sequence) {
  const uint64_t drawn = options.incarnation != 0 ? options.incarnation : Random::SeedFromSystem();
  const SegmentHead head = {
      .cluster_id = identity.cluster_id,
      .node_id = identity.node_id,
      // Another one than that of a log which it replaces, also where the options were the same.
      .incarnation = drawn + (sequence - 1),
      .sequence = sequence,
      .next_index = source.NextIndex(),
      .segment_bytes =
          std::max(options.segment_bytes, AllHeadBytes(source) + kCompactReserveBytes)};
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                           AllocateSegment(fs, dir, head.segment_bytes));
  return PublishSegment(fs, dir, *file, head, 0, source).status();
}

absl::Status SegmentWriter::Poison(const absl::Status& status) {
  // RESOURCE_EXHAUSTED means "try again" to the caller, which is not what this is.
  absl::Status fatal = status.code() == absl::StatusCode::kResourceExhausted
                           ? absl::Status(absl::StatusCode::kUnknown, status.message())
                           : status;
  fatal = Annotate(fatal, "write-ahead log '" + dir_ + "' failed");
  poison_ = Annotate(fatal, "the log is stopped");
  return fatal;
}

absl::Status SegmentWriter::Recover(const LoadedSegments& log) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs_.List(dir_));
  for (const std::string& name : names) {
    if (std::string_view(name).ends_with(kTemporarySuffix)) {
      KEELSON_RETURN_IF_ERROR(fs_.Remove(JoinPath(dir_, name)));
    }
  }

  const LoadedSegment& last = log.segments.back();
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
  for (const LoadedSegment& segment : log.segments) {
    segments_.push_back({segment.head.sequence, segment.head.next_index});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SegmentWriter::MoveAside(
    const std::vector<uint64_t>& sequences) {
  std::vector<std::string> moved;
  for (const uint64_t sequence : sequences) {
    const std::string path = JoinPath(dir_, SegmentName(sequence));
    moved.push_back(path + kDamagedSuffix);
    KEELSON_RETURN_IF_ERROR(fs_.Rename(path, moved.back()));
  }
  if (!moved.empty()) KEELSON_RETURN_IF_ERROR(fs_.SyncDirectory(dir_));
  return moved;
}

absl::Status SegmentWriter::EnsureRoom(uint64_t bytes, uint64_t reserve) {
  if (position_.offset + bytes + reserve <= head_.segment_bytes) return absl::OkStatus();
  return Roll(bytes, reserve);
}

absl::Status SegmentWriter::Roll(uint64_t bytes, uint64_t reserve) {
  SegmentHead head = head_;
  ++head.sequence;
  head.next_index = source_.NextIndex();
  head.segment_bytes =
      std::max(options_.segment_bytes,
               AllHeadBytes(source_) + bytes + std::max(reserve, kCompactReserveBytes));

  auto file = AllocateSegment(fs_, dir_, head.segment_bytes);
  if (!file.ok()) {
    // The only error that leaves everything as it was.
    if (file.status().code() == absl::StatusCode::kResourceExhausted) return file.status();
    return Poison(file.status());
  }
  // A segment exists only if all before it is durable: recovery relies on it.
  if (!Mutated(Mutation::kSegmentBeforeSync)) KEELSON_RETURN_IF_ERROR(Sync());
  auto position = PublishSegment(fs_, dir_, **file, head, position_.chain, source_);
  if (!position.ok()) return Poison(position.status());

  file_ = *std::move(file);
  head_ = head;
  position_ = *position;
  zeroed_ = position_.offset;
  segments_.push_back({head_.sequence, head_.next_index});
  return absl::OkStatus();
}

absl::Status SegmentWriter::Write() {
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

absl::Status SegmentWriter::Sync() {
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

absl::Status SegmentWriter::RemoveOldest() {
  // One at a time, oldest first: if a crash undid the first of two removals and kept the
  // second, a segment would seem to be missing in the middle.
  absl::Status removed = fs_.Remove(JoinPath(dir_, SegmentName(segments_[0].sequence)));
  if (removed.ok() && !Mutated(Mutation::kSegmentsRemovedUnordered)) {
    removed = fs_.SyncDirectory(dir_);
  }
  if (!removed.ok()) return Poison(removed);
  segments_.erase(segments_.begin());
  return absl::OkStatus();
}

Wal::Stats SegmentWriter::GetStats() const {
  Wal::Stats stats = stats_;
  stats.segments = segments_.size();
  return stats;
}

}  // namespace keelson::raft::wal
