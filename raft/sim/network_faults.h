// The faults of the network that last for a while: partitions, clogged links.
#ifndef KEELSON_RAFT_SIM_NETWORK_FAULTS_H_
#define KEELSON_RAFT_SIM_NETWORK_FAULTS_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "base/random.h"
#include "raft/sim/fault_counts.h"
#include "raft/sim/sim_network.h"
#include "raft/sim/sim_world.h"
#include "raft/sim/swarm.h"
#include "raft/types.h"

namespace keelson::raft::sim {

class NetworkFaults {
 public:
  // Borrowed, outlives it.
  struct Env {
    SimWorld& world;
    SimNetwork& network;
    const Swarm& swarm;
    Random& random;
    FaultCounts& counts;
  };
  // `ids`: of all machines.
  NetworkFaults(const Env& env, std::vector<NodeId> ids) : env_(env), ids_(std::move(ids)) {}

  // Cuts links by some pattern. `leader`: who is cut off by patterns that aim at one; kNoNode: anyone.
  void CutLinks(NodeId leader);
  void ClogLink();
  void Swizzle();
  // Ends all of that for good.
  void Heal();

  [[nodiscard]] uint64_t partitions() const { return partitions_; }

 private:
  absl::Duration Exponential(absl::Duration mean);
  NodeId RandomId() { return ids_[env_.random.Below(ids_.size())]; }

  const Env env_;
  const std::vector<NodeId> ids_;
  bool on_ = true;
  uint64_t partitions_ = 0;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_NETWORK_FAULTS_H_
