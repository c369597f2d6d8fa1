// Opens or makes what a member keeps on disk.
#ifndef KEELSON_KVSTORE_DAEMON_STORAGE_H_
#define KEELSON_KVSTORE_DAEMON_STORAGE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "kvstore/config/data_dir.h"
#include "kvstore/config/options.h"
#include "raft/snapshot_store.h"
#include "raft/types.h"
#include "raft/wal.h"

namespace keelson::kvstore {

struct Storage {
  DataDir paths;
  raft::ConfState founders;        // the membership of a new cluster
  std::unique_ptr<raft::Wal> wal;  // holds the lock of the directory
  raft::Wal::Recovered recovered;
  std::unique_ptr<raft::SnapshotStore> snapshots;
  bool is_new = false;
};

// Errors as Member::Start.
absl::StatusOr<Storage> OpenStorage(FileSystem& fs, const Options& options);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_DAEMON_STORAGE_H_
