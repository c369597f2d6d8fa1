// Fits together what the log and the state machine kept of the last run.
#ifndef KEELSON_RAFT_INTERNAL_RECOVERY_H_
#define KEELSON_RAFT_INTERNAL_RECOVERY_H_

#include "absl/status/statusor.h"
#include "raft/snapshot_store.h"
#include "raft/state_machine.h"
#include "raft/types.h"
#include "raft/wal.h"

namespace keelson::raft {

struct Recovery {
  Wal::Recovered log;        // its hard state's commit covers `applied`
  SnapshotMetadata applied;  // where the state machine stands; within the log
};

// When the machine is behind the start of the log (a received snapshot was recorded, but the
// process died before loading it), loads that snapshot first.
// DATA_LOSS when no snapshot covers the gap, or the machine is ahead of the log.
absl::StatusOr<Recovery> Recover(Wal::Recovered log, StateMachine& machine,
                                 SnapshotStore& snapshots);

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_RECOVERY_H_
