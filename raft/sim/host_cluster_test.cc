// Whole simulated hosts with several groups each: hundreds of runs, each with its own mix of faults.
// A failure prints the command that shows the run again.
#include <catch2/catch.hpp>

#include <cstdint>
#include <string>

#include "raft/sim/sim_cluster.h"

namespace keelson::raft::sim {
namespace {

#ifdef KEELSON_SANITIZED
constexpr uint64_t kSeeds = 30;
#else
constexpr uint64_t kSeeds = 240;
#endif

RunOptions OptionsOf(uint64_t seed, int hosts) {
  return {.seed = seed, .nodes = hosts, .profile = "host"};
}

RunResult RunOne(const RunOptions& options) {
  INFO("running seed " << options.seed << ", replay: " << ReplayCommand(options));
  RunResult result = RunSeed(options);
  if (result.violation.has_value()) {
    FAIL(result.violation->invariant + ": " + result.violation->text + "\n  " + result.swarm);
  }
  return result;
}

TEST_CASE("Hosts keep every promise of every group, which sleep, come and go",
          "[raft][sim][host]") {
  uint64_t committed = 0, writes = 0, reads = 0, groups = 0, sleeps = 0, losses = 0, crashes = 0,
           snapshots = 0, removed = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const RunResult result = RunOne(OptionsOf(seed, 3));
    committed += result.committed;
    writes += result.history.writes;
    reads += result.history.reads;
    groups += result.groups;
    sleeps += result.sleeps;
    losses += result.losses;
    crashes += result.crashes;
    snapshots += result.network.snapshots_delivered;
    removed += result.faults[Fault::kGroupRemoved];
  }
  // All of it did happen.
  CHECK(committed > 100 * kSeeds);
  CHECK(writes > 20 * kSeeds);
  CHECK(reads > 5 * kSeeds);
  CHECK(groups > 4 * kSeeds);
  CHECK(removed > kSeeds / 2);
  CHECK(sleeps > 10 * kSeeds);
  CHECK(losses > kSeeds / 4);
  CHECK(crashes > kSeeds);
  CHECK(snapshots > kSeeds / 10);
}

TEST_CASE("Groups on some of the hosts keep them too", "[raft][sim][host]") {
  for (uint64_t seed = 1; seed <= kSeeds / 8; ++seed) (void)RunOne(OptionsOf(seed, 5));
}

TEST_CASE("The same seed gives the same run of hosts", "[raft][sim][host]") {
  for (uint64_t seed = 1; seed <= kSeeds / 40 + 2; ++seed) {
    INFO("seed " << seed);
    const RunResult first = RunSeed(OptionsOf(seed, 3));
    const RunResult second = RunSeed(OptionsOf(seed, 3));
    REQUIRE(first.trace_hash == second.trace_hash);
    REQUIRE(first.steps == second.steps);
  }
}

}  // namespace
}  // namespace keelson::raft::sim
