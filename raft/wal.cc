#include "raft/wal.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/internal/mutation.h"
#include "raft/internal/wal_batch.h"
#include "raft/internal/wal_directory.h"
#include "raft/internal/wal_group.h"
#include "raft/internal/wal_writer.h"

namespace keelson::raft {
namespace {

using wal::BatchEncoder;
using wal::RecordBytes;
using wal::RecordType;

// Where a log starts and what its node has promised, for the head of a segment.
class Head final : public wal::HeadSource {
 public:
  explicit Head(const wal::GroupState& state) : state_(state) {}

  [[nodiscard]] Index NextIndex() const override { return state_.last_index() + 1; }
  [[nodiscard]] uint64_t HeadBytes() const override {
    return RecordBytes(wal::EncodeSnapshotMetadata(state_.start()).size()) +
           RecordBytes(wal::HardStateBytes(state_.hard_state()));
  }
  void EncodeHead(BatchEncoder& encoder) const override {
    encoder.AddSnapshot(RecordType::kStart, wal::EncodeSnapshotMetadata(state_.start()));
    encoder.AddHardState(state_.hard_state());
  }

 private:
  const wal::GroupState& state_;
};

class WalImpl final : public Wal {
 public:
  WalImpl(FileSystem& fs, const std::string& dir, const Options& options,
          std::unique_ptr<FileLock> lock, const wal::LogReplay& replay)
      : state_(replay), head_(state_), writer_(fs, dir, options, std::move(lock), head_) {}

  // Returns the files that were moved aside.
  absl::StatusOr<std::vector<std::string>> Recover(const wal::LoadedSegments& log) {
    KEELSON_RETURN_IF_ERROR(writer_.Recover(log));
    return writer_.MoveAside(log.replaced);
  }

  absl::Status Append(const Batch& batch) override;
  absl::StatusOr<SyncToken> Sync() override;
  absl::Status Compact(const SnapshotMetadata& start) override;
  [[nodiscard]] Stats GetStats() const override { return writer_.GetStats(); }

 private:
  absl::Status WriteBatch(const Batch& batch, std::span<const Entry> entries);
  absl::Status WriteStart(const SnapshotMetadata& start);
  absl::Status RemoveSegmentsBefore(Index first_needed);

  wal::GroupState state_;
  const Head head_;
  wal::SegmentWriter writer_;
};

absl::Status WalImpl::Append(const Batch& batch) {
  if (!writer_.poison().ok()) return writer_.poison();
  const std::span<const Entry> entries = state_.NewEntries(batch);
  absl::Status valid = state_.Validate(batch, entries);
  if (!valid.ok()) return writer_.Poison(valid);
  KEELSON_RETURN_IF_ERROR(WriteBatch(batch, entries));
  state_.Remember(batch, entries);
  return absl::OkStatus();
}

absl::Status WalImpl::WriteBatch(const Batch& batch, std::span<const Entry> entries) {
  const wal::GroupState::Size size = wal::GroupState::SizeOf(batch, entries);
  if (size.file_bytes > wal::kMaxBatchBytes) {
    return writer_.Poison(
        absl::InvalidArgumentError(absl::StrCat("batch of ", size.file_bytes, " bytes")));
  }
  if (size.file_bytes == 0) return absl::OkStatus();
  KEELSON_RETURN_IF_ERROR(writer_.EnsureRoom(size.file_bytes, wal::kCompactReserveBytes));
  state_.Encode(batch, entries, writer_.Begin(size.scratch_bytes));
  return writer_.Write();
}

absl::StatusOr<SyncToken> WalImpl::Sync() {
  if (!writer_.poison().ok()) return writer_.poison();
  KEELSON_RETURN_IF_ERROR(writer_.Sync());
  return MakeSyncToken();
}

absl::Status WalImpl::Compact(const SnapshotMetadata& start) {
  if (!writer_.poison().ok()) return writer_.poison();
  absl::Status valid = state_.ValidateStart(start);
  if (!valid.ok()) return writer_.Poison(valid);
  if (start != state_.start()) KEELSON_RETURN_IF_ERROR(WriteStart(start));
  if (!Mutated(Mutation::kCompactBeforeSync)) KEELSON_RETURN_IF_ERROR(writer_.Sync());
  return RemoveSegmentsBefore(start.index + 1 + (Mutated(Mutation::kCompactOneTooFar) ? 1 : 0));
}

absl::Status WalImpl::WriteStart(const SnapshotMetadata& start) {
  const std::string encoded = wal::EncodeSnapshotMetadata(start);
  const uint64_t bytes = RecordBytes(encoded.size());
  KEELSON_RETURN_IF_ERROR(writer_.EnsureRoom(bytes, 0));
  writer_.Begin(bytes).AddSnapshot(RecordType::kStart, encoded);
  KEELSON_RETURN_IF_ERROR(writer_.Write());
  state_.RememberStart(start);
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
  const wal::GroupState state(start);
  return wal::SegmentWriter::Create(fs, dir, identity, options, Head(state));
}

absl::StatusOr<std::unique_ptr<Wal>> Wal::Open(FileSystem& fs, const std::string& dir,
                                               const Identity& identity, const Options& options,
                                               Recovered* recovered) {
  KEELSON_RETURN_IF_ERROR(wal::ListSegments(fs, dir).status());
  auto lock = fs.Lock(JoinPath(dir, wal::kLockName));
  if (!lock.ok()) return Annotate(lock.status(), "lock the write-ahead log '" + dir + "'");
  KEELSON_ASSIGN_OR_RETURN(wal::LoadedLog log, wal::LoadLog(fs, dir, identity, nullptr));
  auto wal = std::make_unique<WalImpl>(fs, dir, options, *std::move(lock), log.replay);
  KEELSON_ASSIGN_OR_RETURN(std::vector<std::string> moved_aside, wal->Recover(log));

  *recovered = wal::ToRecovered(std::move(log));
  recovered->moved_aside = std::move(moved_aside);
  return std::unique_ptr<Wal>(std::move(wal));
}

}  // namespace keelson::raft
