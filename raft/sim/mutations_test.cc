// A simulator that finds nothing proves nothing: each defect of the catalogue must be found.
#include "raft/sim/mutations.h"

#include <catch2/catch.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "raft/sim/catch_mutation.h"
#include "raft/sim/sim_cluster.h"

namespace keelson::raft::sim {
namespace {

TEST_CASE("Every defect is in the catalogue once, under a name of its own",
          "[raft][sim][mutation]") {
  std::set<std::string> names;
  int next = 1;
  for (const MutationInfo& info : Mutations()) {
    CHECK(static_cast<int>(info.mutation) == next++);
    CHECK(names.insert(info.name).second);
    CHECK(info.of_class >= 1);
    CHECK(info.of_class <= 35);
    CHECK(FindMutation(std::string_view(info.name)) == &info);
  }
  CHECK(next == static_cast<int>(Mutation::kCount));
  CHECK(names.size() >= 60);
  CHECK(FindMutation("no-such-defect") == nullptr);
}

TEST_CASE("The document lists the catalogue", "[raft][sim][mutation]") {
  std::ifstream file("raft/docs/mutations.md");
  std::stringstream text;
  text << file.rdbuf();
  for (const MutationInfo& info : Mutations()) {
    const std::string row = std::string("| ") + info.name + " | " + std::to_string(info.of_class) +
                            " | " + info.breaks + " | " + info.seen_in + " | ";
    INFO(row);
    CHECK(text.str().find(row) != std::string::npos);
  }
}

TEST_CASE("While none is planted the code runs as the product's does", "[raft][sim][mutation]") {
  constexpr uint64_t kSeeds = 20;
  // NOLINTNEXTLINE(cert-env33-c): a fixed command of ours.
  FILE* product = ::popen(("raft/sim/trace_hashes " + std::to_string(kSeeds)).c_str(), "r");
  REQUIRE(product != nullptr);
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    INFO("seed " << seed);
    char line[32] = {};
    REQUIRE(std::fgets(line, sizeof line, product) != nullptr);
    CHECK(RunSeed({.seed = seed}).trace_hash == std::strtoull(line, nullptr, 16));
  }
  CHECK(::pclose(product) == 0);
}

TEST_CASE("Every defect of hosts is in its catalogue once, and in the document",
          "[raft][sim][mutation][host]") {
  std::ifstream file("raft/docs/mutations.md");
  std::stringstream text;
  text << file.rdbuf();
  int next = 1;
  for (const HostMutationInfo& info : HostMutations()) {
    CHECK(static_cast<int>(info.mutation) == next++);
    CHECK(FindHostMutation(info.name) == &info);
    const std::string row = std::string("| ") + info.name + " | " + info.breaks + " | ";
    INFO(row);
    CHECK(text.str().find(row) != std::string::npos);
  }
  CHECK(next == static_cast<int>(HostMutation::kCount));
}

#ifndef KEELSON_SANITIZED  // Takes minutes there, and finds the same.
// These take more seeds; docs/mutations.md says how many.
const std::set<std::string> kHard = {
    "ack-own-last",           "commit-ahead-of-entries",
    "full-window-silent",     "many-changes-at-once",
    "no-commit-by-vote",      "no-retry-after-full-disk",
    "overtaken-change-made",  "rewritten-tail-not-stored",
    "snapshot-not-synced",    "stale-snapshot-installed",
    "transfer-never-aborted", "unproven-not-rewritten",
};

TEST_CASE("Every defect but the hard ones is found within 60 seeds", "[raft][sim][mutation]") {
  for (const MutationInfo& info : Mutations()) {
    if (kHard.contains(info.name)) continue;
    INFO(info.name);
    CHECK(CatchMutation(info, {.max_seeds = 60}).seeds > 0);
  }
}

TEST_CASE("Every defect of hosts is found within 60 seeds", "[raft][sim][mutation][host]") {
  for (const HostMutationInfo& info : HostMutations()) {
    INFO(info.name);
    CHECK(CatchHostMutation(info, {.max_seeds = 60}).seeds > 0);
  }
}
#endif

TEST_CASE("What fails without the defect is no catch", "[raft][sim][mutation]") {
  CatchOptions options{.max_seeds = 60};
  const MutationInfo& twice = *FindMutation("vote-twice");
  const Caught caught = CatchMutation(twice, options);
  CHECK(caught.seeds > 0);
  CHECK_FALSE(caught.product_fails);

  // As if the product voted twice.
  options.run = [](uint64_t seed, Mutation) { return MixedRun(seed, Mutation::kVoteTwice); };
  const Caught broken = CatchMutation(twice, options);
  CHECK(broken.product_fails);
  CHECK(broken.seeds == 0);
  CHECK(broken.seed == caught.seed);
}

TEST_CASE("A defect that is not there is not found", "[raft][sim][mutation]") {
  constexpr MutationInfo kNothing{.mutation = Mutation::kNone, .name = "none"};

  CHECK(CatchMutation(kNothing, {.max_seeds = 5}).seeds == 0);
}

}  // namespace
}  // namespace keelson::raft::sim
