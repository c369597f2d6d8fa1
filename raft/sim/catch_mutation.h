// Finds a planted defect, and says how many seeds that took. What is found is tried once more
// without the defect: a run that fails then as well has found something else, in the product.
//
//   const Caught caught = CatchMutation(*FindMutation("vote-twice"), {.max_seeds = 2000});
//   if (caught.seeds == 0) Print("nothing found it");
#ifndef KEELSON_RAFT_SIM_CATCH_MUTATION_H_
#define KEELSON_RAFT_SIM_CATCH_MUTATION_H_

#include <cstdint>
#include <functional>
#include <string>

#include "raft/sim/host_mutations.h"
#include "raft/sim/mutations.h"
#include "raft/sim/sim_cluster.h"

namespace keelson::raft::sim {

struct CatchOptions {
  uint64_t first_seed = 1;
  uint64_t max_seeds = 2000;
  bool json = false;  // CatchAllMutations prints JSON, an object a line
  // The run of a seed; for tests.
  std::function<RunOptions(uint64_t seed, Mutation)> run = MixedRun;
};

// How a mutation was found.
struct Caught {
  uint64_t seeds = 0;  // runs it took; 0: none of them found it
  uint64_t seed = 0;   // of the last run
  // The control, without the defect, broke: what `invariant` and `text` say is of that run, and
  // `seeds` is 0.
  bool product_fails = false;
  // What broke: an invariant, or one of
  //   CHECK  the code under test aborted
  //   HANG   a run did not end
  //   SAME   two runs of one seed differed
  std::string invariant;
  std::string text;
};

// Runs seeds in a process of its own, since the code under test may abort, until something
// breaks.
Caught CatchMutation(const MutationInfo& mutation, const CatchOptions& options);
// The same with profile `host`.
Caught CatchHostMutation(const HostMutationInfo& mutation, const CatchOptions& options);

// Tries every mutation, prints a line for each and one about all to standard output. True when all
// were found within the seeds given, half of them within kMedianSeeds, and no control broke.
inline constexpr uint64_t kMedianSeeds = 50;
bool CatchAllMutations(const CatchOptions& options);
// The same of those of hosts, without a demand on the half.
bool CatchAllHostMutations(const CatchOptions& options);

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_CATCH_MUTATION_H_
