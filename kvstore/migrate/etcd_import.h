// Copies the database of an etcd member into an engine of ours.
//
// Taken over: every version of every key, revisions, what was compacted, leases with the keys
// attached to them, users, roles, the alarm CORRUPT. Left behind: who the members were, and alarms
// for want of space, which are about the disks of those. The version 2 tree is not in the database.
#ifndef KEELSON_KVSTORE_MIGRATE_ETCD_IMPORT_H_
#define KEELSON_KVSTORE_MIGRATE_ETCD_IMPORT_H_

#include <cstdint>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/bbolt/reader.h"
#include "kvstore/engine.h"
#include "raft/types.h"

namespace keelson::kvstore {

struct ImportOptions {
  // Raises the revision by this much, so that it is beyond all that clients have seen. Not
  // negative.
  int64_t bump_revision = 0;
  // Declares everything up to then compacted: clients learn that their caches are of the past.
  bool mark_compacted = false;
};

struct ImportSummary {
  int64_t revision = 0;
  int64_t compacted = -1;  // -1: never
  uint64_t versions = 0;   // of keys, deletions included
  uint64_t leases = 0;
  uint64_t users = 0;
  uint64_t roles = 0;
  // Up to where in etcd's log the database goes; 0 when it does not say.
  uint64_t consistent_index = 0;
};

using ImportProgress = absl::FunctionRef<void(uint64_t versions)>;

// ImportSummary::consistent_index alone.
absl::StatusOr<uint64_t> ConsistentIndexOf(const bbolt::Reader& database);

// Only reads: what an import would find. DATA_LOSS when something cannot be read.
absl::StatusOr<ImportSummary> ExamineEtcdDatabase(const bbolt::Reader& database,
                                                  const ImportOptions& options,
                                                  ImportProgress progress);

// Fills `engine`, which is empty, but for the row that says where in the log it stands; memory
// does not
// grow with the database. `progress` is called after every few thousand versions. DATA_LOSS as
// above; any other error is the engine's.
absl::StatusOr<ImportSummary> ImportEtcdDatabase(const bbolt::Reader& database,
                                                 const ImportOptions& options, Engine& engine,
                                                 ImportProgress progress);

// Writes that row, last: the state is the one after the entry `applied`.
absl::Status FinishImport(const ImportSummary& summary, const raft::SnapshotMetadata& applied,
                          Engine& engine);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_MIGRATE_ETCD_IMPORT_H_
