// A whole simulated cluster of the store, from one seed: production servers, state machines and Raft
// nodes on simulated disks, networks and clocks, with clients, watches and faults in virtual time.
// Afterwards checker.h judges what the clients saw.
//
//   const SimResult result = RunKvSim({.seed = 7});
//   if (!result.violations.empty()) Print(result.violations[0]);
#ifndef KEELSON_TESTS_LINEARIZABILITY_KV_SIM_H_
#define KEELSON_TESTS_LINEARIZABILITY_KV_SIM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/linearizability/checker.h"
#include "tests/linearizability/sim_member.h"

namespace keelson::linearizability {

struct SimOptions {
  uint64_t seed = 1;
  Plant plant = Plant::kNone;
};

struct SimCounts {
  uint64_t crashes = 0;     // of processes
  uint64_t power_cuts = 0;  // of machines
  uint64_t pauses = 0;      // also longer than a lease lives
  uint64_t partitions = 0;  // a member alone, or one direction
  uint64_t clock_changes = 0;
  uint64_t transfers = 0;  // of leadership
  uint64_t members_added = 0;
  uint64_t members_removed = 0;
  uint64_t members_promoted = 0;
  uint64_t snapshots_restored = 0;
  uint64_t compactions = 0;

  void Add(const SimCounts& other);
};

struct SimResult {
  Verdict verdict;
  // What broke: the judge's lines, or one that begins with LIVE (it did not recover after all faults
  // had ended) or SAME (members hold different states).
  std::vector<std::string> violations;
  SimCounts counts;
  uint64_t steps = 0;
  uint64_t trace_hash = 0;  // the same for the same options
};

SimResult RunKvSim(const SimOptions& options);

}  // namespace keelson::linearizability

#endif  // KEELSON_TESTS_LINEARIZABILITY_KV_SIM_H_
