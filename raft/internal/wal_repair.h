// What is left of a damaged log, and a new log in its place. Used by member_storage.cc, which knows
// what may be kept.
#ifndef KEELSON_RAFT_INTERNAL_WAL_REPAIR_H_
#define KEELSON_RAFT_INTERNAL_WAL_REPAIR_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "raft/types.h"
#include "raft/wal.h"

namespace keelson::raft::wal {

// What can be relied on of a log that may be damaged.
struct Salvage {
  absl::Status damage;  // what Wal::Open says of it; OK: the log is whole
  // An earlier state of the log: what was written before the first bad place. Nothing if not
  // even the start of the log can be read.
  std::optional<Wal::Recovered> rest;
  Index highest_entry = 0;  // of all sound entries, those behind the damage included; 0: unknown
};

// Reads what is left of a log, changing nothing. NOT_FOUND, FAILED_PRECONDITION and UNIMPLEMENTED
// as Wal::Open.
absl::StatusOr<Salvage> ReadDamaged(FileSystem& fs, const std::string& dir,
                                    const Identity& identity);

// A log that begins anew.
struct Restart {
  SnapshotMetadata start;
  std::vector<Entry> entries;  // consecutive from start.index + 1
  HardState hard_state;        // its commit within the entries
};

// Makes the hard state of `restart` that of a member which has lost something, knows of its earlier
// life no more than `restart`, and whose machine is at `applied`: its new incarnation is `incarnation`,
// or the one after that of its earlier life if that is greater.
void BeginLife(Restart& restart, const SnapshotMetadata& applied, uint64_t incarnation);

// Replaces the log in `dir`, if any, durably by one that holds `restart`. After a crash there is
// the old log or the new one. The files of the old one stay: the next Wal::Open renames them to
// *.wal.damaged. Call it only with a hard state that says that something was lost, unless
// nothing was: docs/decisions/0011. RESOURCE_EXHAUSTED: no space, nothing has changed.
absl::Status StartOver(FileSystem& fs, const std::string& dir, const Identity& identity,
                       const Restart& restart, const Wal::Options& options);

}  // namespace keelson::raft::wal

#endif  // KEELSON_RAFT_INTERNAL_WAL_REPAIR_H_
