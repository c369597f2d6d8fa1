// Makes the faults of a run with hosts of many groups: as Nemesis (nemesis.h) for machines, networks
// and disks, and what an operator of groups does.
#ifndef KEELSON_RAFT_SIM_HOST_NEMESIS_H_
#define KEELSON_RAFT_SIM_HOST_NEMESIS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "absl/time/time.h"
#include "base/random.h"
#include "raft/sim/fault_counts.h"
#include "raft/sim/invariants.h"
#include "raft/sim/network_faults.h"
#include "raft/sim/sim_host.h"
#include "raft/sim/sim_network.h"
#include "raft/sim/sim_world.h"
#include "raft/sim/swarm.h"

namespace keelson::raft::sim {

class HostNemesis {
 public:
  // What it acts on. Borrowed, outlives it.
  struct Env {
    SimWorld& world;
    SimNetwork& network;
    Invariants& invariants;  // hears of hosts that cannot start
    const std::vector<std::unique_ptr<SimHost>>& hosts;
    const std::vector<std::unique_ptr<SimGroup>>& groups;  // grows
    const Swarm& swarm;
    std::function<void()> add_group;
    std::function<void(SimGroup&)> retire_group;
  };
  explicit HostNemesis(const Env& env);

  void Start();
  // Call after every event: ends the processes that cannot go on.
  void EndDoomed();
  // Ends all faults and undoes what lasts; starts who is down.
  void Heal();

  [[nodiscard]] const FaultCounts& counts() const { return counts_; }
  [[nodiscard]] uint64_t crashes() const { return crashes_; }
  [[nodiscard]] uint64_t partitions() const { return network_.partitions(); }

 private:
  void Repeat(absl::Duration mean, std::function<void()> fault);
  absl::Duration Exponential(absl::Duration mean);
  [[nodiscard]] SimHost& RandomHost() { return *env_.hosts[random_.Below(env_.hosts.size())]; }
  // One that is not retired; null: there is none.
  SimGroup* RandomGroup();
  [[nodiscard]] std::vector<SimGroup*> Live() const;

  void CrashOne();
  void CrashAll();
  void CrashHost(SimHost& host, CrashKind kind, absl::Duration restart_after);
  void StartHost(SimHost& host);
  void PauseOne();
  void FillDisk();
  void FailSync();
  void StallDisk();
  void AskForLeadership();
  void ChangeGroups();
  // True when every group can do without `host` and all that are impaired already.
  [[nodiscard]] bool MayImpair(const SimHost& host) const;
  void DamageOne();
  void WipeOne();

  const Env env_;
  Random random_;
  FaultCounts counts_;
  NetworkFaults network_;
  bool on_ = true;
  std::set<NodeId> kills_;  // hosts whose cut in an operation is the end of the process only
  uint64_t crashes_ = 0;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_HOST_NEMESIS_H_
