// The whole state as one stream of bytes: what a snapshot file holds (docs/format.md).
#ifndef KEELSON_KVSTORE_INTERNAL_SNAPSHOT_STREAM_H_
#define KEELSON_KVSTORE_INTERNAL_SNAPSHOT_STREAM_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "kvstore/engine.h"
#include "raft/snapshot_store.h"

namespace keelson::kvstore::internal {

// Streams every row of `engine` as of `snapshot` into `writer`.
absl::Status WriteSnapshot(const Engine& engine, const EngineSnapshot& snapshot,
                           raft::SnapshotWriter& writer);

// Puts the rows that `reader` holds into `batch`, calling `write` each time when it has grown
// enough, and at the end. `batch` is empty at the start; `write` leaves it so.
// DATA_LOSS naming the offset for a stream that is cut, too long or makes no sense.
absl::Status ReadSnapshot(raft::SnapshotReader& reader, WriteBatch& batch,
                          absl::FunctionRef<absl::Status()> write);

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_SNAPSHOT_STREAM_H_
