#include "kvstore/daemon/storage.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::kvstore {
namespace {

// Makes the log of a member that starts for the first time.
absl::Status CreateLog(FileSystem& fs, const Options& options, const Storage& storage,
                       const raft::Identity& identity, const raft::Wal::Options& wal_options) {
  if (options.expects_existing_cluster) {
    return absl::FailedPreconditionError(
        absl::StrCat("--initial-cluster-state=existing, but '", options.data_dir,
                     "' holds no data, and joining a running cluster is not supported yet"));
  }
  KEELSON_ASSIGN_OR_RETURN(const bool has_database, fs.Exists(storage.paths.database));
  if (has_database) {
    return absl::FailedPreconditionError(absl::StrCat("there is a database '",
                                                      storage.paths.database, "' but no log in '",
                                                      storage.paths.wal, "'; is --wal-dir right?"));
  }
  return raft::Wal::Create(fs, storage.paths.wal, identity, {.conf_state = storage.founders},
                           wal_options);
}

}  // namespace

absl::StatusOr<Storage> OpenStorage(FileSystem& fs, const Options& options) {
  Storage storage;
  storage.paths = DataDirAt(options.data_dir, options.wal_dir);
  for (const FoundingMember& member : options.initial_cluster) {
    storage.founders.voters.push_back(member.id);
  }
  const raft::Identity identity{.cluster_id = options.cluster_id, .node_id = options.member_id};
  raft::Wal::Options wal_options;
  wal_options.unsafe_no_sync = options.unsafe_no_fsync;

  KEELSON_ASSIGN_OR_RETURN(const bool has_log, raft::Wal::Exists(fs, storage.paths.wal));
  storage.is_new = !has_log;
  if (!has_log) {
    KEELSON_RETURN_IF_ERROR(fs.CreateDirectories(storage.paths.member));
    KEELSON_RETURN_IF_ERROR(CreateLog(fs, options, storage, identity, wal_options));
  }
  KEELSON_ASSIGN_OR_RETURN(storage.wal, raft::Wal::Open(fs, storage.paths.wal, identity,
                                                        wal_options, &storage.recovered));
  KEELSON_ASSIGN_OR_RETURN(storage.snapshots,
                           raft::SnapshotStore::Open(fs, storage.paths.snapshots));
  return storage;
}

}  // namespace keelson::kvstore
