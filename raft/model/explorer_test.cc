// Small runs that end, and mistakes that must be found.
#include "raft/model/explorer.h"

#include <catch2/catch.hpp>

#include <string>

#include "raft/model/bounds.h"

namespace keelson::raft::model {
namespace {

Result Run(const Bounds& bounds) {
  Explorer explorer(bounds);
  return explorer.Run([](const Progress&) {});
}

TEST_CASE("No state within small bounds breaks an invariant", "[raft][model]") {
  const Bounds bounds =
      GENERATE(Bounds{.entries = 2, .crashes = 0, .duplicates = 0, .stalls = 0},
               Bounds{.terms = 1, .entries = 2, .crashes = 1, .duplicates = 0, .stalls = 0},
               Bounds{.nodes = 2, .entries = 2, .crashes = 1, .duplicates = 0, .stalls = 0});
  const Result result = Run(bounds);
  if (result.violation.has_value()) FAIL(result.violation->what);
  CHECK(result.finished);
  CHECK(result.states > 1000);
}

TEST_CASE("The nearest states of a run with crashes, duplicates and a lagging disk are sound",
          "[raft][model]") {
  const Result result = Run({.max_states = 1'000'000});
  if (result.violation.has_value()) FAIL(result.violation->what);
  CHECK(result.depth >= 8);
}

TEST_CASE("A mistake is found", "[raft][model]") {
  const Defect defect =
      GENERATE(Defect::kAckBeforeSync, Defect::kSelfAckBeforeSync, Defect::kForgottenVote,
               Defect::kForgottenTerm, Defect::kLostTail, Defect::kEveryVoteYes,
               Defect::kStaleVoteCounted, Defect::kCandidateLogIgnored);
  const Result result = Run({.defect = defect, .max_states = 500'000});
  INFO("defect " << static_cast<int>(defect));
  REQUIRE(result.violation.has_value());
  CHECK_FALSE(result.violation->trace.empty());
}

TEST_CASE("A vote request that overtakes the disk loses committed entries", "[raft][model]") {
  const Result result = Run({.entries = 2, .duplicates = 0, .defect = Defect::kOvertakingCampaign});
  REQUIRE(result.violation.has_value());
  CHECK(result.violation->what.find("leader completeness") == 0);
}

TEST_CASE("Figure 8 of the Raft paper is found", "[raft][model]") {
  const Result result = Run({.terms = 4,
                             .duplicates = 0,
                             .heartbeats = 1,
                             .stalls = 0,
                             .start = Start::kFigure8,
                             .defect = Defect::kCommitOldTerm});
  REQUIRE(result.violation.has_value());
  CHECK(result.violation->what.find("leader completeness") == 0);
}

TEST_CASE("Names of members do not count as states", "[raft][model]") {
  Bounds bounds{.entries = 1, .crashes = 0, .duplicates = 0, .stalls = 0};
  const uint64_t with = Run(bounds).states;
  bounds.symmetry = false;
  const uint64_t without = Run(bounds).states;
  CHECK(with < without);
  CHECK(without <= 6 * with);
}

}  // namespace
}  // namespace keelson::raft::model
