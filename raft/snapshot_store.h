// A folder of snapshots: whole application states on disk, in checksummed chunks.
//
// File "<term:016x>-<index:016x>.snap"; format in raft/docs/format.md. A snapshot is
// visible only when complete and durable: it is written as "*.tmp", synced, renamed, and
// the folder synced. One that turns out to be damaged, whoever reads it, is renamed to
// "*.snap.damaged" at once: it is not found again, and not deleted.
#ifndef KEELSON_RAFT_SNAPSHOT_STORE_H_
#define KEELSON_RAFT_SNAPSHOT_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "raft/types.h"

namespace keelson::raft {

// Writes one snapshot. Dropping it before Commit leaves nothing behind but a .tmp file
// that the next Open of the store removes.
class SnapshotWriter {
 public:
  virtual ~SnapshotWriter() = default;
  // Appends application bytes. Any sizes; stored in chunks of at most 1 MiB.
  virtual absl::Status Append(std::string_view bytes) = 0;
  // Makes the snapshot durable and visible.
  virtual absl::Status Commit() = 0;
};

// Reads one snapshot from its start.
class SnapshotReader {
 public:
  virtual ~SnapshotReader() = default;
  [[nodiscard]] virtual const SnapshotMetadata& metadata() const = 0;
  // The next chunk, or an empty string after the last one, when the totals have been
  // verified. DATA_LOSS naming file and offset when a checksum is wrong.
  virtual absl::StatusOr<std::string> Next() = 0;
};

// Thread-safe.
class SnapshotStore {
 public:
  // Opens `dir`, making it if needed, and removes leftovers of unfinished writes.
  // `fs` is borrowed and outlives the store.
  static absl::StatusOr<std::unique_ptr<SnapshotStore>> Open(FileSystem& fs,
                                                             const std::string& dir);
  virtual ~SnapshotStore() = default;

  virtual absl::StatusOr<std::unique_ptr<SnapshotWriter>> Create(
      const SnapshotMetadata& metadata) = 0;

  // NOT_FOUND if there is none at that index and term.
  virtual absl::StatusOr<std::unique_ptr<SnapshotReader>> OpenSnapshot(Index index, Term term) = 0;

  // Metadata of the complete snapshots, newest first; without those whose header is damaged.
  virtual absl::StatusOr<std::vector<SnapshotMetadata>> List() = 0;

  // Removes snapshots older than the newest `keep` ones; readers that are open go on.
  virtual absl::Status RemoveOld(size_t keep) = 0;
};

// Reads the snapshot to its end. OK if it is whole; NOT_FOUND, DATA_LOSS as the store says.
absl::Status VerifySnapshot(SnapshotStore& store, Index index, Term term);

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_SNAPSHOT_STORE_H_
