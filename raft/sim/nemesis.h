// Makes the faults of a run: each kind schedules itself again and again until Heal.
#ifndef KEELSON_RAFT_SIM_NEMESIS_H_
#define KEELSON_RAFT_SIM_NEMESIS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/random.h"
#include "raft/sim/fault_counts.h"
#include "raft/sim/invariants.h"
#include "raft/sim/membership_churn.h"
#include "raft/sim/network_faults.h"
#include "raft/sim/sim_network.h"
#include "raft/sim/sim_node.h"
#include "raft/sim/sim_world.h"
#include "raft/sim/swarm.h"

namespace keelson::raft::sim {

class Nemesis {
 public:
  // What it acts on. Borrowed, outlives it.
  struct Env {
    SimWorld& world;
    SimNetwork& network;
    Invariants& invariants;
    const std::vector<std::unique_ptr<SimNode>>& nodes;
    const Swarm& swarm;
  };
  explicit Nemesis(const Env& env);

  // Starts the machines, not at the same moment, and the faults.
  void Start();

  // What a node reports; called in the middle of its step.
  void OnEvent(NodeId id, const AnyEvent& event);
  // A message is about to be handed to its receiver.
  void OnArrive(const Message& message);
  // What has just been done to a node's log.
  void OnDisk(NodeId id, DiskStep step);

  // Ends the node's process if that cannot go on. Call when the node has done something.
  void EndDoomed(SimNode& node);

  // Ends all faults and undoes what lasts: links, clocks, full disks; starts who is down.
  void Heal();

  [[nodiscard]] const FaultCounts& counts() const { return counts_; }
  // For each leader that crashed while all followed it: how long until there was another one, in
  // election timeouts (Options::election_ticks).
  [[nodiscard]] const std::vector<double>& failovers() const { return failovers_; }
  [[nodiscard]] uint64_t crashes() const { return crashes_; }
  [[nodiscard]] uint64_t partitions() const { return network_.partitions(); }

 private:
  void Repeat(absl::Duration mean, std::function<void()> fault);

  // --- nemesis.cc: machines ---
  void CrashOne();
  void CrashAll();
  void CrashLeader();
  [[nodiscard]] absl::Duration ElectionTimeout() const {
    return env_.swarm.node.tick_interval * env_.swarm.node.core.election_ticks;
  }
  void CrashNode(SimNode& node, CrashKind kind, absl::Duration restart_after);
  void CrashLoop(SimNode& node, uint64_t times);
  void RestartLater(SimNode& node, absl::Duration delay);
  void StartNode(SimNode& node);
  void PauseOne();
  // For a while, but for `room` bytes.
  void FillDisk(SimNode& node, uint64_t room);
  void FailSync();
  void StallDisk(SimNode& node, absl::Duration time);
  void ChangeClock();
  void AskForLeadership();
  void ChangeMembership();

  // --- nemesis_damage.cc ---
  void DamageOne();
  void WipeOne();
  // True when the group can bring back `node` and all that have lost something already: the others
  // are a majority of every half of every membership that may be in force, now or later.
  [[nodiscard]] bool MayImpair(const SimNode& node) const;

  // --- nemesis_ambush.cc ---
  void Ambush(std::function<void()> fault);
  void AtElection(NodeId leader);
  void AtVote(NodeId voter, NodeId candidate);
  void AtMembershipChange(NodeId id, bool joint);
  void MaybeKeepPrivate(NodeId leader);
  void KeepPrivate(NodeId leader, absl::Duration time);
  void TakeTurns();
  void LosePower(SimNode& node);
  // Somewhere in its next operations the node's power fails, or its process is killed.
  void CutInOperation(SimNode& node, uint64_t operations);
  void CutPair(NodeId a, NodeId b);
  void Isolate(NodeId node);
  void LeaveBehind(SimNode& node);
  void CutOff(NodeId node, absl::Duration time);
  void CutFor(absl::Duration time, const std::vector<std::pair<NodeId, NodeId>>& cuts);
  void ChangeAt(SimNode& node);

  [[nodiscard]] SimNode& NodeOf(NodeId id) { return *env_.nodes[id - 1]; }
  [[nodiscard]] SimNode& RandomNode() { return *env_.nodes[random_.Below(env_.nodes.size())]; }
  // Who leads, or thinks so; kNoNode without anyone.
  [[nodiscard]] NodeId Leader() const;
  absl::Duration Exponential(absl::Duration mean);
  [[nodiscard]] std::vector<NodeId> Ids() const;

  const Env env_;
  Random random_;
  MembershipChurn churn_;
  FaultCounts counts_;
  NetworkFaults network_;
  bool on_ = true;
  absl::Duration quiet_until_;     // no ambush before
  NodeId last_private_ = kNoNode;  // the last leader that was kept private
  NodeId before_last_private_ = kNoNode;
  // The nodes that take turns in leading, how long each does, and when it is the first one's again.
  std::set<NodeId> in_turns_;
  absl::Duration turn_;
  absl::Duration turns_until_;
  std::set<NodeId> doomed_;   // nodes that lose power when they have recovered next
  std::set<NodeId> kills_;    // nodes whose cut in an operation is the end of the process only
  absl::Duration led_since_;  // the last election
  std::optional<absl::Duration> leader_crashed_at_;  // and there is no other one yet
  std::vector<double> failovers_;
  uint64_t crashes_ = 0;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_NEMESIS_H_
