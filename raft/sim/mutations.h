// The catalogue of defects: real ones, made by others, that the simulator must find when they
// are planted in this library (reference: raft.md section 14).
// raft_sim --mutation=all prints how many seeds each one takes; docs/mutations.md lists them.
#ifndef KEELSON_RAFT_SIM_MUTATIONS_H_
#define KEELSON_RAFT_SIM_MUTATIONS_H_

#include <span>
#include <string_view>

#include "raft/internal/mutation.h"

namespace keelson::raft::sim {

struct MutationInfo {
  Mutation mutation = Mutation::kNone;
  const char* name = "";
  int of_class = 0;          // the number in raft.md section 14
  const char* breaks = "";   // what goes wrong
  const char* seen_in = "";  // who had it
};

// All of them, in the order of the enumerators.
std::span<const MutationInfo> Mutations();

// The row of a mutation that is not kNone.
const MutationInfo& FindMutation(Mutation mutation);
// Null if there is none of this name.
const MutationInfo* FindMutation(std::string_view name);

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_MUTATIONS_H_
