// A snapshot, as etcd and kvstored give it, or the database of an etcd member.
#ifndef KEELSON_KVSTORE_MIGRATE_SNAPSHOT_FILE_H_
#define KEELSON_KVSTORE_MIGRATE_SNAPSHOT_FILE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keelson::kvstore {

// What etcd's tools say of a database.
struct DatabaseSummary {
  uint32_t hash = 0;     // CRC-32C over the names, keys and values of all buckets
  int64_t revision = 0;  // of the newest version
  uint64_t rows = 0;     // of all buckets
  uint64_t bytes = 0;    // of the database, without its digest
};

// Reads every page of the database in `file`. `progress`, after every few thousand rows, gets how
// many there were. DATA_LOSS when it is damaged, or no database of etcd.
absl::StatusOr<DatabaseSummary> Summarize(std::string_view file,
                                          absl::FunctionRef<void(uint64_t rows)> progress);

// DATA_LOSS when the SHA-256 at the end of `file` is missing or that of something else. `progress`
// gets how many bytes were read.
absl::Status VerifyDigest(std::string_view file, absl::FunctionRef<void(uint64_t bytes)> progress);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_MIGRATE_SNAPSHOT_FILE_H_
