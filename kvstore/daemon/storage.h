// Opens or makes what a member keeps on disk.
#ifndef KEELSON_KVSTORE_DAEMON_STORAGE_H_
#define KEELSON_KVSTORE_DAEMON_STORAGE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "kvstore/config/data_dir.h"
#include "kvstore/config/options.h"
#include "raft/member_storage.h"
#include "raft/types.h"

namespace keelson::kvstore {

struct Storage : raft::MemberStorage {
  DataDir paths;
  raft::ConfState founders;  // the membership of a new cluster
};

// Looks at what there is. Where there is no log, makes one: of a new member, or, with
// --initial-cluster-state=existing, of one that has lost everything and recovers from the others.
// Where there is one, storage.wal is null and OpenLog comes next. Errors as Member::Start.
absl::StatusOr<Storage> PrepareStorage(FileSystem& fs, const Options& options);

// Opens the log of a member whose database stands at `applied`; repairs it if need be.
absl::Status OpenLog(FileSystem& fs, const Options& options, const raft::SnapshotMetadata& applied,
                     Storage& storage);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_DAEMON_STORAGE_H_
