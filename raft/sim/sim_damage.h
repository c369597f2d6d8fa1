// What time and accidents do to the disk of a machine that is off.
#ifndef KEELSON_RAFT_SIM_SIM_DAMAGE_H_
#define KEELSON_RAFT_SIM_SIM_DAMAGE_H_

#include <string>

#include "base/random.h"
#include "base/testing/sim_file_system.h"
#include "raft/sim/fault_counts.h"

namespace keelson::raft::sim {

// Flips a bit, turns a sector into zeros or deletes a segment, in the log below `wal_dir` or in a
// snapshot below `snapshot_dir`. Only what can be told from a torn write (raft/docs/format.md,
// section 4): not a sector of the last batch, not the last segment. False when there was nothing
// to damage.
bool DamageDisk(SimFileSystem& disk, const std::string& wal_dir, const std::string& snapshot_dir,
                Random& random, FaultCounts& counts);

// Removes all files, durably.
void WipeDisk(SimFileSystem& disk);

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_SIM_DAMAGE_H_
