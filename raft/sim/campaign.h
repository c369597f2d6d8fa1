// What many runs amount to: the summary that raft_sim prints at its end.
#ifndef KEELSON_RAFT_SIM_CAMPAIGN_H_
#define KEELSON_RAFT_SIM_CAMPAIGN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "raft/sim/coverage.h"
#include "raft/sim/fault_counts.h"
#include "raft/sim/sim_cluster.h"

namespace keelson::raft::sim {

class Campaign {
 public:
  // Give this to RunOptions::coverage of each run.
  [[nodiscard]] Coverage& coverage() { return coverage_; }
  void Add(const RunResult& result);
  [[nodiscard]] uint64_t failures() const { return failures_; }

  // `real`: the time that all runs took.
  [[nodiscard]] std::string Text(absl::Duration real) const;
  // One JSON object: {"summary": {...}}.
  [[nodiscard]] std::string Json(absl::Duration real) const;

 private:
  // One line, empty when no leader crashed as in profile failover.
  [[nodiscard]] std::string FailoverText() const;
  [[nodiscard]] double Ratio(absl::Duration real) const;

  Coverage coverage_;
  FaultCounts faults_;
  std::vector<double> failovers_;
  absl::Duration virtual_time_;
  uint64_t seeds_ = 0;
  uint64_t failures_ = 0;
  uint64_t events_ = 0;
  uint64_t committed_ = 0;
  uint64_t keys_checked_ = 0;
  uint64_t keys_given_up_ = 0;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_CAMPAIGN_H_
