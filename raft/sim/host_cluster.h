// One run of several hosts with several groups each, from one seed: as SimCluster (sim_cluster.h),
// with the invariants and the histories of each group by itself. Groups come, go, sleep and wake.
// At the end each group that is left must do what SimCluster asks of its one, and sleep.
#ifndef KEELSON_RAFT_SIM_HOST_CLUSTER_H_
#define KEELSON_RAFT_SIM_HOST_CLUSTER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "raft/sim/host_nemesis.h"
#include "raft/sim/load.h"
#include "raft/sim/sim_cluster.h"
#include "raft/sim/sim_host.h"
#include "raft/sim/sim_network.h"
#include "raft/sim/sim_world.h"
#include "raft/sim/swarm.h"

namespace keelson::raft::sim {

class HostCluster {
 public:
  // `swarm.groups` is greater than 0. `stickiness`: see WireRules.
  HostCluster(const RunOptions& options, const Swarm& swarm, absl::Duration stickiness);
  ~HostCluster();
  RunResult Run();

 private:
  void Connect();
  void AddGroup();
  void RetireGroup(SimGroup& group);
  // Null for a message between hosts.
  [[nodiscard]] SimGroup* GroupOf(const Message& message) const;
  [[nodiscard]] SimGroup& GroupAt(GroupId id) const { return *groups_[id - 1]; }
  [[nodiscard]] SimHost& HostAt(NodeId id) const { return *hosts_[id - 1]; }
  [[nodiscard]] std::vector<SimMember*> MembersOf(const SimGroup& group) const;
  [[nodiscard]] std::vector<SimGroup*> Live() const;

  [[nodiscard]] bool Broken() const { return Found().has_value(); }
  [[nodiscard]] const std::optional<Violation>& Found() const;
  bool RunUntil(absl::Duration until, const std::function<bool()>& done);
  void AskForStatus();

  // The leader of the highest term, if every member follows it; else null.
  [[nodiscard]] SimMember* LeaderOf(const SimGroup& group) const;
  [[nodiscard]] bool AllApplied(const SimGroup& group, Index index) const;
  void CheckLiveness();
  void CheckWrites(absl::Duration election);
  void CheckRest(absl::Duration election);
  void CheckFinalStates(SimGroup& group);
  void CheckClientLogs();
  RunResult Result() const;

  const RunOptions options_;
  const Swarm swarm_;
  const absl::Duration stickiness_;
  SimWorld world_;
  Random random_;
  Invariants invariants_;  // of what concerns no group
  SimNetwork network_;
  std::vector<std::unique_ptr<SimGroup>> groups_;  // by id - 1; those that are retired, too
  std::vector<std::unique_ptr<SimHost>> hosts_;    // by id - 1
  std::unique_ptr<HostNemesis> nemesis_;
  std::map<GroupId, std::unique_ptr<Load>> loads_;
  uint64_t keys_checked_ = 0;
  uint64_t keys_given_up_ = 0;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_HOST_CLUSTER_H_
