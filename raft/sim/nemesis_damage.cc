// Losses of durable data: always of a minority that has not recovered yet, and the cluster must get
// over them by itself.
#include "raft/sim/nemesis.h"

namespace keelson::raft::sim {

bool Nemesis::MayImpair(const SimNode& node) const {
  int impaired = 0;
  for (const auto& each : env_.nodes) {
    if (each.get() == &node || each->impaired()) ++impaired;
  }
  return 2 * impaired < env_.swarm.nodes;
}

void Nemesis::DamageOne() {
  SimNode& node = RandomNode();
  if (!node.running() || !MayImpair(node)) return;
  counts_.Add(Fault::kPowerLoss);
  CrashNode(node, CrashKind::kPower, Exponential(env_.swarm.restart_delay));
  node.Damage(random_, counts_);
}

void Nemesis::WipeOne() {
  SimNode& node = RandomNode();
  if (!node.running() || !MayImpair(node)) return;
  counts_.Add(Fault::kWipe);
  CrashNode(node, CrashKind::kPower, Exponential(env_.swarm.restart_delay));
  node.Wipe();
}

}  // namespace keelson::raft::sim
