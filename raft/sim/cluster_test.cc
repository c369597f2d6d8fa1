// Whole simulated clusters: thousands of runs, each with its own mix of faults, each followed
// by the invariants after every event. A failure prints the command that shows the run again.
#include <catch2/catch.hpp>

#include <cstdint>
#include <string>

#include "raft/sim/sim_cluster.h"

namespace keelson::raft::sim {
namespace {

#ifdef KEELSON_SANITIZED
constexpr uint64_t kSeeds = 120;
#else
constexpr uint64_t kSeeds = 2400;
#endif

std::string Describe(const RunOptions& options, const RunResult& result) {
  return "seed " + std::to_string(result.seed) + ", step " + std::to_string(result.steps) + ": " +
         result.violation->invariant + ": " + result.violation->text + "\n  " + result.swarm +
         "\nreplay: " + ReplayCommand(options);
}

// What a set of runs did, to know that it tested anything.
struct Total {
  uint64_t committed = 0, elections = 0, membership_changes = 0, crashes = 0, partitions = 0,
           writes = 0, reads = 0, losses = 0;
  uint64_t snapshots = 0, dropped = 0, duplicated = 0, disk_faults = 0, torn = 0, refused = 0;

  void Add(const RunResult& result) {
    committed += result.committed;
    elections += result.elections;
    membership_changes += result.membership_changes;
    crashes += result.crashes;
    partitions += result.partitions;
    losses += result.losses;
    writes += result.history.writes;
    reads += result.history.reads;
    refused += result.history.refused;
    snapshots += result.network.snapshots_delivered;
    dropped += result.network.dropped;
    duplicated += result.network.duplicated;
    for (const Fault fault : {Fault::kReadError, Fault::kWriteError, Fault::kSyncError,
                              Fault::kDirectorySyncError, Fault::kNoSpace}) {
      disk_faults += result.faults[fault];
    }
    torn += result.faults[Fault::kTornWrite];
  }
};

Total RunAll(uint64_t first_seed, uint64_t seeds, int nodes,
             const std::string& profile = "default") {
  Total total;
  for (uint64_t seed = first_seed; seed < first_seed + seeds; ++seed) {
    const RunOptions options{.seed = seed, .nodes = nodes, .profile = profile};
    // Catch2 prints this too when a check of the code under test aborts.
    INFO("running seed " << seed << ", replay: " << ReplayCommand(options));
    const RunResult result = RunSeed(options);
    if (result.violation.has_value()) FAIL(Describe(options, result));
    total.Add(result);
  }
  return total;
}

TEST_CASE("Three members keep every promise through crashes, partitions and bad disks",
          "[raft][sim]") {
  const Total total = RunAll(1, kSeeds, 3);

  // Each kind of fault did happen, and work got done between them.
  CHECK(total.committed > 50 * kSeeds);
  CHECK(total.writes > 40 * kSeeds);
  CHECK(total.reads > 20 * kSeeds);
  CHECK(total.elections > 2 * kSeeds);
  CHECK(total.membership_changes > kSeeds / 2);
  CHECK(total.crashes > kSeeds);
  CHECK(total.partitions > kSeeds);
  CHECK(total.dropped > 10 * kSeeds);
  CHECK(total.duplicated > 10 * kSeeds);
  CHECK(total.snapshots > kSeeds / 10);
  CHECK(total.disk_faults > kSeeds / 2);
  CHECK(total.torn > kSeeds / 5);
  CHECK(total.refused > kSeeds / 100);
}

TEST_CASE("Clusters of other sizes keep them too", "[raft][sim]") {
  const int nodes = GENERATE(1, 2, 4, 5);
  (void)RunAll(500'000, kSeeds / 40, nodes);
}

TEST_CASE("A minority may lose its disks, or what is on them, and gets it back", "[raft][sim]") {
  const int nodes = GENERATE(3, 5);
  const std::string profile = GENERATE("bitrot", "wipe");
  const Total total = RunAll(1, kSeeds / 8, nodes, profile);
  CHECK(total.losses > kSeeds / 8);
  CHECK(total.committed > kSeeds);
}

TEST_CASE("The same seed gives the same run, event by event", "[raft][sim]") {
  for (uint64_t seed = 1; seed <= kSeeds / 60; ++seed) {
    const RunOptions options{.seed = seed};
    const RunResult first = RunSeed(options);
    const RunResult second = RunSeed(options);

    INFO("seed " << seed);
    REQUIRE(first.trace_hash == second.trace_hash);
    REQUIRE(first.steps == second.steps);
    REQUIRE(first.virtual_time == second.virtual_time);
  }
}

TEST_CASE("Different seeds give different runs", "[raft][sim]") {
  CHECK(RunSeed({.seed = 1}).trace_hash != RunSeed({.seed = 2}).trace_hash);
}

TEST_CASE("Without faults one election is enough and nobody waits", "[raft][sim]") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    INFO("seed " << seed);
    const RunResult result = RunSeed({.seed = seed, .swarm = Swarm()});

    REQUIRE_FALSE(result.violation.has_value());
    CHECK(result.elections <= 2);  // a split vote may cost a second
    CHECK(result.history.refused == 0);
    CHECK(result.history.writes > 100);
    CHECK(result.history.reads > 50);
  }
}

}  // namespace
}  // namespace keelson::raft::sim
