// Prints trace hashes of the simulator as the product's code makes it, without defects to plant.
//
//   trace_hashes N       of the seeds [1, N], one a line: mutations_test compares
//   trace_hashes         of some seeds of each profile, as in testdata/trace_hashes.txt:
//
//   bazel run //raft/sim:trace_hashes > raft/sim/testdata/trace_hashes.txt
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "raft/sim/sim_cluster.h"
#include "raft/sim/swarm.h"

namespace keelson::raft::sim {
namespace {

void PrintSeeds(uint64_t seeds) {
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    std::printf("%" PRIx64 "\n", RunSeed({.seed = seed}).trace_hash);
  }
}

void PrintProfiles() {
  std::printf("# profile, nodes, seed, trace hash; made by trace_hashes.cc\n");
  for (const Profile& profile : Profiles()) {
    // It runs for a minute of virtual time each.
    if (std::string_view(profile.name) == "failover") continue;
    for (const int nodes : {3, 5}) {
      for (uint64_t seed = 1; seed <= 2; ++seed) {
        const RunResult result = RunSeed({.seed = seed, .nodes = nodes, .profile = profile.name});
        std::printf("%s %d %" PRIu64 " %" PRIx64 "\n", profile.name, nodes, seed,
                    result.trace_hash);
      }
    }
  }
}

}  // namespace
}  // namespace keelson::raft::sim

int main(int argc, char** argv) {
  if (argc > 1) {
    keelson::raft::sim::PrintSeeds(std::strtoull(argv[1], nullptr, 10));
  } else {
    keelson::raft::sim::PrintProfiles();
  }
  return 0;
}
