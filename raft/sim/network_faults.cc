#include "raft/sim/network_faults.h"

#include "raft/sim/partition_modes.h"

namespace keelson::raft::sim {

absl::Duration NetworkFaults::Exponential(absl::Duration mean) {
  return absl::Nanoseconds(static_cast<int64_t>(
      env_.random.Exponential(static_cast<double>(absl::ToInt64Nanoseconds(mean)))));
}

void NetworkFaults::CutLinks(NodeId leader) {
  ++partitions_;
  const auto mode = static_cast<PartitionMode>(env_.random.Below(kPartitionModes));
  env_.counts.Add(FaultOf(mode));
  env_.world.Trace("partition", {partitions_, static_cast<uint64_t>(mode)});
  for (const auto& [from, to] : CutsOf(mode, ids_, leader, env_.random)) {
    env_.network.SetLink(from, to, false);
    env_.world.Trace("cut", {from, to});
  }
  // A little longer than nothing, so that somebody notices.
  const absl::Duration time =
      env_.swarm.partition_time / 4 + Exponential(env_.swarm.partition_time);
  env_.world.After(time, [this, mine = partitions_] {
    if (mine != partitions_) return;
    env_.world.Trace("whole", {});
    env_.network.HealLinks();
  });
}

void NetworkFaults::ClogLink() {
  const NodeId from = RandomId();
  const NodeId to = RandomId();
  if (from == to) return;
  env_.counts.Add(Fault::kClog);
  env_.world.Trace("clog", {from, to});
  env_.network.Clog(from, to);
  env_.world.After(Exponential(env_.swarm.clog_time), [this, from, to] {
    env_.world.Trace("unclog", {from, to});
    env_.network.Unclog(from, to);
  });
}

void NetworkFaults::Swizzle() {
  env_.counts.Add(Fault::kSwizzle);
  env_.world.Trace("swizzle", {});
  for (const NodeId node : ids_) {
    if (env_.random.Bernoulli(0.4)) continue;
    const absl::Duration begin = Exponential(absl::Milliseconds(100));
    const absl::Duration end = begin + Exponential(absl::Milliseconds(300));
    env_.world.After(begin, [this, node] {
      if (!on_) return;
      for (const NodeId peer : ids_) {
        env_.network.Clog(node, peer);
        env_.network.Clog(peer, node);
      }
      env_.world.Trace("clog", {node, kNoNode});
    });
    env_.world.After(end, [this, node] {
      for (const NodeId peer : ids_) {
        env_.network.Unclog(node, peer);
        env_.network.Unclog(peer, node);
      }
      env_.world.Trace("unclog", {node, kNoNode});
    });
  }
}

void NetworkFaults::Heal() {
  on_ = false;
  ++partitions_;
  env_.network.HealLinks();
  env_.network.UnclogAll();
  env_.network.SetFaults({});
}

}  // namespace keelson::raft::sim
