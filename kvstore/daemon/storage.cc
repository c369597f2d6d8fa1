#include "kvstore/daemon/storage.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/status.h"
#include "kvstore/daemon/member_identity.h"

namespace keelson::kvstore {
namespace {

// What has to be true where there is no log.
absl::Status CheckFirstStart(FileSystem& fs, const Options& options, const Storage& storage) {
  KEELSON_ASSIGN_OR_RETURN(const bool has_database, fs.Exists(storage.paths.database));
  if (has_database) {
    return absl::FailedPreconditionError(
        absl::StrCat("there is a database '", storage.paths.database, "' but no log in '",
                     storage.paths.wal, "'; is --wal-dir right? If the log is lost, remove '",
                     storage.paths.member, "' and start with --initial-cluster-state=existing"));
  }
  if (options.expects_existing_cluster &&
      !raft::CanDoWithout(storage.founders, options.member_id)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "--initial-cluster-state=existing, but '", options.data_dir,
        "' holds no data, and the other members are no majority that could bring it back"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Storage> PrepareStorage(FileSystem& fs, const Options& options) {
  Storage storage;
  storage.paths = DataDirAt(options.data_dir, options.wal_dir);
  for (const FoundingMember& member : options.initial_cluster) {
    storage.founders.voters.push_back(member.id);
  }
  KEELSON_ASSIGN_OR_RETURN(const bool has_log, raft::Wal::Exists(fs, storage.paths.wal));
  if (has_log) return storage;
  KEELSON_RETURN_IF_ERROR(CheckFirstStart(fs, options, storage));
  KEELSON_RETURN_IF_ERROR(fs.CreateDirectories(storage.paths.member));
  // First: without it the log would be nobody's.
  KEELSON_RETURN_IF_ERROR(RememberIdentity(fs, options));
  KEELSON_RETURN_IF_ERROR(OpenLog(fs, options, {.conf_state = storage.founders}, storage));
  return storage;
}

absl::Status OpenLog(FileSystem& fs, const Options& options, const raft::SnapshotMetadata& applied,
                     Storage& storage) {
  raft::MemberStorageOptions open;
  open.wal_dir = storage.paths.wal;
  open.snapshot_dir = storage.paths.snapshots;
  open.identity = {.cluster_id = options.cluster_id, .node_id = options.member_id};
  open.wal.unsafe_no_sync = options.unsafe_no_fsync;
  open.without_log = options.expects_existing_cluster ? raft::WithoutLog::kLostEverything
                                                      : raft::WithoutLog::kNewMember;
  open.random = Random(Random::SeedFromSystem());
  KEELSON_ASSIGN_OR_RETURN(static_cast<raft::MemberStorage&>(storage),
                           raft::OpenMemberStorage(fs, open, applied));
  return absl::OkStatus();
}

}  // namespace keelson::kvstore
