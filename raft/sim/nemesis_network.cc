// The faults of the network that last for a while.
#include <algorithm>

#include "raft/sim/nemesis.h"
#include "raft/sim/partition_modes.h"

namespace keelson::raft::sim {

void Nemesis::CutLinks() {
  ++partitions_;
  const auto mode = static_cast<PartitionMode>(random_.Below(kPartitionModes));
  counts_.Add(FaultOf(mode));
  env_.world.Trace("partition", {partitions_, static_cast<uint64_t>(mode)});
  for (const auto& [from, to] : CutsOf(mode, Ids(), Leader(), random_)) {
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

void Nemesis::ClogLink() {
  const NodeId from = RandomNode().id();
  const NodeId to = RandomNode().id();
  if (from == to) return;
  counts_.Add(Fault::kClog);
  env_.world.Trace("clog", {from, to});
  env_.network.Clog(from, to);
  env_.world.After(Exponential(env_.swarm.clog_time), [this, from, to] {
    env_.world.Trace("unclog", {from, to});
    env_.network.Unclog(from, to);
  });
}

void Nemesis::Swizzle() {
  counts_.Add(Fault::kSwizzle);
  env_.world.Trace("swizzle", {});
  const std::vector<NodeId> ids = Ids();
  for (const NodeId node : ids) {
    if (random_.Bernoulli(0.4)) continue;
    const absl::Duration begin = Exponential(absl::Milliseconds(100));
    const absl::Duration end = begin + Exponential(absl::Milliseconds(300));
    env_.world.After(begin, [this, node, ids] {
      if (!on_) return;
      for (const NodeId peer : ids) {
        env_.network.Clog(node, peer);
        env_.network.Clog(peer, node);
      }
      env_.world.Trace("clog", {node, kNoNode});
    });
    env_.world.After(end, [this, node, ids] {
      for (const NodeId peer : ids) {
        env_.network.Unclog(node, peer);
        env_.network.Unclog(peer, node);
      }
      env_.world.Trace("unclog", {node, kNoNode});
    });
  }
}

}  // namespace keelson::raft::sim
