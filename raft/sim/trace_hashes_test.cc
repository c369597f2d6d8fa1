// A seed stands for one run, whatever compiler, optimization or sanitizer made the program.
#include <catch2/catch.hpp>

#include <cstdint>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "raft/sim/sim_cluster.h"
#include "raft/sim/swarm.h"

namespace keelson::raft::sim {
namespace {

TEST_CASE("The stored trace hashes are those of this program", "[raft][sim][determinism]") {
  std::ifstream file("raft/sim/testdata/trace_hashes.txt");
  REQUIRE(file);
  std::set<std::string> profiles;
  std::string line;
  while (std::getline(file, line)) {
    if (line.empty() || line.front() == '#') continue;
    std::istringstream fields(line);
    std::string profile;
    int nodes = 0;
    uint64_t seed = 0;
    uint64_t hash = 0;
    REQUIRE(fields >> profile >> nodes >> seed >> std::hex >> hash);
    INFO(line << "\nAfter a change of behaviour or of the faults record them anew:\n"
              << "bazel run //raft/sim:trace_hashes > raft/sim/testdata/trace_hashes.txt");
    CHECK(RunSeed({.seed = seed, .nodes = nodes, .profile = profile}).trace_hash == hash);
    profiles.insert(profile);
  }
  // All but the one that only measures.
  CHECK(profiles.size() + 1 == Profiles().size());
}

TEST_CASE("A run is the same twice, and differs from that of the next seed",
          "[raft][sim][determinism]") {
  const uint64_t hash = RunSeed({.seed = 11}).trace_hash;
  CHECK(RunSeed({.seed = 11}).trace_hash == hash);
  CHECK(RunSeed({.seed = 12}).trace_hash != hash);
}

}  // namespace
}  // namespace keelson::raft::sim
