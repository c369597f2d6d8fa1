// What one run of the simulator does to its cluster, drawn from the seed. Swarm testing:
// each run switches on a random part of the faults, with intensities from wide ranges, since
// faults that are always on hide what only happens without them.
#ifndef KEELSON_RAFT_SIM_SWARM_H_
#define KEELSON_RAFT_SIM_SWARM_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

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
  int spares = 0;  // machines that are no members at first
  // Groups at first on hosts of many (HostCluster); 0: one group, of members that have a machine each.
  int groups = 0;
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
  // Probability that a fault waits for a moment of the protocol and strikes there.
  double ambush = 0;
  double private_leaders = 0;     // that a new leader reaches one other node only, for a while
  absl::Duration turns_interval;  // two nodes lead in turns, and only one other hears them
  absl::Duration leader_crash_interval;  // a leader that all follow crashes
  absl::Duration private_time = absl::Milliseconds(30);
  double kill_share = 0;        // of cuts in an operation: the process is killed, not the power
  absl::Duration witness_sync;  // what a sync of the last member's disk takes; zero: as others
  bool quiet_end = false;       // the load ends with the faults
  double power_share = 0.5;     // of these, as a loss of power rather than a killed process
  // After a failed write or sync only the process starts anew, and the page cache goes on
  // showing what the disk may not hold.
  bool keep_cache_after_error = false;
  double cut_share = 0;                   // of these, in the middle of a later disk operation
  double crash_loop_share = 0;            // of these, with more crashes right after the restart
  absl::Duration cluster_crash_interval;  // all nodes at once
  absl::Duration restart_delay = absl::Milliseconds(100);
  double changed_options = 0;     // probability that a restart brings other limits
  absl::Duration pause_interval;  // a random node stops for a while
  absl::Duration pause_time = absl::Milliseconds(300);
  double suspend_share = 0;     // of these, with its clock
  double long_pause_share = 0;  // of these, for many election timeouts
  // That the thread which writes stands still when it has sent that its node refuses something, and
  // has not told the node yet what is durable.
  double halts = 0;
  absl::Duration halt_time = absl::Milliseconds(5);
  int slow_nodes = 0;  // nodes whose threads take slow_factor times as long to run
  double slow_factor = 50;
  absl::Duration partition_interval;  // links are cut, and healed after a while
  absl::Duration partition_time = absl::Milliseconds(400);
  absl::Duration clog_interval;  // a link holds back what it carries for a while
  absl::Duration clog_time = absl::Milliseconds(200);
  absl::Duration swizzle_interval;     // links clog one by one, and open in another order
  absl::Duration transfer_interval;    // leadership is asked to move, or a node to campaign
  absl::Duration membership_interval;  // a change of the membership is proposed
  absl::Duration groups_interval;      // with `groups`: a group comes or goes
  absl::Duration bad_sync_interval;    // a sync of a random node fails, and power soon after
  absl::Duration full_disk_interval;   // a random node's disk fills up for a while
  absl::Duration full_disk_time = absl::Milliseconds(500);
  absl::Duration damage_interval;      // a random node is switched off and its disk damaged
  absl::Duration wipe_interval;        // a random node starts anew with an empty disk
  absl::Duration disk_stall_interval;  // a random node's disks do nothing for a while
  absl::Duration disk_stall_time = absl::Milliseconds(500);
  // A node's clock changes its rate and its wall clock jumps. The rates stay within
  // max_clock_drift, or, with wild_clocks, between half and double.
  absl::Duration clock_interval;
  bool wild_clocks = false;

  int clients = 2;
  int keys = 3;
  absl::Duration think_time = absl::Milliseconds(10);
  absl::Duration client_timeout = absl::Milliseconds(400);
  double read_share = 0.4;
  uint64_t max_value_bytes = 64;
  double huge_share = 0;  // of the writes, with a value of up to huge_bytes
  uint64_t huge_bytes = 30'000;
  absl::Duration burst_interval;  // many writes come at once
  uint64_t burst_size = 30;
  absl::Duration idle_interval;  // nobody asks for anything for a while
  absl::Duration idle_time = absl::Milliseconds(500);
};

// Fills in sizes and windows: small ones, down to the smallest, so that every limit is met.
void DrawLimits(Random& random, Node::Options& options);

// One kind of runs; see Profiles.
struct Profile {
  const char* name = "";
  const char* what = "";
  // Which groups of faults may be on. With `certain` they are, else each by chance.
  bool network = false;
  bool machines = false;
  bool disks = false;
  bool clocks = false;
  bool membership = false;
  bool load = false;
  bool certain = true;
  void (*tune)(Random& random, Swarm& swarm) = nullptr;  // last; may be null
};

// The first is the default: everything by chance, and one run in six without any fault.
std::span<const Profile> Profiles();
// Null if there is none of that name.
const Profile* FindProfile(std::string_view name);

// The same for the same stream.
Swarm DrawSwarm(Random random, int nodes, const Profile& profile);

// One line that says what is on, for people.
std::string Describe(const Swarm& swarm);

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_SWARM_H_
