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
#include <set>
#include <string>
#include <vector>

#include "raft/sim/history.h"
#include "raft/sim/invariants.h"
#include "raft/sim/sim_client.h"
#include "raft/sim/sim_network.h"
#include "raft/sim/sim_node.h"
#include "raft/sim/sim_world.h"
#include "raft/sim/swarm.h"

namespace keelson::raft::sim {

// Defects planted on purpose, to see that they are found.
enum class Bug : uint8_t {
  kNone = 0,
  kAckBeforeSync,            // the log says "synced" without syncing
  kForgetVote,               // votes are not written to the log
  kPositionBehindEffects,    // a restart applies an entry twice
  kSnapshotWithoutSessions,  // a snapshot loses a part of the state
  kCommitWithoutQuorum,      // the network makes an acknowledgement out of a refusal
  kCommitTooFar,             // the network raises the commit index of heartbeats
  kStaleReads,               // reads are answered without asking for a read position
  kAckEarly,                 // a client's write is acknowledged when it is proposed
};
inline constexpr Bug kBugs[] = {Bug::kAckBeforeSync,
                                Bug::kForgetVote,
                                Bug::kPositionBehindEffects,
                                Bug::kSnapshotWithoutSessions,
                                Bug::kCommitWithoutQuorum,
                                Bug::kCommitTooFar,
                                Bug::kStaleReads,
                                Bug::kAckEarly};
const char* BugName(Bug bug);

struct RunOptions {
  uint64_t seed = 0;
  int nodes = 3;
  bool trace = false;
  Bug bug = Bug::kNone;
  std::optional<Swarm> swarm = {};  // else drawn from the seed
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
  History::Counters history;
  SimNetwork::Counters network;
  uint64_t disk_faults = 0;  // injected errors
  uint64_t writes_torn = 0;
};

RunResult RunSeed(const RunOptions& options);

// The command that shows the run again.
std::string ReplayCommand(const RunOptions& options);

class SimCluster {
 public:
  explicit SimCluster(const RunOptions& options);
  ~SimCluster();
  RunResult Run();

 private:
  // --- Faults: each schedules itself again while faults are on ---
  void Repeat(absl::Duration mean, std::function<void()> fault);
  void StartFaults();
  void CrashOne();
  void CrashNode(SimNode& node, CrashKind kind, absl::Duration restart_after);
  void RestartLater(SimNode& node, absl::Duration delay);
  void StartNode(SimNode& node);
  void CutLinks();
  void FillDisk();
  void AskForLeadership();
  void ChangeMembership();

  // Runs events until `until` or until `done` says so, whichever is first; false when the time
  // ran out or an invariant broke.
  bool RunUntil(absl::Duration until, const std::function<bool()>& done);
  void AfterEvent();
  void Heal();
  void CheckLiveness();
  // True when the membership is not joint, or became so in time.
  bool LeaveJoint(absl::Duration patience);
  void CheckFinalStates();
  // The leader of the highest term, if every member agrees on it.
  [[nodiscard]] SimNode* Leader() const;
  // The members by the membership of the leader; empty without one.
  [[nodiscard]] std::vector<NodeId> Members() const;
  [[nodiscard]] bool AllApplied(Index index) const;
  [[nodiscard]] SimNode& NodeOf(NodeId id) const { return *nodes_[id - 1]; }
  void InstallBug();
  [[nodiscard]] SimNode& RandomNode() { return *nodes_[random_.Below(nodes_.size())]; }
  absl::Duration Exponential(absl::Duration mean);
  RunResult Result() const;

  const RunOptions options_;
  const Swarm swarm_;
  SimWorld world_;
  Random random_;                  // of the faults
  const std::vector<NodeId> ids_;  // of all machines; the first swarm_.nodes are members at first
  std::set<NodeId> retired_;       // removal was proposed: ids never come back
  Invariants invariants_;
  History history_;
  SimNetwork network_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::vector<std::unique_ptr<SimClient>> clients_;
  bool faults_on_ = true;
  uint64_t crashes_ = 0;
  uint64_t partitions_ = 0;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_SIM_CLUSTER_H_
