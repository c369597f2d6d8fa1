#include "raft/sim/swarm.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace keelson::raft::sim {
namespace {

// Log-uniform: small and large magnitudes are equally likely.
double Between(Random& random, double low, double high) {
  // Powers of two times a fraction, so that no C library's exp() shifts the run.
  const double steps = std::floor(std::log2(high / low));
  const auto shift = random.Below(static_cast<uint64_t>(steps) + 1);
  const double value = std::ldexp(low, static_cast<int>(shift)) * (1 + random.Unit());
  return value < high ? value : high;
}

absl::Duration Between(Random& random, absl::Duration low, absl::Duration high) {
  return absl::Nanoseconds(
      static_cast<int64_t>(Between(random, static_cast<double>(absl::ToInt64Nanoseconds(low)),
                                   static_cast<double>(absl::ToInt64Nanoseconds(high)))));
}

void DrawSizes(Random& random, Swarm& swarm) {
  Options& core = swarm.node.core;
  swarm.node.tick_interval = absl::Milliseconds(10);
  swarm.node.proposal_wait = Between(random, absl::Milliseconds(10), absl::Milliseconds(400));
  core.election_ticks = 10;
  core.heartbeat_ticks = static_cast<int>(random.Between(1, 3));
  core.pre_vote = random.Bernoulli(0.85);
  core.check_quorum = random.Bernoulli(0.85);
  if (random.Bernoulli(0.5)) core.max_message_bytes = random.Below(200);
  if (random.Bernoulli(0.5))
    core.max_inflight_messages = static_cast<uint64_t>(random.Between(1, 8));
  if (random.Bernoulli(0.3)) core.max_inflight_bytes = 1 + random.Below(2000);
  if (random.Bernoulli(0.3)) core.max_uncommitted_bytes = 1 + random.Below(2000);
  if (random.Bernoulli(0.3)) core.max_apply_bytes = 1 + random.Below(500);
  swarm.node.compact_every_entries = static_cast<uint64_t>(Between(random, 1, 64));
  swarm.node.keep_entries = random.Bernoulli(0.6) ? random.Below(4) : random.Below(60);
  swarm.segment_bytes = static_cast<uint64_t>(Between(random, 4 << 10, 64 << 10));
  if (random.Bernoulli(0.5)) swarm.machine.spontaneous_flush = Between(random, 0.01, 0.5);
  swarm.clients = static_cast<int>(random.Between(1, 4));
  swarm.keys = static_cast<int>(random.Between(1, 5));
  swarm.think_time = Between(random, absl::Milliseconds(1), absl::Milliseconds(32));
  swarm.read_share = random.Unit() * 0.8;
  if (random.Bernoulli(0.2)) swarm.max_value_bytes = 3000;
}

void DrawNetwork(Random& random, Swarm& swarm) {
  SimNetwork::Faults& network = swarm.network;
  network.reorder = random.Bernoulli(0.5);
  if (random.Bernoulli(0.5)) network.drop = Between(random, 0.005, 0.3);
  if (random.Bernoulli(0.5)) network.duplicate = Between(random, 0.01, 0.5);
  if (random.Bernoulli(0.5)) {
    network.mean_tail = Between(random, absl::Microseconds(100), absl::Milliseconds(15));
  }
  if (random.Bernoulli(0.3)) network.snapshot_failure = random.Unit() * 0.7;
  if (random.Bernoulli(0.5)) {
    swarm.partition_interval = Between(random, absl::Milliseconds(200), absl::Seconds(2));
    swarm.partition_time = Between(random, absl::Milliseconds(50), absl::Milliseconds(1600));
  }
}

void DrawMachines(Random& random, Swarm& swarm) {
  if (random.Bernoulli(0.7)) {
    swarm.crash_interval = Between(random, absl::Milliseconds(100), absl::Seconds(2));
    swarm.power_share = random.Unit();
    swarm.cut_share = random.Bernoulli(0.5) ? random.Unit() : 0;
    swarm.restart_delay = Between(random, absl::Milliseconds(5), absl::Milliseconds(1280));
  }
  if (random.Bernoulli(0.2)) {
    swarm.cluster_crash_interval = Between(random, absl::Milliseconds(500), absl::Seconds(2));
  }
  if (random.Bernoulli(0.3)) {
    swarm.pause_interval = Between(random, absl::Milliseconds(100), absl::Seconds(2));
    swarm.pause_time = Between(random, absl::Milliseconds(20), absl::Seconds(1));
  }
  if (random.Bernoulli(0.3)) {
    swarm.transfer_interval = Between(random, absl::Milliseconds(50), absl::Seconds(1));
  }
  if (random.Bernoulli(0.35)) {
    swarm.membership_interval = Between(random, absl::Milliseconds(20), absl::Milliseconds(640));
    swarm.spares = static_cast<int>(random.Between(0, 2));
  }
  // Without pre-vote a member with a fast clock and a short log can keep all others from ever
  // timing out: plain Raft needs timeouts that overlap.
  if (random.Bernoulli(0.3)) {
    swarm.max_clock_drift = Between(random, 0.01, swarm.node.core.pre_vote ? 0.4 : 0.05);
  }
  if (random.Bernoulli(0.3)) {
    swarm.executor.stall = Between(random, 0.001, 0.1);
    swarm.executor.stall_delay = Between(random, absl::Milliseconds(1), absl::Milliseconds(50));
  }
  if (random.Bernoulli(0.3)) swarm.slow_apply = Between(random, 0.01, 0.5);
}

void DrawDisks(Random& random, Swarm& swarm) {
  SimFileSystem::Faults& disk = swarm.disk;
  if (random.Bernoulli(0.6)) {
    disk.sync_latency = Between(random, absl::Microseconds(50), absl::Milliseconds(10));
    disk.operation_latency = absl::Microseconds(5);
  }
  if (random.Bernoulli(0.3)) {
    disk.slow_operation = Between(random, 0.001, 0.05);
    disk.slow_latency = Between(random, absl::Milliseconds(5), absl::Milliseconds(200));
  }
  if (random.Bernoulli(0.2)) disk.write_error = Between(random, 0.0002, 0.01);
  if (random.Bernoulli(0.2)) disk.sync_error = Between(random, 0.0002, 0.01);
  swarm.keep_cache_after_error = random.Bernoulli(0.5);
  if (random.Bernoulli(0.2)) disk.read_error = Between(random, 0.0002, 0.02);
  if (random.Bernoulli(0.1)) disk.sync_directory_error = Between(random, 0.001, 0.05);
  if (random.Bernoulli(0.25)) {
    swarm.full_disk_interval = Between(random, absl::Milliseconds(300), absl::Seconds(2));
    swarm.full_disk_time = Between(random, absl::Milliseconds(50), absl::Seconds(1));
  }
}

}  // namespace

Swarm DrawSwarm(Random random, int nodes) {
  Swarm swarm;
  swarm.nodes = nodes;
  Random sizes = random.Stream("sizes");
  DrawSizes(sizes, swarm);
  if (random.Below(6) == 0) return swarm;
  swarm.safety_time = absl::Milliseconds(random.Between(1500, 4000));
  Random network = random.Stream("network");
  DrawNetwork(network, swarm);
  Random machines = random.Stream("machines");
  DrawMachines(machines, swarm);
  Random disks = random.Stream("disks");
  DrawDisks(disks, swarm);
  return swarm;
}

std::string Describe(const Swarm& swarm) {
  const auto time = [](absl::Duration duration) {
    return duration == absl::ZeroDuration() ? std::string("off") : absl::FormatDuration(duration);
  };
  return absl::StrCat(
      "nodes=", swarm.nodes, "+", swarm.spares, " safety=", time(swarm.safety_time),
      " drop=", swarm.network.drop, " duplicate=", swarm.network.duplicate,
      " reorder=", swarm.network.reorder, " tail=", time(swarm.network.mean_tail),
      " partitions=", time(swarm.partition_interval), " crashes=", time(swarm.crash_interval),
      " power=", swarm.power_share, " cuts=", swarm.cut_share,
      " all=", time(swarm.cluster_crash_interval), " pauses=", time(swarm.pause_interval),
      " transfers=", time(swarm.transfer_interval), " members=", time(swarm.membership_interval),
      " drift=", swarm.max_clock_drift, " sync=", time(swarm.disk.sync_latency),
      " sync_error=", swarm.disk.sync_error, " write_error=", swarm.disk.write_error,
      " keep_cache=", swarm.keep_cache_after_error, " full_disks=", time(swarm.full_disk_interval),
      " clients=", swarm.clients, " compact=", swarm.node.compact_every_entries,
      " keep=", swarm.node.keep_entries, " segment=", swarm.segment_bytes,
      " pre_vote=", swarm.node.core.pre_vote, " check_quorum=", swarm.node.core.check_quorum);
}

}  // namespace keelson::raft::sim
