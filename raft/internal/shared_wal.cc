#include "raft/internal/shared_wal.h"

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "raft/internal/group_ids.h"
#include "raft/internal/host_mutation.h"
#include "raft/internal/segment_pins.h"
#include "raft/internal/shared_replay.h"
#include "raft/internal/shared_salvage.h"
#include "raft/internal/wal_batch.h"
#include "raft/internal/wal_directory.h"
#include "raft/internal/wal_format.h"
#include "raft/internal/wal_group.h"
#include "raft/internal/wal_writer.h"

namespace keelson::raft {
namespace {

using wal::BatchEncoder;
using wal::GroupState;
using wal::RecordBytes;
using wal::RecordType;

// Room in each segment for a start record of every group, so that all can be compacted on a full
// disk. Groups of more than ten members find less.
constexpr uint64_t kStartReserveBytes = 160;

std::string EncodedHead(const GroupState& state) {
  return wal::EncodeGroupHead({.next_index = state.last_index() + 1,
                               .hard_state = state.hard_state(),
                               .start = state.start()});
}

class SharedWalImpl;

class GroupLog final : public Wal {
 public:
  GroupLog(SharedWalImpl& shared, GroupId group, GroupState state)
      : shared_(shared), group_(group), state_(std::move(state)) {}

  absl::Status Append(const Batch& batch) override;
  absl::StatusOr<SyncToken> Sync() override;
  absl::Status Compact(const SnapshotMetadata& start) override;
  [[nodiscard]] Stats GetStats() const override;

  // Under the lock of the shared log.
  [[nodiscard]] const GroupState& state() const { return state_; }
  void Restart(GroupState state) { state_ = std::move(state); }
  // Only SharedWalImpl calls it, after a sync.
  static SyncToken Token() { return MakeSyncToken(); }

 private:
  SharedWalImpl& shared_;
  const GroupId group_;
  GroupState state_;
};

class SharedWalImpl final : public SharedWal, public wal::HeadSource {
 public:
  SharedWalImpl(FileSystem& fs, const std::string& dir, const Wal::Options& options,
                std::unique_ptr<FileLock> lock, const wal::SharedReplay& replay)
      : removed_(replay.removed()),
        pins_(replay.pins()),
        writer_(fs, dir, options, std::move(lock), *this) {
    for (const auto& [group, log] : replay.groups()) {
      groups_.emplace(group, std::make_unique<GroupLog>(*this, group, GroupState(log)));
    }
  }

  // Returns the files that were moved aside.
  absl::StatusOr<std::vector<std::string>> Recover(const wal::LoadedSegments& log) {
    KEELSON_RETURN_IF_ERROR(writer_.Recover(log));
    return writer_.MoveAside(log.replaced);
  }

  absl::Status AddGroup(GroupId group, const SnapshotMetadata& start) override;
  absl::Status BeginAnew(GroupId group, const SnapshotMetadata& start,
                         const HardState& hard_state) override;
  absl::Status RemoveGroup(GroupId group) override;
  [[nodiscard]] bool WasRemoved(GroupId group) const override {
    absl::MutexLock lock(&mu_);
    return removed_.Contains(group);
  }
  [[nodiscard]] wal::GroupRanges Removed() const override {
    absl::MutexLock lock(&mu_);
    return removed_.ranges();
  }
  Wal* Group(GroupId group) override {
    absl::MutexLock lock(&mu_);
    const auto found = groups_.find(group);
    return found == groups_.end() ? nullptr : found->second.get();
  }
  absl::StatusOr<SyncToken> Sync() override;
  [[nodiscard]] std::vector<GroupId> GroupsPinning(size_t keep_segments,
                                                   size_t limit) const override;
  [[nodiscard]] Wal::Stats GetStats() const override {
    absl::MutexLock lock(&mu_);
    return writer_.GetStats();
  }

  // The head of a segment.
  [[nodiscard]] Index NextIndex() const override { return wal::kManyGroups; }
  [[nodiscard]] uint64_t HeadBytes() const override;
  void EncodeHead(BatchEncoder& encoder) const override;

  // For GroupLog, which holds the lock.
  absl::Mutex& mu() { return mu_; }
  wal::SegmentWriter& writer() { return writer_; }
  wal::SegmentPins& pins() { return pins_; }
  [[nodiscard]] uint64_t reserve() const {
    return wal::kCompactReserveBytes + kStartReserveBytes * groups_.size();
  }
  [[nodiscard]] uint64_t sequence() const { return writer_.segments().back().sequence; }
  absl::Status WriteRecord(GroupId group, RecordType type, std::string_view payload,
                           uint64_t reserve);
  // Deletes the segments that nobody needs, now that `group` needs less.
  absl::Status RemoveOldSegments(GroupId group);

 private:
  // Whether a segment begins with the ids of removed groups.
  [[nodiscard]] bool RepeatsRemoved() const {
    return !removed_.empty() && !Mutated(HostMutation::kRemovedForgotten);
  }
  // Why `group` cannot begin now; OK: it can.
  [[nodiscard]] absl::Status CheckId(GroupId group) const;

  // Guards all below, and the state of the groups. The compiler is not told: the writer calls back
  // for the head of a segment.
  mutable absl::Mutex mu_;
  std::map<GroupId, std::unique_ptr<GroupLog>> groups_;  // segments begin with them in order
  wal::GroupIds removed_;
  wal::SegmentPins pins_;
  wal::SegmentWriter writer_;
};

absl::Status GroupLog::Append(const Batch& batch) {
  absl::MutexLock lock(&shared_.mu());
  wal::SegmentWriter& writer = shared_.writer();
  if (!writer.poison().ok()) return writer.poison();
  const std::span<const Entry> entries = state_.NewEntries(batch);
  absl::Status valid = state_.Validate(batch, entries);
  const GroupState::Size size = GroupState::SizeOf(batch, entries);
  if (valid.ok() && size.file_bytes > wal::kMaxBatchBytes) {
    valid = absl::InvalidArgumentError(absl::StrCat("batch of ", size.file_bytes, " bytes"));
  }
  if (!valid.ok()) return writer.Poison(Annotate(valid, absl::StrCat("group ", group_)));
  if (size.file_bytes == 0) return absl::OkStatus();

  KEELSON_RETURN_IF_ERROR(writer.EnsureRoom(size.file_bytes, shared_.reserve()));
  BatchEncoder& encoder = writer.Begin(size.scratch_bytes);
  encoder.SetGroup(group_);
  state_.Encode(batch, entries, encoder);
  KEELSON_RETURN_IF_ERROR(writer.Write());
  state_.Remember(batch, entries);
  if (batch.snapshot.has_value()) shared_.pins().Clear(group_);
  if (!entries.empty()) {
    shared_.pins().Wrote(group_, shared_.sequence(), entries.front().index, entries.back().index);
  }
  return absl::OkStatus();
}

absl::StatusOr<SyncToken> GroupLog::Sync() { return shared_.Sync(); }
Wal::Stats GroupLog::GetStats() const { return shared_.GetStats(); }

absl::Status GroupLog::Compact(const SnapshotMetadata& start) {
  absl::MutexLock lock(&shared_.mu());
  wal::SegmentWriter& writer = shared_.writer();
  if (!writer.poison().ok()) return writer.poison();
  const absl::Status valid = state_.ValidateStart(start);
  if (!valid.ok()) return writer.Poison(Annotate(valid, absl::StrCat("group ", group_)));
  if (start != state_.start()) {
    KEELSON_RETURN_IF_ERROR(
        shared_.WriteRecord(group_, RecordType::kStart, wal::EncodeSnapshotMetadata(start), 0));
    state_.RememberStart(start);
    shared_.pins().StartAt(group_, start.index);
  }
  return shared_.RemoveOldSegments(group_);
}

absl::Status SharedWalImpl::WriteRecord(GroupId group, RecordType type, std::string_view payload,
                                        uint64_t reserve) {
  const uint64_t bytes = RecordBytes(payload.size());
  KEELSON_RETURN_IF_ERROR(writer_.EnsureRoom(bytes, reserve));
  BatchEncoder& encoder = writer_.Begin(bytes);
  encoder.SetGroup(group);
  encoder.AddEncoded(type, payload);
  return writer_.Write();
}

absl::Status SharedWalImpl::CheckId(GroupId group) const {
  if (!writer_.poison().ok()) return writer_.poison();
  if (group == 0 || group == wal::kManyGroups) {
    return absl::InvalidArgumentError(absl::StrCat(group, " is no group id"));
  }
  if (removed_.Contains(group)) {
    return absl::FailedPreconditionError(
        absl::StrCat("group ", group, " was removed; its id cannot be used again"));
  }
  return absl::OkStatus();
}

absl::Status SharedWalImpl::AddGroup(GroupId group, const SnapshotMetadata& start) {
  absl::MutexLock lock(&mu_);
  KEELSON_RETURN_IF_ERROR(CheckId(group));
  if (groups_.contains(group)) {
    return absl::AlreadyExistsError(absl::StrCat("group ", group, " is in the log already"));
  }
  auto log = std::make_unique<GroupLog>(*this, group, GroupState(start));
  KEELSON_RETURN_IF_ERROR(
      WriteRecord(group, RecordType::kGroupHead, EncodedHead(log->state()), reserve()));
  groups_.emplace(group, std::move(log));
  return absl::OkStatus();
}

absl::Status SharedWalImpl::BeginAnew(GroupId group, const SnapshotMetadata& start,
                                      const HardState& hard_state) {
  absl::MutexLock lock(&mu_);
  KEELSON_RETURN_IF_ERROR(CheckId(group));
  const auto found = groups_.find(group);
  const uint64_t life =
      found == groups_.end() ? 0 : found->second->state().hard_state().incarnation;
  if (hard_state.incarnation <= life) {
    return absl::InvalidArgumentError(
        absl::StrCat("group ", group, ": life ", hard_state.incarnation, " after ", life));
  }
  GroupState state(start, hard_state);
  KEELSON_RETURN_IF_ERROR(
      WriteRecord(group, RecordType::kGroupHead, EncodedHead(state), reserve()));
  pins_.Clear(group);
  if (found == groups_.end()) {
    groups_.emplace(group, std::make_unique<GroupLog>(*this, group, std::move(state)));
  } else {
    found->second->Restart(std::move(state));
  }
  return absl::OkStatus();
}

absl::Status SharedWalImpl::RemoveGroup(GroupId group) {
  absl::MutexLock lock(&mu_);
  if (!writer_.poison().ok()) return writer_.poison();
  if (!groups_.contains(group)) {
    return absl::NotFoundError(absl::StrCat("group ", group, " is not in the log"));
  }
  KEELSON_RETURN_IF_ERROR(
      WriteRecord(0, RecordType::kGroupsRemoved, wal::EncodeGroupRanges({{group, group}}), 0));
  removed_.Add(group, group);
  pins_.Clear(group);
  groups_.erase(group);
  return RemoveOldSegments(group);
}

absl::StatusOr<SyncToken> SharedWalImpl::Sync() {
  absl::MutexLock lock(&mu_);
  if (!writer_.poison().ok()) return writer_.poison();
  KEELSON_RETURN_IF_ERROR(writer_.Sync());
  return GroupLog::Token();
}

absl::Status SharedWalImpl::RemoveOldSegments(GroupId group) {
  const std::optional<uint64_t> pinned =
      Mutated(HostMutation::kTrimByOneGroup) ? pins_.Of(group) : pins_.Oldest();
  const auto unneeded = [&] {
    return writer_.segments().size() > 1 &&
           (!pinned.has_value() || writer_.segments().front().sequence < *pinned);
  };
  if (!unneeded()) return absl::OkStatus();
  // What makes them superfluous must not be lost with them.
  KEELSON_RETURN_IF_ERROR(writer_.Sync());
  while (unneeded()) KEELSON_RETURN_IF_ERROR(writer_.RemoveOldest());
  return absl::OkStatus();
}

std::vector<GroupId> SharedWalImpl::GroupsPinning(size_t keep_segments, size_t limit) const {
  absl::MutexLock lock(&mu_);
  const auto& segments = writer_.segments();
  keep_segments = std::max<size_t>(keep_segments, 1);  // The one in use stays anyway.
  if (segments.size() <= keep_segments) return {};
  return pins_.Before(segments[segments.size() - keep_segments].sequence, limit);
}

uint64_t SharedWalImpl::HeadBytes() const {
  uint64_t bytes = 0;
  if (RepeatsRemoved()) bytes += RecordBytes(wal::EncodeGroupRanges(removed_.ranges()).size());
  for (const auto& [group, log] : groups_) bytes += RecordBytes(EncodedHead(log->state()).size());
  return bytes;
}

void SharedWalImpl::EncodeHead(BatchEncoder& encoder) const {
  if (RepeatsRemoved()) {
    encoder.AddEncoded(RecordType::kGroupsRemoved, wal::EncodeGroupRanges(removed_.ranges()));
  }
  for (const auto& [group, log] : groups_) {
    encoder.SetGroup(group);
    encoder.AddEncoded(RecordType::kGroupHead, EncodedHead(log->state()));
  }
}

// The head of the first segment: there is no group yet.
class NoGroups final : public wal::HeadSource {
 public:
  [[nodiscard]] Index NextIndex() const override { return wal::kManyGroups; }
  [[nodiscard]] uint64_t HeadBytes() const override { return 0; }
  void EncodeHead(BatchEncoder& /*encoder*/) const override {}
};

absl::StatusOr<std::unique_ptr<FileLock>> LockLog(FileSystem& fs, const std::string& dir) {
  KEELSON_RETURN_IF_ERROR(wal::ListSegments(fs, dir).status());
  auto lock = fs.Lock(JoinPath(dir, wal::kLockName));
  if (!lock.ok()) return Annotate(lock.status(), "lock the write-ahead log '" + dir + "'");
  return lock;
}

// Opens a log that is whole. Takes `lock` only then.
absl::StatusOr<std::unique_ptr<SharedWal>> OpenWhole(FileSystem& fs, const std::string& dir,
                                                     const Identity& identity,
                                                     const Wal::Options& options,
                                                     std::unique_ptr<FileLock>& lock,
                                                     SharedWal::Recovered* recovered) {
  wal::SharedReplay replay;
  KEELSON_ASSIGN_OR_RETURN(const wal::LoadedSegments segments,
                           wal::LoadSegments(fs, dir, identity, replay, nullptr));
  if (absl::Status whole = replay.Check(); !whole.ok()) return Annotate(whole, "'" + dir + "'");
  auto log = std::make_unique<SharedWalImpl>(fs, dir, options, std::move(lock), replay);
  KEELSON_ASSIGN_OR_RETURN(recovered->moved_aside, log->Recover(segments));

  recovered->torn_bytes = segments.torn_bytes;
  for (auto& [group, records] : replay.groups()) {
    Wal::Recovered& one = recovered->groups[group];
    one.hard_state = records.hard_state();
    one.start = records.start();
    one.entries = std::move(records).TakeEntries();
  }
  return std::unique_ptr<SharedWal>(std::move(log));
}

// Replaces a damaged log by one of what is left.
absl::StatusOr<SharedWal::Loss> Repair(FileSystem& fs, const std::string& dir,
                                       const Identity& identity, const Wal::Options& options,
                                       uint64_t incarnation, const absl::Status& damage) {
  KEELSON_ASSIGN_OR_RETURN(wal::SharedSalvage salvage, wal::SalvageShared(fs, dir, identity));
  SharedWal::Loss loss;
  loss.what = std::string(damage.message());
  loss.forgotten = salvage.forgotten;
  std::map<GroupId, wal::Restart> groups;
  for (auto& [id, group] : salvage.groups) {
    wal::Restart& restart = groups[id];
    if (group.rest.has_value()) {
      restart.start = std::move(group.rest->start);
      restart.entries = std::move(group.rest->entries);
      restart.hard_state = group.rest->hard_state;
    }
    if (!group.lost) continue;
    if (!Mutated(HostMutation::kDamageUnsaid)) wal::BeginLife(restart, {}, incarnation);
    const Index kept = restart.start.index + restart.entries.size();
    loss.groups[id] = {.kept = kept, .known = std::max(kept, group.highest_entry)};
  }
  KEELSON_RETURN_IF_ERROR(
      wal::StartOverShared(fs, dir, identity, groups, salvage.removed, options));
  return loss;
}

}  // namespace

absl::StatusOr<bool> SharedWal::Exists(FileSystem& fs, const std::string& dir) {
  return Wal::Exists(fs, dir);
}

absl::Status SharedWal::Create(FileSystem& fs, const std::string& dir, const Identity& identity,
                               const Wal::Options& options) {
  KEELSON_RETURN_IF_ERROR(fs.CreateDirectories(dir));
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<FileLock> lock,
                           fs.Lock(JoinPath(dir, wal::kLockName)));
  KEELSON_ASSIGN_OR_RETURN(const bool exists, Exists(fs, dir));
  if (exists) {
    return absl::AlreadyExistsError(absl::StrCat("'", dir, "' holds a write-ahead log already"));
  }
  return wal::SegmentWriter::Create(fs, dir, identity, options, NoGroups());
}

absl::StatusOr<std::unique_ptr<SharedWal>> SharedWal::Open(FileSystem& fs, const std::string& dir,
                                                           const Identity& identity,
                                                           const Wal::Options& options,
                                                           Recovered* recovered) {
  KEELSON_ASSIGN_OR_RETURN(std::unique_ptr<FileLock> lock, LockLog(fs, dir));
  return OpenWhole(fs, dir, identity, options, lock, recovered);
}

absl::StatusOr<std::unique_ptr<SharedWal>> SharedWal::OpenAndRepair(
    FileSystem& fs, const std::string& dir, const Identity& identity, const Wal::Options& options,
    uint64_t incarnation, Recovered* recovered) {
  KEELSON_ASSIGN_OR_RETURN(std::unique_ptr<FileLock> lock, LockLog(fs, dir));
  auto log = OpenWhole(fs, dir, identity, options, lock, recovered);
  if (!absl::IsDataLoss(log.status()) || lock == nullptr) return log;
  KEELSON_ASSIGN_OR_RETURN(Loss loss,
                           Repair(fs, dir, identity, options, incarnation, log.status()));
  log = OpenWhole(fs, dir, identity, options, lock, recovered);
  if (log.ok()) recovered->loss = std::move(loss);
  return log;
}

}  // namespace keelson::raft
