#include "raft/sim/partition_modes.h"

#include <algorithm>

namespace keelson::raft::sim {
namespace {

using Cuts = std::vector<std::pair<NodeId, NodeId>>;

// Cuts what `cut(from, to)` says of two places in `nodes`.
template <typename Cut>
Cuts Where(const std::vector<NodeId>& nodes, const Cut& cut) {
  Cuts cuts;
  for (size_t from = 0; from < nodes.size(); ++from) {
    for (size_t to = 0; to < nodes.size(); ++to) {
      if (from != to && cut(from, to)) cuts.emplace_back(nodes[from], nodes[to]);
    }
  }
  return cuts;
}

// Which nodes are on the one side.
std::vector<bool> Sides(PartitionMode mode, size_t count, Random& random) {
  std::vector<bool> side(count, false);
  if (mode == PartitionMode::kUniformSize) {
    // Selection sampling: `left` of the nodes that remain are still to be chosen.
    uint64_t left = count < 2 ? 0 : 1 + random.Below(count - 1);
    for (size_t i = 0; i < count; ++i) {
      side[i] = random.Below(count - i) < left;
      if (side[i]) --left;
    }
    return side;
  }
  for (size_t i = 0; i < count; ++i) side[i] = random.Bernoulli(0.5);
  return side;
}

}  // namespace

std::vector<std::pair<NodeId, NodeId>> CutsOf(PartitionMode mode, const std::vector<NodeId>& nodes,
                                              NodeId leader, Random& random) {
  const size_t count = nodes.size();
  if (count == 0) return {};
  size_t one = random.Below(count);
  switch (mode) {
    case PartitionMode::kUniformAssignment:
    case PartitionMode::kUniformSize:
    case PartitionMode::kOneWaySplit: {
      const std::vector<bool> side = Sides(mode, count, random);
      const bool one_way = mode == PartitionMode::kOneWaySplit;
      return Where(nodes, [&](size_t from, size_t to) {
        return side[from] != side[to] && !(one_way && side[from]);
      });
    }
    case PartitionMode::kIsolateLeader:
      if (const auto found = std::find(nodes.begin(), nodes.end(), leader); found != nodes.end()) {
        one = static_cast<size_t>(found - nodes.begin());
      }
      [[fallthrough]];
    case PartitionMode::kIsolateOne:
      return Where(nodes, [one](size_t from, size_t to) { return from == one || to == one; });
    case PartitionMode::kDeafOrMute: {
      const bool deaf = random.Bernoulli(0.5);
      return Where(nodes, [=](size_t from, size_t to) { return (deaf ? to : from) == one; });
    }
    case PartitionMode::kBridge:
      return Where(nodes, [one](size_t from, size_t to) { return from != one && to != one; });
    case PartitionMode::kRing:
      return Where(nodes, [count](size_t from, size_t to) {
        return (from + 1) % count != to && (to + 1) % count != from;
      });
  }
  return {};
}

Fault FaultOf(PartitionMode mode) {
  switch (mode) {
    case PartitionMode::kUniformAssignment:
    case PartitionMode::kUniformSize:
      return Fault::kSplit;
    case PartitionMode::kOneWaySplit:
      return Fault::kOneWaySplit;
    case PartitionMode::kIsolateOne:
      return Fault::kIsolateOne;
    case PartitionMode::kIsolateLeader:
      return Fault::kIsolateLeader;
    case PartitionMode::kDeafOrMute:
      return Fault::kDeafOrMute;
    case PartitionMode::kBridge:
      return Fault::kBridge;
    case PartitionMode::kRing:
      return Fault::kRing;
  }
  return Fault::kSplit;
}

}  // namespace keelson::raft::sim
