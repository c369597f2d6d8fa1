// Judges a history of a store whose answers carry its revision (etcd, kvstored).
//
// The log is what a watch of everything from the first revision on has told. Then, for every
// operation and every watch:
//   - an answered write is in the log at the revision it was told, whole and alone; a refused one
//     is nowhere; one without an answer at most once; and nothing else is in the log but
//     deletions of keys whose lease has ended
//   - a read, and a condition, agree with the log replayed up to the revision of the answer
//   - real time: what was called after another had returned has no smaller revision, and a greater
//     one if it is a write
// These are complete for strict serializability, if the revisions are true. So that an error in
// the revisions themselves is seen, the keys below "reg/" are also searched for an order without
// them (raft/sim/linearizability.h).
//   - a watch tells its part of the log in order, each event once, a revision at once, with the pair
//     before it, without a gap, whatever happened to its connection; and after progress up to R
//     nothing at or below R
//   - a lease lives as long as its last renewal said
#ifndef KEELSON_TESTS_LINEARIZABILITY_CHECKER_H_
#define KEELSON_TESTS_LINEARIZABILITY_CHECKER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/linearizability/history.h"

namespace keelson::linearizability {

struct Verdict {
  std::vector<std::string> violations;  // the first of each kind come first; at most kMaxViolations
  uint64_t violation_count = 0;
  uint64_t reads = 0;
  uint64_t writes = 0;
  uint64_t refused = 0;
  uint64_t unknown = 0;            // without an answer
  uint64_t unknown_effects = 0;    // of these, found in the log
  uint64_t events = 0;             // heard by all watches together
  uint64_t progress = 0;           // notifications
  uint64_t expiries = 0;           // keys deleted by the end of their lease
  uint64_t registers_checked = 0;  // by search
  uint64_t registers_given_up = 0;

  [[nodiscard]] bool ok() const { return violation_count == 0; }
};

inline constexpr size_t kMaxViolations = 20;

Verdict Check(const History& history);

}  // namespace keelson::linearizability

#endif  // KEELSON_TESTS_LINEARIZABILITY_CHECKER_H_
