// Prints the trace hash of each seed in [1, N] of the simulator as the product's code makes it,
// without defects to plant: mutations_test compares.
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "raft/sim/sim_cluster.h"

int main(int argc, char** argv) {
  const uint64_t seeds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    std::printf("%" PRIx64 "\n", keelson::raft::sim::RunSeed({.seed = seed}).trace_hash);
  }
  return 0;
}
