// The Engine on RocksDB, in a directory of its own (docs/format.md).
//
//   <dir>/LOCK      held while the home exists
//   <dir>/ENGINE    names the database in use; switched by rename
//   <dir>/db-<n>/   a RocksDB database; only the named one counts
//
// RocksDB's own write-ahead log is off: the raft log is the only one. All families are
// flushed together, so that a crash leaves them at one point of time.
#ifndef KEELSON_KVSTORE_ENGINE_ROCKSDB_H_
#define KEELSON_KVSTORE_ENGINE_ROCKSDB_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kvstore/engine.h"

namespace rocksdb {
class Env;
}  // namespace rocksdb

namespace keelson::kvstore {

struct RocksDbOptions {
  std::string directory;  // made if missing
  uint64_t cache_bytes = 64 << 20;
  uint64_t write_buffer_bytes = 64 << 20;
  // For tests: closing loses what was not flushed, as a crash does.
  bool lose_unflushed_on_close = false;
  rocksdb::Env* env = nullptr;  // null: the system's. Borrowed; outlives the engines.
};

// Takes the directory. FAILED_PRECONDITION naming it when another home has it, or when it
// holds something else than such a database.
absl::StatusOr<std::unique_ptr<EngineHome>> OpenRocksDbHome(const RocksDbOptions& options);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_ENGINE_ROCKSDB_H_
