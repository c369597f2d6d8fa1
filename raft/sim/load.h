// What clients ask of the cluster over a run: steady work, bursts, and times of idleness.
#ifndef KEELSON_RAFT_SIM_LOAD_H_
#define KEELSON_RAFT_SIM_LOAD_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "base/random.h"
#include "raft/sim/client_log.h"
#include "raft/sim/fault_counts.h"
#include "raft/sim/history.h"
#include "raft/sim/sim_client.h"
#include "raft/sim/sim_member.h"
#include "raft/sim/sim_world.h"
#include "raft/sim/swarm.h"

namespace keelson::raft::sim {

class Load {
 public:
  // All borrowed; they outlive the load. `number`: of this load in its world; each has clients of its
  // own.
  Load(SimWorld& world, std::vector<SimMember*> members, History& history, ClientLog& log,
       const Swarm& swarm, uint64_t number = 0);

  void Start();
  // No new operations from here on.
  void Stop();

  [[nodiscard]] FaultCounts counts() const;

 private:
  void ScheduleBurst();
  void ScheduleIdleTime();
  absl::Duration Exponential(absl::Duration mean);

  SimWorld& world_;
  const std::vector<SimMember*> nodes_;
  History& history_;
  ClientLog& log_;
  const Swarm& swarm_;
  const uint64_t first_client_;
  Random random_;
  std::vector<std::unique_ptr<SimClient>> clients_;
  std::vector<std::unique_ptr<SimClient>> once_;  // those of bursts, one write each
  FaultCounts counts_;
  bool stopped_ = false;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_LOAD_H_
