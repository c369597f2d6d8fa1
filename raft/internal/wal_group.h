// Where the log of one group stands, and which records bring it further. Knows no file.
#ifndef KEELSON_RAFT_INTERNAL_WAL_GROUP_H_
#define KEELSON_RAFT_INTERNAL_WAL_GROUP_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "raft/internal/wal_batch.h"
#include "raft/internal/wal_replay.h"
#include "raft/types.h"
#include "raft/wal.h"

namespace keelson::raft::wal {

class GroupState {
 public:
  // A log that starts after `start` and is empty.
  explicit GroupState(SnapshotMetadata start, const HardState& hard_state = {});
  // What was read.
  explicit GroupState(const LogReplay& replay);

  [[nodiscard]] const SnapshotMetadata& start() const { return start_; }
  [[nodiscard]] const HardState& hard_state() const { return hard_state_; }
  [[nodiscard]] Index last_index() const { return last_index_; }

  // The entries of `batch` that are not before the start of the log.
  [[nodiscard]] std::span<const Entry> NewEntries(const Wal::Batch& batch) const;

  // INVALID_ARGUMENT when `batch`, with its NewEntries, does not fit the log.
  [[nodiscard]] absl::Status Validate(const Wal::Batch& batch,
                                      std::span<const Entry> entries) const;
  // The same of a compaction.
  [[nodiscard]] absl::Status ValidateStart(const SnapshotMetadata& start) const;

  // How much space the records of a batch need: in the file, and for encoding them. 0 when there
  // is nothing to write.
  struct Size {
    uint64_t file_bytes = 0;
    size_t scratch_bytes = 0;
  };
  [[nodiscard]] static Size SizeOf(const Wal::Batch& batch, std::span<const Entry> entries);
  // Adds the records. Every prefix of them is a state that Raft may be restarted in.
  void Encode(const Wal::Batch& batch, std::span<const Entry> entries, BatchEncoder& encoder) const;

  // The batch, or the start, has been written.
  void Remember(const Wal::Batch& batch, std::span<const Entry> entries);
  void RememberStart(const SnapshotMetadata& start);

 private:
  SnapshotMetadata start_;
  HardState hard_state_;
  Index last_index_ = 0;
  TermRuns terms_;
};

}  // namespace keelson::raft::wal

#endif  // KEELSON_RAFT_INTERNAL_WAL_GROUP_H_
