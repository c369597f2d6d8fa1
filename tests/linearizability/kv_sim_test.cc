// Simulated clusters of the store: nothing is found in the product, and each planted defect is.
#include <catch2/catch.hpp>

#include <string>

#include "tests/linearizability/kv_sim.h"

namespace keelson::linearizability {
namespace {

#ifdef KEELSON_SANITIZED
constexpr uint64_t kSeeds = 5;
#else
constexpr uint64_t kSeeds = 60;
#endif
constexpr uint64_t kSeedsToFind = 300;

TEST_CASE("every promise holds in simulated clusters", "[kvstore][sim]") {
  SimCounts counts;
  uint64_t operations = 0;
  uint64_t expiries = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const SimResult result = RunKvSim({.seed = seed});
    INFO("seed " << seed << "; again: kv_sim --seeds=1 --first-seed=" << seed);
    REQUIRE(result.violations == std::vector<std::string>{});
    counts.Add(result.counts);
    operations += result.verdict.writes + result.verdict.reads;
    expiries += result.verdict.expiries;
  }
  // It did test something.
  CHECK(operations > kSeeds * 500);
  CHECK(expiries > kSeeds);
  CHECK(counts.crashes > kSeeds);
  CHECK(counts.pauses > 0);
  CHECK(counts.partitions > 0);
  CHECK(counts.snapshots_restored > 0);
  CHECK(counts.members_added > 0);
  CHECK(counts.clock_changes > 0);
  CHECK(counts.compactions > 0);
}

TEST_CASE("a seed gives the same run again", "[kvstore][sim]") {
  const SimResult first = RunKvSim({.seed = 3});
  const SimResult second = RunKvSim({.seed = 3});
  CHECK(first.steps == second.steps);
  CHECK(first.trace_hash == second.trace_hash);
  CHECK(first.verdict.events == second.verdict.events);
}

TEST_CASE("each planted defect is found", "[kvstore][sim]") {
  for (const PlantInfo& plant : Plants()) {
    uint64_t seed = 1;
    while (seed <= kSeedsToFind &&
           RunKvSim({.seed = seed, .plant = plant.plant}).violations.empty()) {
      ++seed;
    }
    INFO(plant.name);
    CHECK(seed <= kSeedsToFind);
  }
}

}  // namespace
}  // namespace keelson::linearizability
