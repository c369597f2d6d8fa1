// Decides whether what clients saw of one register could have come from operations that take
// effect one after the other, each between its call and its return: the search of Wing and Gong
// (1993) with the memo of Lowe (2017).
//
// A history over many keys is linearizable exactly when the history of each key is, so a store is
// checked key by key. This knows nothing of revisions or logs; History checks those.
#ifndef KEELSON_RAFT_SIM_LINEARIZABILITY_H_
#define KEELSON_RAFT_SIM_LINEARIZABILITY_H_

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace keelson::raft::sim {

// When an operation returned of which nobody knows whether and when it took effect.
inline constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

struct RegisterOperation {
  bool write = false;
  uint64_t value = 0;  // written or read; 0: nothing was written yet
  // Any clock that all clients share; at equal times calls come before returns. A write may
  // return kNever. Of a read without an answer nothing is known, so leave it out.
  uint64_t call = 0;
  uint64_t end = 0;  // at or after `call`
};

enum class Linearizability : uint8_t { kYes, kNo, kGaveUp };

struct LinearizabilityResult {
  Linearizability verdict = Linearizability::kYes;
  // For kNo: places in the history of operations that found no place in the longest order.
  std::vector<size_t> unplaced;
  uint64_t steps = 0;
};

// Tries at most `max_steps` steps, then gives up.
LinearizabilityResult CheckRegister(std::span<const RegisterOperation> history, uint64_t max_steps);

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_LINEARIZABILITY_H_
