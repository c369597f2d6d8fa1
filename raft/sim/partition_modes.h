// The shapes in which a network falls apart. Pure: who, and by which chance, comes in.
#ifndef KEELSON_RAFT_SIM_PARTITION_MODES_H_
#define KEELSON_RAFT_SIM_PARTITION_MODES_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "base/random.h"
#include "raft/sim/fault_counts.h"
#include "raft/types.h"

namespace keelson::raft::sim {

enum class PartitionMode : uint8_t {
  kUniformAssignment = 0,  // two sides, each node on either with equal chance
  kUniformSize = 1,        // two sides, every size equally likely
  kOneWaySplit = 2,        // two sides, and one of them does not hear the other
  kIsolateOne = 3,
  kIsolateLeader = 4,
  kDeafOrMute = 5,  // one node hears nothing, or is not heard
  kBridge = 6,      // all nodes but one see only that one
  kRing = 7,        // each node sees its two neighbours
};
inline constexpr int kPartitionModes = 8;

// The directions (from, to) that `mode` cuts between `nodes`; perhaps none.
// `leader`: who is isolated by kIsolateLeader; kNoNode: anyone.
std::vector<std::pair<NodeId, NodeId>> CutsOf(PartitionMode mode, const std::vector<NodeId>& nodes,
                                              NodeId leader, Random& random);

// What it counts as.
Fault FaultOf(PartitionMode mode);

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_PARTITION_MODES_H_
