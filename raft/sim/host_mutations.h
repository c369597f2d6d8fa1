// The catalogue of defects of hosts of many groups, which profile `host` must find when they are
// planted; as mutations.h, which has those of one group. docs/mutations.md lists both.
#ifndef KEELSON_RAFT_SIM_HOST_MUTATIONS_H_
#define KEELSON_RAFT_SIM_HOST_MUTATIONS_H_

#include <span>
#include <string_view>

#include "raft/internal/host_mutation.h"

namespace keelson::raft::sim {

struct HostMutationInfo {
  HostMutation mutation = HostMutation::kNone;
  const char* name = "";    // "host-..."
  const char* breaks = "";  // what goes wrong
};

// All of them, in the order of the enumerators.
std::span<const HostMutationInfo> HostMutations();
// Null if there is none of this name.
const HostMutationInfo* FindHostMutation(std::string_view name);

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_HOST_MUTATIONS_H_
