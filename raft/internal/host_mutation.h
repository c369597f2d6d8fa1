// Defects that the simulator plants in hosts of many groups; as mutation.h, which has those of one
// group. The catalogue: raft/sim/host_mutations.cc.
#ifndef KEELSON_RAFT_INTERNAL_HOST_MUTATION_H_
#define KEELSON_RAFT_INTERNAL_HOST_MUTATION_H_

#include <cstdint>

namespace keelson::raft {

// In the order of the catalogue.
enum class HostMutation : uint8_t {
  kNone = 0,
  kSyncOfLastGroup,
  kTrimByOneGroup,
  kWokenWithoutTicks,
  kDamageUnsaid,
  kRemovedForgotten,
  kCount,
};

#ifdef KEELSON_RAFT_MUTATIONS
namespace internal {
inline HostMutation planted_host_mutation = HostMutation::kNone;
}  // namespace internal
// True when `mutation` is planted.
inline bool Mutated(HostMutation mutation) { return mutation == internal::planted_host_mutation; }
// As for Mutation.
inline void PlantMutation(HostMutation mutation) { internal::planted_host_mutation = mutation; }
#else
constexpr bool Mutated(HostMutation) { return false; }
inline void PlantMutation(HostMutation) {}
#endif

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_HOST_MUTATION_H_
