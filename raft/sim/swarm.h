// What one run of the simulator does to its cluster, drawn from the seed. Swarm testing:
// each run switches on a random part of the faults, with intensities from wide ranges, since
// faults that are always on hide what only happens without them.
#ifndef KEELSON_RAFT_SIM_SWARM_H_
#define KEELSON_RAFT_SIM_SWARM_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "base/random.h"
#include "base/testing/sim_file_system.h"
#include "raft/node.h"
#include "raft/sim/kv_machine.h"
#include "raft/sim/sim_executor.h"
#include "raft/sim/sim_network.h"

namespace keelson::raft::sim {

// Mean times between faults; zero switches a fault off.
struct Swarm {
  int nodes = 3;
  int spares = 0;                                 // machines that are no members at first
  absl::Duration safety_time = absl::Seconds(3);  // with faults; then everything heals

  Node::Options node;
  uint64_t segment_bytes = 32 << 10;
  KvMachine::Options machine;
  SimNetwork::Faults network;
  SimFileSystem::Faults disk;
  SimExecutor::Options executor;
  double max_clock_drift = 0;  // each node's clock runs at 1 +- this
  double slow_apply = 0;

  absl::Duration crash_interval;  // a random node crashes and restarts
  double power_share = 0.5;       // of these, as a loss of power rather than a killed process
  // After a failed write or sync only the process starts anew, and the page cache goes on
  // showing what the disk may not hold.
  bool keep_cache_after_error = false;
  double cut_share = 0;                   // of these, in the middle of a later disk operation
  absl::Duration cluster_crash_interval;  // all nodes at once
  absl::Duration restart_delay = absl::Milliseconds(100);
  absl::Duration pause_interval;  // a random node stops for a while
  absl::Duration pause_time = absl::Milliseconds(300);
  absl::Duration partition_interval;  // links are cut, and healed after a while
  absl::Duration partition_time = absl::Milliseconds(400);
  absl::Duration transfer_interval;    // leadership is asked to move, or a node to campaign
  absl::Duration membership_interval;  // a change of the membership is proposed
  absl::Duration full_disk_interval;   // a random node's disk fills up for a while
  absl::Duration full_disk_time = absl::Milliseconds(500);

  int clients = 2;
  int keys = 3;
  absl::Duration think_time = absl::Milliseconds(10);
  absl::Duration client_timeout = absl::Milliseconds(400);
  double read_share = 0.4;
  uint64_t max_value_bytes = 64;
};

// The same for the same stream. One run in six is calm: no fault at all.
Swarm DrawSwarm(Random random, int nodes);

// One line that says what is on, for people.
std::string Describe(const Swarm& swarm);

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_SWARM_H_
