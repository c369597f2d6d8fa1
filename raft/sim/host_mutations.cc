#include "raft/sim/host_mutations.h"

namespace keelson::raft::sim {
namespace {

constexpr HostMutationInfo kMutations[] = {
    {HostMutation::kSyncOfLastGroup, "host-sync-of-last-group",
     "a group is acknowledged before the shared sync when one that needs none writes after it"},
    {HostMutation::kTrimByOneGroup, "host-trim-by-one-group",
     "the compaction of one group deletes segments that another needs"},
    {HostMutation::kWokenWithoutTicks, "host-woken-without-ticks",
     "a message wakes a sleeping group, and nobody counts time for it"},
    {HostMutation::kDamageUnsaid, "host-damage-unsaid",
     "a group whose records are damaged goes on with the rest as if nothing had been lost"},
    {HostMutation::kRemovedForgotten, "host-removed-forgotten",
     "a new segment does not repeat which groups were removed"},
};

}  // namespace

std::span<const HostMutationInfo> HostMutations() { return kMutations; }

const HostMutationInfo* FindHostMutation(std::string_view name) {
  for (const HostMutationInfo& info : kMutations) {
    if (name == info.name) return &info;
  }
  return nullptr;
}

}  // namespace keelson::raft::sim
