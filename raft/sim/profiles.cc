// The table of --profile: what each kind of runs is about.
#include <algorithm>
#include <array>

#include "raft/sim/swarm.h"

namespace keelson::raft::sim {
namespace {

constexpr absl::Duration Ms(int64_t milliseconds) { return absl::Milliseconds(milliseconds); }

void MostlyReads(Random& random, Swarm& swarm) {
  swarm.read_share = 0.9;
  swarm.clients = 4;
  swarm.think_time = Ms(2);
  swarm.node.core.max_pending_reads = 1 + random.Below(64);
}

// Reads by lease, with clocks and ticks within what lease_margin_ticks declares: two members
// measure an election timeout of 10 ticks with less than 3 ticks of difference.
void LeaseReads(Random& random, Swarm& swarm) {
  MostlyReads(random, swarm);
  Options& core = swarm.node.core;
  core.check_quorum = true;
  core.read_mode = ReadMode::kLeaseBased;
  core.lease_margin_ticks = 3;
  core.heartbeat_ticks = 1;
  swarm.wild_clocks = false;
  swarm.max_clock_drift = random.Unit() * 0.08;
  swarm.executor.stall = 0;
  swarm.pause_interval = Ms(300);
  swarm.pause_time = Ms(400);
}

// Logs end near their start: whoever lags needs a snapshot.
void Snapshots(Random& random, Swarm& swarm) {
  swarm.node.compact_every_entries = 1 + random.Below(8);
  swarm.node.keep_entries = random.Below(3);
  swarm.network.snapshot_failure = random.Unit() * 0.7;
  swarm.network.snapshot_delay = Ms(static_cast<int64_t>(1 + random.Below(50)));
  if (swarm.crash_interval == absl::ZeroDuration()) swarm.crash_interval = Ms(300);
  swarm.restart_delay = Ms(500);
}

void Elections(Random& random, Swarm& swarm) {
  swarm.transfer_interval = Ms(static_cast<int64_t>(30 + random.Below(200)));
  swarm.partition_interval = Ms(200);
  swarm.partition_time = Ms(static_cast<int64_t>(30 + random.Below(300)));
}

void SmallLimits(Random& random, Swarm& swarm) {
  Node::Options& node = swarm.node;
  node.core.max_message_bytes = random.Below(2);
  node.core.max_inflight_messages = 1 + random.Below(2);
  node.core.max_inflight_bytes = 1 + random.Below(100);
  node.core.max_uncommitted_bytes = 1 + random.Below(200);
  node.core.max_apply_bytes = 1;
  node.core.max_pending_reads = 1 + random.Below(2);
  node.max_proposals_queued = 1 + random.Below(3);
  node.compact_every_entries = 1;
  node.keep_entries = 0;
  swarm.segment_bytes = 4 << 10;
}

// Records that lie close to where they end, and segments that do not last: damage meets all of them.
void BitRot(Random& random, Swarm& swarm) {
  swarm.ambush = random.Bernoulli(0.6) ? 0.05 + random.Unit() * 0.4 : 0;
  swarm.spares = static_cast<int>(random.Below(3));
  swarm.damage_interval = Ms(static_cast<int64_t>(50 + random.Below(400)));
  swarm.restart_delay = Ms(static_cast<int64_t>(5 + random.Below(200)));
  swarm.segment_bytes = 4 << 10 << random.Below(4);
  if (random.Bernoulli(0.5)) swarm.network.snapshot_failure = random.Unit() * 0.3;
}

void Wipe(Random& random, Swarm& swarm) {
  swarm.ambush = random.Bernoulli(0.6) ? 0.05 + random.Unit() * 0.4 : 0;
  swarm.spares = static_cast<int>(random.Below(3));
  swarm.wipe_interval = Ms(static_cast<int64_t>(50 + random.Below(600)));
  swarm.restart_delay = Ms(static_cast<int64_t>(5 + random.Below(400)));
  if (random.Bernoulli(0.3)) swarm.damage_interval = Ms(300);
  // Without compaction the log alone brings a member back, with it a snapshot does.
  if (random.Bernoulli(0.4)) swarm.node.compact_every_entries = 100'000;
}

void LongPauses(Random& random, Swarm& swarm) {
  swarm.pause_interval = Ms(700);
  swarm.pause_time = Ms(300);
  swarm.long_pause_share = 0.2;
  swarm.suspend_share = random.Unit();
}

// Faults that follow the protocol.
void Ambushes(Random& random, Swarm& swarm) {
  swarm.ambush = 0.1 + random.Unit() * 0.5;
  swarm.kill_share = random.Unit();
  swarm.restart_delay = Ms(static_cast<int64_t>(1 + random.Below(60)));
  swarm.partition_time = Ms(static_cast<int64_t>(20 + random.Below(300)));
  swarm.node.core.heartbeat_ticks = 1;
}

void Joint(Random& random, Swarm& swarm) {
  Ambushes(random, swarm);
  swarm.membership_interval = Ms(static_cast<int64_t>(10 + random.Below(60)));
  swarm.spares = static_cast<int>(1 + random.Below(2));
  swarm.node.core.forward_proposals = true;
}

// Leaders that reach one node only, whose disk is slow: conflicting tails, in memory and on disk.
void Tails(Random& random, Swarm& swarm) {
  // Of fewer members the one with the tail could not be outvoted.
  swarm.nodes = std::max(swarm.nodes, 5);
  swarm.private_leaders = 0.5 + random.Unit() * 0.5;
  swarm.private_time = Ms(int64_t{3} << random.Below(4));
  swarm.halts = 0.5;
  if (random.Bernoulli(0.8)) {
    swarm.witness_sync = Ms(int64_t{2} << random.Below(6));
  }
  // Without promises to the leader before, the next one comes at once.
  swarm.node.core.pre_vote = random.Bernoulli(0.1);
  swarm.node.core.check_quorum = swarm.node.core.pre_vote;
  if (random.Bernoulli(0.5)) {
    swarm.executor.stall = 0.02 + random.Unit() * 0.2;
    swarm.executor.stall_delay = Ms(static_cast<int64_t>(1 + random.Below(10)));
  }
  swarm.node.core.max_message_bytes = random.Below(3) * 60;
  swarm.node.compact_every_entries = 32;
  swarm.node.keep_entries = random.Below(60);
  swarm.node.core.heartbeat_ticks = 1;
  swarm.network.reorder = random.Bernoulli(0.5);
  swarm.network.duplicate = random.Bernoulli(0.5) ? 0.1 : 0;
  // Writes that often need the next segment, for which there may be no room.
  if (random.Bernoulli(0.5)) {
    swarm.segment_bytes = 4 << 10;
    swarm.max_value_bytes = 3000;
    swarm.node.core.max_message_bytes = 1 << 20;
    swarm.full_disk_time = Ms(100);
  }
  // Work that does not wait for what nobody else has.
  swarm.burst_interval = Ms(20);
  swarm.burst_size = 3;
  swarm.read_share = 0.1;
  swarm.disk.operation_latency = absl::Microseconds(5);
  swarm.disk.sync_latency = absl::Microseconds(200);
  // Or all is well until two of them take turns.
  if (random.Bernoulli(0.4)) {
    swarm.turns_interval = Ms(150);
    swarm.private_leaders = 0;
    swarm.witness_sync = {};
  }
}

// One member, which may get company, on a disk that is full now and then.
void Solo(Random& random, Swarm& swarm) {
  swarm.nodes = 1;
  swarm.spares = static_cast<int>(random.Below(3));
  if (random.Bernoulli(0.5)) swarm.membership_interval = absl::ZeroDuration();
  swarm.full_disk_interval = Ms(static_cast<int64_t>(100 + random.Below(500)));
  swarm.full_disk_time = Ms(static_cast<int64_t>(50 + random.Below(300)));
  swarm.segment_bytes = 4 << 10;
  swarm.quiet_end = random.Bernoulli(0.8);
}

// Disks that fail to sync, and then lose power.
void BadDisks(Random& random, Swarm& swarm) {
  swarm.bad_sync_interval = Ms(static_cast<int64_t>(50 + random.Below(400)));
  swarm.keep_cache_after_error = random.Bernoulli(0.6);
  if (random.Bernoulli(0.5)) swarm.max_value_bytes = 3000;
  swarm.ambush = random.Unit() * 0.5;
  swarm.cut_share = random.Unit();
  swarm.kill_share = random.Unit();
  swarm.restart_delay = Ms(static_cast<int64_t>(1 + random.Below(60)));
}

// A healthy group whose leader dies again and again.
void Failover(Random& random, Swarm& swarm) {
  swarm.safety_time = absl::Seconds(60);
  swarm.leader_crash_interval = Ms(100);
  swarm.node.core.pre_vote = true;
  swarm.node.core.check_quorum = true;
  swarm.node.core.rank_rivals = true;
  swarm.node.core.heartbeat_ticks = 1;
  swarm.disk.sync_latency = absl::Microseconds(static_cast<int64_t>(50 + random.Below(1000)));
  swarm.disk.operation_latency = absl::Microseconds(5);
  swarm.clients = 1;
  swarm.think_time = Ms(100);
}

// State machines that lag far behind their logs, with logs that end near their start.
void SlowMachines(Random& random, Swarm& swarm) {
  swarm.slow_apply = 0.2 + random.Unit() * 0.6;
  swarm.executor.stall_delay = Ms(int64_t{10} << random.Below(5));
  swarm.node.compact_every_entries = 1 + random.Below(8);
  swarm.node.keep_entries = random.Below(3);
  swarm.ambush = random.Unit() * 0.2;
}

// Hosts of several groups, which are idle often enough to sleep.
void Hosts(Random& random, Swarm& swarm) {
  swarm.groups = static_cast<int>(3 + random.Below(3));
  swarm.spares = 0;
  Options& core = swarm.node.core;
  core.quiesce_ticks = static_cast<int>(3 + random.Below(18));
  // Sleeping groups rely on both (Host's defaults).
  core.pre_vote = true;
  core.check_quorum = true;
  swarm.segment_bytes = 4 << 10 << random.Below(4);
  swarm.clients = static_cast<int>(1 + random.Below(2));
  swarm.think_time = Ms(int64_t{5} << random.Below(6));
  swarm.idle_interval = Ms(static_cast<int64_t>(200 + random.Below(600)));
  swarm.idle_time = Ms(static_cast<int64_t>(100 + random.Below(900)));
  if (random.Bernoulli(0.6))
    swarm.groups_interval = Ms(static_cast<int64_t>(50 + random.Below(500)));
  if (random.Bernoulli(0.4))
    swarm.damage_interval = Ms(static_cast<int64_t>(100 + random.Below(600)));
  if (random.Bernoulli(0.2))
    swarm.wipe_interval = Ms(static_cast<int64_t>(200 + random.Below(800)));
}

constexpr std::array kProfiles = {
    Profile{.name = "default",
            .what = "any mix of faults; one run in six without",
            .network = true,
            .machines = true,
            .disks = true,
            .clocks = true,
            .membership = true,
            .load = true,
            .certain = false},
    Profile{.name = "calm", .what = "no fault at all"},
    Profile{.name = "network",
            .what = "loss, delay, replay, resets, clogs and partitions",
            .network = true},
    Profile{
        .name = "crash", .what = "crashes, power losses, pauses, slow threads", .machines = true},
    Profile{.name = "disk",
            .what = "errors, stalls, full disks, with crashes",
            .machines = true,
            .disks = true,
            .tune = BadDisks},
    Profile{.name = "clock",
            .what = "clocks that run apart, jump and stop",
            .clocks = true,
            .tune = LongPauses},
    Profile{.name = "membership",
            .what = "members come, go and change their kind under network faults",
            .network = true,
            .membership = true},
    Profile{
        .name = "load", .what = "bursts over the quotas, huge entries, idle times", .load = true},
    Profile{.name = "reads",
            .what = "many reads under network faults",
            .network = true,
            .tune = MostlyReads},
    Profile{.name = "lease",
            .what = "reads by lease, clocks within the declared bound",
            .network = true,
            .tune = LeaseReads},
    Profile{.name = "snapshot",
            .what = "short logs: whoever lags needs a snapshot",
            .network = true,
            .machines = true,
            .tune = Snapshots},
    Profile{.name = "election",
            .what = "leadership moves all the time",
            .network = true,
            .tune = Elections},
    Profile{.name = "bitrot",
            .what = "flipped bits, zeroed sectors, lost segments of a minority, with crashes",
            .network = true,
            .machines = true,
            .tune = BitRot},
    Profile{.name = "wipe",
            .what = "whole disks of a minority are lost, with crashes",
            .network = true,
            .machines = true,
            .tune = Wipe},
    Profile{.name = "limits",
            .what = "every limit at its smallest",
            .network = true,
            .machines = true,
            .load = true,
            .tune = SmallLimits},
    Profile{.name = "ambush",
            .what = "faults that wait for a moment of the protocol and strike there",
            .network = true,
            .machines = true,
            .disks = true,
            .tune = Ambushes},
    Profile{.name = "joint",
            .what = "one membership change after the other, with faults in the middle of them",
            .network = true,
            .machines = true,
            .membership = true,
            .tune = Joint},
    Profile{.name = "tails",
            .what = "leaders that reach one node only, whose disk is slow: conflicting tails",
            .tune = Tails},
    Profile{.name = "solo",
            .what = "one member, which may get company, on a disk that fills up",
            .machines = true,
            .disks = true,
            .membership = true,
            .tune = Solo},
    Profile{.name = "failover",
            .what = "a healthy group whose leader crashes, to measure how long none leads",
            .tune = Failover},
    Profile{.name = "lag",
            .what = "state machines far behind their logs, which end near their start",
            .network = true,
            .machines = true,
            .membership = true,
            .tune = SlowMachines},
    Profile{.name = "host",
            .what = "hosts of several groups over one log, which sleep, come and go",
            .network = true,
            .machines = true,
            .disks = true,
            .load = true,
            .certain = false,
            .tune = Hosts},
};

}  // namespace

std::span<const Profile> Profiles() { return kProfiles; }

const Profile* FindProfile(std::string_view name) {
  for (const Profile& profile : kProfiles) {
    if (name == profile.name) return &profile;
  }
  return nullptr;
}

}  // namespace keelson::raft::sim
