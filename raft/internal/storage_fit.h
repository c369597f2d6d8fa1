// How the log of a member, its state machine and its snapshots fit together, and what is kept of
// them after a loss (docs/decisions/0011).
#ifndef KEELSON_RAFT_INTERNAL_STORAGE_FIT_H_
#define KEELSON_RAFT_INTERNAL_STORAGE_FIT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/random.h"
#include "raft/internal/wal_repair.h"
#include "raft/snapshot_store.h"
#include "raft/types.h"
#include "raft/wal.h"

namespace keelson::raft {

// `applied`: where the durable state of the machine ends.

// DATA_LOSS when the log, called `name`, and what else there is cannot come from one life. Any other
// error is one of the disk.
absl::Status CheckFit(const Wal::Recovered& log, const std::string& name,
                      const SnapshotMetadata& applied, SnapshotStore& snapshots);

// What the log becomes, when `rest` is all that is left of it; nothing: not even its start. The hard
// state is that of `rest`.
absl::StatusOr<wal::Restart> PlanRestart(const std::optional<Wal::Recovered>& rest,
                                         const SnapshotMetadata& applied, SnapshotStore& snapshots);

// For a life that begins now: milliseconds since 1970, and 22 bits of chance.
uint64_t DrawIncarnation(Clock& clock, Random& random);

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_STORAGE_FIT_H_
