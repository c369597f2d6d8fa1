#include "raft/sim/swarm.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace keelson::raft::sim {
namespace {

// Log-uniform: small and large magnitudes are equally likely.
double Between(Random& random, double low, double high) {
  // Powers of two times a fraction, so that no C library's exp() shifts the run.
  int steps = 0;
  while (std::ldexp(low, steps + 1) <= high) ++steps;
  const auto shift = random.Below(static_cast<uint64_t>(steps) + 1);
  const double value = std::ldexp(low, static_cast<int>(shift)) * (1 + random.Unit());
  return value < high ? value : high;
}

absl::Duration Between(Random& random, absl::Duration low, absl::Duration high) {
  return absl::Nanoseconds(
      static_cast<int64_t>(Between(random, static_cast<double>(absl::ToInt64Nanoseconds(low)),
                                   static_cast<double>(absl::ToInt64Nanoseconds(high)))));
}

// Faults of one group, each switched on with its own probability, or more often when the
// profile is about them.
class Chance {
 public:
  Chance(const Random& random, bool certain) : random_(random), certain_(certain) {}
  bool operator()(double p) {
    const double chance = certain_ ? std::min(1.0, 2 * p) : p;
    return random_.Bernoulli(chance);
  }
  Random& random() { return random_; }

 private:
  Random random_;
  const bool certain_;
};

void DrawSizes(Random& random, Swarm& swarm) {
  Options& core = swarm.node.core;
  swarm.node.tick_interval = absl::Milliseconds(10);
  swarm.node.proposal_wait = Between(random, absl::Milliseconds(10), absl::Milliseconds(400));
  core.election_ticks = 10;
  core.heartbeat_ticks = static_cast<int>(random.Between(1, 3));
  core.pre_vote = random.Bernoulli(0.85);
  core.check_quorum = random.Bernoulli(0.85);
  core.forward_proposals = random.Bernoulli(0.9);
  DrawLimits(random, swarm.node);
  swarm.segment_bytes = static_cast<uint64_t>(Between(random, 4 << 10, 64 << 10));
  if (random.Bernoulli(0.5)) swarm.machine.spontaneous_flush = Between(random, 0.01, 0.5);
  swarm.clients = static_cast<int>(random.Between(1, 4));
  swarm.keys = static_cast<int>(random.Between(1, 5));
  swarm.think_time = Between(random, absl::Milliseconds(1), absl::Milliseconds(32));
  swarm.read_share = random.Unit() * 0.8;
  if (random.Bernoulli(0.2)) swarm.max_value_bytes = 3000;
  swarm.quiet_end = random.Bernoulli(0.4);
  core.rank_rivals = random.Bernoulli(0.85);
  core.forward_conf_changes = random.Bernoulli(0.7);
}

void DrawNetwork(Chance& on, Swarm& swarm) {
  SimNetwork::Faults& network = swarm.network;
  Random& random = on.random();
  network.reorder = random.Bernoulli(0.5);
  if (on(0.5)) network.drop = Between(random, 0.005, 0.3);
  if (on(0.5)) network.duplicate = Between(random, 0.01, 0.5);
  if (on(0.5)) {
    network.mean_tail = Between(random, absl::Microseconds(100), absl::Milliseconds(15));
  }
  if (on(0.3)) network.snapshot_failure = random.Unit() * 0.7;
  if (on(0.2)) {
    network.burst = Between(random, 0.0005, 0.01);
    network.burst_time = Between(random, absl::Milliseconds(5), absl::Milliseconds(100));
  }
  if (on(0.15)) network.corrupt = Between(random, 0.0005, 0.02);
  if (on(0.2)) network.reset = Between(random, 0.0005, 0.02);
  if (on(0.25)) network.replay = Between(random, 0.002, 0.1);
  if (on(0.15)) network.bytes_per_second = static_cast<uint64_t>(Between(random, 5e4, 5e6));
  if (on(0.5)) {
    swarm.partition_interval = Between(random, absl::Milliseconds(200), absl::Seconds(2));
    swarm.partition_time = Between(random, absl::Milliseconds(50), absl::Milliseconds(1600));
  }
  if (on(0.2)) {
    swarm.clog_interval = Between(random, absl::Milliseconds(50), absl::Seconds(1));
    swarm.clog_time = Between(random, absl::Milliseconds(10), absl::Milliseconds(640));
  }
  if (on(0.15)) {
    swarm.swizzle_interval = Between(random, absl::Milliseconds(300), absl::Seconds(2));
  }
}

void DrawMachines(Chance& on, Swarm& swarm) {
  Random& random = on.random();
  if (on(0.7)) {
    swarm.crash_interval = Between(random, absl::Milliseconds(100), absl::Seconds(2));
    swarm.power_share = random.Unit();
    swarm.cut_share = random.Bernoulli(0.5) ? random.Unit() : 0;
    swarm.crash_loop_share = random.Bernoulli(0.3) ? random.Unit() * 0.5 : 0;
    swarm.restart_delay = Between(random, absl::Milliseconds(5), absl::Milliseconds(1280));
    swarm.changed_options = random.Bernoulli(0.2) ? random.Unit() : 0;
  }
  if (on(0.2)) {
    swarm.cluster_crash_interval = Between(random, absl::Milliseconds(500), absl::Seconds(2));
  }
  if (on(0.3)) {
    swarm.pause_interval = Between(random, absl::Milliseconds(100), absl::Seconds(2));
    swarm.pause_time = Between(random, absl::Milliseconds(20), absl::Seconds(1));
    swarm.suspend_share = random.Bernoulli(0.3) ? random.Unit() : 0;
    swarm.long_pause_share = random.Bernoulli(0.05) ? 0.1 : 0;
  }
  if (on(0.3)) {
    swarm.transfer_interval = Between(random, absl::Milliseconds(50), absl::Seconds(1));
  }
  if (on(0.3)) {
    swarm.executor.stall = Between(random, 0.001, 0.1);
    swarm.executor.stall_delay = Between(random, absl::Milliseconds(1), absl::Milliseconds(50));
  }
  if (on(0.1)) {
    swarm.slow_nodes = 1;
    swarm.slow_factor = Between(random, 10, 400);
  }
  if (on(0.2)) swarm.ambush = Between(random, 0.02, 0.4);
  swarm.kill_share = random.Bernoulli(0.5) ? 0 : random.Unit();
  if (on(0.3)) swarm.slow_apply = Between(random, 0.01, 0.5);
}

void DrawMembership(Chance& on, Swarm& swarm) {
  Random& random = on.random();
  if (!on(0.35)) return;
  swarm.membership_interval = Between(random, absl::Milliseconds(20), absl::Milliseconds(640));
  swarm.spares = static_cast<int>(random.Between(0, random.Bernoulli(0.3) ? 4 : 2));
}

void DrawClocks(Chance& on, Swarm& swarm) {
  Random& random = on.random();
  Options& core = swarm.node.core;
  // Without pre-vote a member with a fast clock and a short log can keep all others from ever
  // timing out: plain Raft needs timeouts that overlap.
  if (on(0.3)) swarm.max_clock_drift = Between(random, 0.01, core.pre_vote ? 0.4 : 0.05);
  if (on(0.2)) {
    swarm.clock_interval = Between(random, absl::Milliseconds(50), absl::Seconds(2));
    swarm.wild_clocks = core.pre_vote && core.check_quorum && random.Bernoulli(0.5);
  }
}

void DrawDisks(Chance& on, Swarm& swarm) {
  SimFileSystem::Faults& disk = swarm.disk;
  Random& random = on.random();
  if (on(0.6)) {
    disk.sync_latency = Between(random, absl::Microseconds(50), absl::Milliseconds(10));
    disk.operation_latency = absl::Microseconds(5);
  }
  if (on(0.3)) {
    disk.slow_operation = Between(random, 0.001, 0.05);
    disk.slow_latency = Between(random, absl::Milliseconds(5), absl::Milliseconds(200));
  }
  if (on(0.2)) disk.write_error = Between(random, 0.0002, 0.01);
  if (on(0.2)) disk.sync_error = Between(random, 0.0002, 0.01);
  swarm.keep_cache_after_error = random.Bernoulli(0.5);
  if (on(0.2)) disk.read_error = Between(random, 0.0002, 0.02);
  if (on(0.1)) {
    swarm.bad_sync_interval = Between(random, absl::Milliseconds(200), absl::Seconds(2));
  }
  if (on(0.1)) disk.sync_directory_error = Between(random, 0.001, 0.05);
  if (on(0.25)) {
    swarm.full_disk_interval = Between(random, absl::Milliseconds(300), absl::Seconds(2));
    swarm.full_disk_time = Between(random, absl::Milliseconds(50), absl::Seconds(1));
  }
  if (on(0.15)) {
    swarm.disk_stall_interval = Between(random, absl::Milliseconds(300), absl::Seconds(2));
    swarm.disk_stall_time = Between(random, absl::Milliseconds(50), absl::Seconds(3));
    // The time of a stall is charged to operations that take some of their own.
    disk.operation_latency = absl::Microseconds(5);
    disk.sync_latency = std::max(disk.sync_latency, absl::Microseconds(50));
  }
}

void DrawLoad(Chance& on, Swarm& swarm) {
  Random& random = on.random();
  if (on(0.2)) {
    swarm.burst_interval = Between(random, absl::Milliseconds(100), absl::Seconds(1));
    swarm.burst_size = static_cast<uint64_t>(Between(random, 5, 80));
  }
  if (on(0.1)) {
    swarm.huge_share = Between(random, 0.005, 0.1);
    swarm.segment_bytes = std::max<uint64_t>(swarm.segment_bytes, 48 << 10);
  }
  if (on(0.15)) {
    swarm.idle_interval = Between(random, absl::Milliseconds(200), absl::Seconds(2));
    swarm.idle_time = Between(random, absl::Milliseconds(100), absl::Seconds(2));
  }
}

}  // namespace

void DrawLimits(Random& random, Node::Options& options) {
  Options& core = options.core;
  if (random.Bernoulli(0.5)) core.max_message_bytes = random.Below(200);
  if (random.Bernoulli(0.5)) {
    core.max_inflight_messages = static_cast<uint64_t>(random.Between(1, 8));
  }
  if (random.Bernoulli(0.3)) core.max_inflight_bytes = 1 + random.Below(2000);
  if (random.Bernoulli(0.3)) core.max_uncommitted_bytes = 1 + random.Below(2000);
  if (random.Bernoulli(0.3)) core.max_apply_bytes = 1 + random.Below(500);
  if (random.Bernoulli(0.1)) core.max_pending_reads = 1 + random.Below(4);
  if (random.Bernoulli(0.1)) options.max_proposals_queued = 1 + random.Below(8);
  options.compact_every_entries = static_cast<uint64_t>(Between(random, 1, 64));
  options.keep_entries = random.Bernoulli(0.6) ? random.Below(4) : random.Below(60);
}

Swarm DrawSwarm(Random random, int nodes, const Profile& profile) {
  Swarm swarm;
  swarm.nodes = nodes;
  Random sizes = random.Stream("sizes");
  DrawSizes(sizes, swarm);
  Random tuning = random.Stream("tuning");
  if (!profile.certain && random.Below(6) == 0) {
    if (profile.tune != nullptr) profile.tune(tuning, swarm);
    return swarm;
  }
  swarm.safety_time = absl::Milliseconds(random.Between(1500, 4000));
  const auto draw = [&](bool wanted, const char* label, void (*group)(Chance&, Swarm&)) {
    if (!wanted) return;
    Chance on(random.Stream(label), profile.certain);
    group(on, swarm);
  };
  draw(profile.network, "network", DrawNetwork);
  draw(profile.machines, "machines", DrawMachines);
  draw(profile.membership, "membership", DrawMembership);
  draw(profile.clocks, "clocks", DrawClocks);
  draw(profile.disks, "disks", DrawDisks);
  draw(profile.load, "load", DrawLoad);
  // Clients ask members; a leader on its way out of the membership is none that they know.
  if (swarm.membership_interval > absl::ZeroDuration()) swarm.node.core.forward_proposals = true;
  if (profile.tune != nullptr) profile.tune(tuning, swarm);
  if (swarm.wild_clocks) swarm.node.core.heartbeat_ticks = 1;
  return swarm;
}

std::string Describe(const Swarm& swarm) {
  const auto time = [](absl::Duration duration) {
    return duration == absl::ZeroDuration() ? std::string("off") : absl::FormatDuration(duration);
  };
  const SimNetwork::Faults& network = swarm.network;
  return absl::StrCat(
      "nodes=", swarm.nodes, "+", swarm.spares,
      swarm.groups == 0 ? "" : absl::StrCat(" groups=", swarm.groups),
      " safety=", time(swarm.safety_time), " drop=", network.drop, " duplicate=", network.duplicate,
      " reorder=", network.reorder, " tail=", time(network.mean_tail), " burst=", network.burst,
      " reset=", network.reset, " replay=", network.replay, " bandwidth=", network.bytes_per_second,
      " partitions=", time(swarm.partition_interval), " clogs=", time(swarm.clog_interval),
      " crashes=", time(swarm.crash_interval), " power=", swarm.power_share,
      " cuts=", swarm.cut_share, " ambush=", swarm.ambush, " private=", swarm.private_leaders,
      " turns=", time(swarm.turns_interval), " halts=", swarm.halts, " kills=", swarm.kill_share,
      " quiet=", swarm.quiet_end, " all=", time(swarm.cluster_crash_interval),
      " pauses=", time(swarm.pause_interval), " transfers=", time(swarm.transfer_interval),
      " members=", time(swarm.membership_interval), " drift=", swarm.max_clock_drift,
      " clocks=", time(swarm.clock_interval), " wild=", swarm.wild_clocks,
      " sync=", time(swarm.disk.sync_latency), " stalls=", time(swarm.disk_stall_interval),
      " sync_error=", swarm.disk.sync_error, " write_error=", swarm.disk.write_error,
      " bad_syncs=", time(swarm.bad_sync_interval), " keep_cache=", swarm.keep_cache_after_error,
      " full_disks=", time(swarm.full_disk_interval), " damage=", time(swarm.damage_interval),
      " wipes=", time(swarm.wipe_interval), " clients=", swarm.clients,
      " bursts=", time(swarm.burst_interval), " compact=", swarm.node.compact_every_entries,
      " keep=", swarm.node.keep_entries, " segment=", swarm.segment_bytes,
      " pre_vote=", swarm.node.core.pre_vote, " check_quorum=", swarm.node.core.check_quorum,
      " lease=", swarm.node.core.read_mode == ReadMode::kLeaseBased);
}

}  // namespace keelson::raft::sim
