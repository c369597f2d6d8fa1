// A simulator that finds nothing proves nothing: each defect planted here must be found
// within a number of seeds, and by the check that is meant for it.
#include <catch2/catch.hpp>

#include <cstdint>
#include <set>
#include <string>

#include "raft/sim/sim_cluster.h"

namespace keelson::raft::sim {
namespace {

#ifdef KEELSON_SANITIZED
constexpr uint64_t kSeeds = 60;
#else
constexpr uint64_t kSeeds = 300;
#endif

struct Row {
  Bug bug;
  std::set<std::string> found_by;  // any of these
};

TEST_CASE("A planted defect is found", "[raft][sim][mutation]") {
  const auto row = GENERATE(values<Row>({
      {Bug::kAckBeforeSync, {"I15"}},
      {Bug::kForgetVote, {"DUR", "I2"}},
      {Bug::kPositionBehindEffects, {"I11", "DUR"}},
      {Bug::kSnapshotWithoutSessions, {"I11", "I16", "LOST"}},
      {Bug::kCommitWithoutQuorum, {"I6", "I9"}},
      {Bug::kCommitTooFar, {"I6"}},
      {Bug::kStaleReads, {"LIN"}},
      {Bug::kAckEarly, {"I16"}},
  }));

  DYNAMIC_SECTION(BugName(row.bug)) {
    uint64_t found = 0;
    for (uint64_t seed = 1; seed <= kSeeds && found < 3; ++seed) {
      const RunResult result = RunSeed({.seed = seed, .bug = row.bug});
      if (!result.violation.has_value()) continue;
      INFO("seed " << seed << ": " << result.violation->invariant << ": "
                   << result.violation->text);
      CHECK(row.found_by.count(result.violation->invariant) == 1);
      ++found;
    }
    CHECK(found > 0);
  }
}

}  // namespace
}  // namespace keelson::raft::sim
