// The folder of one member: <data-dir>/member/{wal,snap,db}, and certificates of its own in
// <data-dir>/fixtures/{client,peer}.
#ifndef KEELSON_KVSTORE_CONFIG_DATA_DIR_H_
#define KEELSON_KVSTORE_CONFIG_DATA_DIR_H_

#include <string>

#include "absl/status/statusor.h"
#include "base/file_system.h"

namespace keelson::kvstore {

struct DataDir {
  std::string member;              // <data-dir>/member
  std::string wal;                 // <data-dir>/member/wal, or --wal-dir
  std::string snapshots;           // <data-dir>/member/snap
  std::string database;            // <data-dir>/member/db
  std::string identity;            // <data-dir>/member/identity
  std::string client_certificate;  // <data-dir>/fixtures/client
  std::string peer_certificate;    // <data-dir>/fixtures/peer
};

// The paths; touches nothing. `wal_dir` may be empty.
DataDir DataDirAt(const std::string& data_dir, const std::string& wal_dir);

// Looks at what is there without changing it. OK for nothing, an empty folder,
// or ours.
//
// Errors, each naming the folder and what was found:
//   FAILED_PRECONDITION  it belongs to etcd, or holds files that are not a
//   member's. PERMISSION_DENIED    it cannot be read. any other passed through
//   from `fs`.
absl::Status CheckDataDir(FileSystem& fs, const std::string& data_dir);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CONFIG_DATA_DIR_H_
