// What a group of a host finds on disk when it starts, and what it makes of it.
#ifndef KEELSON_RAFT_INTERNAL_HOST_STORAGE_H_
#define KEELSON_RAFT_INTERNAL_HOST_STORAGE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/internal/shared_wal.h"
#include "raft/snapshot_store.h"
#include "raft/state_machine.h"
#include "raft/types.h"
#include "raft/wal.h"

namespace keelson::raft {

struct GroupParts {
  GroupId id = 0;
  NodeId host = kNoNode;
  SharedWal& wal;
  StateMachine& machine;
  SnapshotStore& snapshots;
};

// Brings `log`, which the shared log holds of the group, into agreement with the machine and the
// snapshots, by the rules of docs/decisions/0011. A group that has lost something, now or as the
// log was opened (its hard state says so), keeps what fits and recovers; where that is another log
// than `log`, it begins anew in the shared log with an incarnation of at least `incarnation`. True:
// that has been written, and is durable after the next sync.
//
// `what`: what was found here to be lost, if it was.
//
// DATA_LOSS: something is lost, and the other members are no majority, so that nobody can bring it
// back. RESOURCE_EXHAUSTED: no space. Nothing was changed.
absl::StatusOr<bool> FitGroup(const GroupParts& parts, uint64_t incarnation, Wal::Recovered& log,
                              std::optional<std::string>* what);

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_HOST_STORAGE_H_
