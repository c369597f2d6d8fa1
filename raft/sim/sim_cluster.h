// One run: a cluster of simulated machines, clients, and faults, all from one seed.
//
//   const RunResult result = RunSeed({.seed = 7});
//   if (result.violation) Print(*result.violation);
//
// A run has two parts. In the first, faults happen while clients work, and every event is
// followed by the invariants. Then everything heals: a leader must appear within ten
// election timeouts, a new write must succeed and reach all nodes, every acknowledged write
// must be there, and all states must be equal.
#ifndef KEELSON_RAFT_SIM_SIM_CLUSTER_H_
#define KEELSON_RAFT_SIM_SIM_CLUSTER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "raft/internal/host_mutation.h"
#include "raft/internal/mutation.h"
#include "raft/sim/client_log.h"
#include "raft/sim/conduct.h"
#include "raft/sim/coverage.h"
#include "raft/sim/fault_counts.h"
#include "raft/sim/history.h"
#include "raft/sim/invariants.h"
#include "raft/sim/load.h"
#include "raft/sim/nemesis.h"
#include "raft/sim/run_diagram.h"
#include "raft/sim/sim_client.h"
#include "raft/sim/sim_network.h"
#include "raft/sim/sim_node.h"
#include "raft/sim/sim_world.h"
#include "raft/sim/swarm.h"
#include "raft/sim/wire_rules.h"

namespace keelson::raft::sim {

struct RunOptions {
  uint64_t seed = 0;
  int nodes = 3;
  std::string profile = "default";
  bool trace = false;
  // A planted defect; needs a program with defects in it.
  Mutation mutation = Mutation::kNone;
  HostMutation host_mutation = HostMutation::kNone;
  std::optional<Swarm> swarm = {};  // else drawn from the seed
  Coverage* coverage = nullptr;     // may be null; hears of the run
  RunDiagram* diagram = nullptr;    // the same
};

struct RunResult {
  uint64_t seed = 0;
  std::optional<Violation> violation;
  uint64_t steps = 0;
  uint64_t trace_hash = 0;
  absl::Duration virtual_time;
  std::string swarm;
  // What happened, to know that a run was worth it.
  Index committed = 0;
  uint64_t elections = 0;
  uint64_t membership_changes = 0;
  uint64_t crashes = 0;
  uint64_t partitions = 0;
  uint64_t losses = 0;            // of durable data, that a node found out
  uint64_t groups = 1;            // there have been
  uint64_t sleeps = 0;            // how often a member of one fell asleep
  std::vector<double> failovers;  // see Nemesis
  FaultCounts faults;
  uint64_t keys_checked = 0;   // for linearizability, without revisions
  uint64_t keys_given_up = 0;  // of these, too hard to decide
  History::Counters history;
  SimNetwork::Counters network;
};

// What `seed` stands for when all profiles and sizes of a group are mixed: of two seeds in a row one
// is of the default profile.
RunOptions MixedRun(uint64_t seed, Mutation mutation);

RunResult RunSeed(const RunOptions& options);

// The command that shows the run again.
std::string ReplayCommand(const RunOptions& options);

class SimCluster {
 public:
  explicit SimCluster(const RunOptions& options);
  ~SimCluster();
  RunResult Run();

 private:
  void Connect();
  // Runs events until `until` or until `done` says so, whichever is first; false when the time
  // ran out or an invariant broke.
  bool RunUntil(absl::Duration until, const std::function<bool()>& done);
  void AfterEvent();
  void DrawStep();
  void CheckLiveness();
  // True when the membership is not joint, or became so in time.
  bool LeaveJoint(absl::Duration patience);
  // True when the leader has all committed and all peers in step, or an invariant broke.
  bool ComesToRest(absl::Duration patience);
  void CheckFinalStates();
  void CheckClientLog();
  // The leader of the highest term, if every member agrees on it.
  [[nodiscard]] SimNode* Leader() const;
  // The members by the membership of the leader; empty without one.
  [[nodiscard]] std::vector<NodeId> Members() const;
  [[nodiscard]] bool AllApplied(Index index) const;
  [[nodiscard]] SimNode& NodeOf(NodeId id) const { return *nodes_[id - 1]; }
  // Now and then a node is asked where it stands.
  void AskForStatus();
  // `id` is, for some time.
  void WatchClosely(NodeId id);
  [[nodiscard]] std::vector<SimMember*> AllMembers() const;
  [[nodiscard]] FaultCounts Faults() const;
  [[nodiscard]] uint64_t Losses() const;
  RunResult Result() const;

  const RunOptions options_;
  const Swarm swarm_;
  SimWorld world_;
  Random random_;                  // of questions
  const std::vector<NodeId> ids_;  // of all machines; the first swarm_.nodes are members at first
  Invariants invariants_;
  Conduct conduct_;
  WireRules wire_;
  History history_;
  ClientLog client_log_;
  SimNetwork network_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::unique_ptr<Nemesis> nemesis_;
  std::unique_ptr<Load> load_;
  uint64_t keys_checked_ = 0;
  uint64_t keys_given_up_ = 0;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_SIM_CLUSTER_H_
