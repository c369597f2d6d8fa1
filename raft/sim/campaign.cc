#include "raft/sim/campaign.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace keelson::raft::sim {

void Campaign::Add(const RunResult& result) {
  ++seeds_;
  failures_ += result.violation.has_value() ? 1 : 0;
  events_ += result.steps;
  committed_ += result.committed;
  virtual_time_ += result.virtual_time;
  keys_checked_ += result.keys_checked;
  keys_given_up_ += result.keys_given_up;
  faults_.Merge(result.faults);
  failovers_.insert(failovers_.end(), result.failovers.begin(), result.failovers.end());
}

std::string Campaign::FailoverText() const {
  if (failovers_.empty()) return "";
  std::vector<double> sorted = failovers_;
  std::sort(sorted.begin(), sorted.end());
  const auto at = [&sorted](double share) {
    return sorted[std::min(sorted.size() - 1, static_cast<size_t>(share * sorted.size()))];
  };
  const auto below = std::lower_bound(sorted.begin(), sorted.end(), 2.0) - sorted.begin();
  return absl::StrFormat(
      "failover: %u leaders crashed; until there was another one, in election timeouts: median "
      "%.2f, p90 %.2f, p99 %.2f, p99.9 %.2f, max %.2f; below 2: %.2f %%\n",
      sorted.size(), at(0.5), at(0.9), at(0.99), at(0.999), sorted.back(),
      100.0 * static_cast<double>(below) / static_cast<double>(sorted.size()));
}

double Campaign::Ratio(absl::Duration real) const {
  return real > absl::ZeroDuration() ? absl::FDivDuration(virtual_time_, real) : 0;
}

std::string Campaign::Text(absl::Duration real) const {
  std::string text = "faults injected:\n";
  for (size_t i = 0; i < kFaults; ++i) {
    const auto fault = static_cast<Fault>(i);
    if (faults_[fault] > 0) {
      absl::StrAppendFormat(&text, "  %-24s %12u\n", FaultName(fault), faults_[fault]);
    }
  }
  text += FailoverText();
  absl::StrAppendFormat(
      &text, "states covered: %u events by role, %u membership shapes, %u abstract states\n",
      coverage_.events_by_role(), coverage_.membership_shapes(), coverage_.abstract_states());
  absl::StrAppendFormat(&text, "histories of %u keys checked, %u too hard to decide\n",
                        keys_checked_, keys_given_up_);
  absl::StrAppendFormat(&text, "%.0f s simulated in %.1f s: %.0f times real time\n",
                        absl::ToDoubleSeconds(virtual_time_), absl::ToDoubleSeconds(real),
                        Ratio(real));
  absl::StrAppendFormat(&text, "%u seeds, %u failed, %u events, %u entries committed, %.1f s\n",
                        seeds_, failures_, events_, committed_, absl::ToDoubleSeconds(real));
  return text;
}

std::string Campaign::Json(absl::Duration real) const {
  nlohmann::json faults = nlohmann::json::object();
  for (size_t i = 0; i < kFaults; ++i) {
    const auto fault = static_cast<Fault>(i);
    faults[FaultName(fault)] = faults_[fault];
  }
  const nlohmann::json summary = {{"seeds", seeds_},
                                  {"failed", failures_},
                                  {"events", events_},
                                  {"committed", committed_},
                                  {"simulated_seconds", absl::ToDoubleSeconds(virtual_time_)},
                                  {"real_seconds", absl::ToDoubleSeconds(real)},
                                  {"simulated_per_real_second", Ratio(real)},
                                  {"faults", faults},
                                  {"states",
                                   {{"events_by_role", coverage_.events_by_role()},
                                    {"membership_shapes", coverage_.membership_shapes()},
                                    {"abstract_states", coverage_.abstract_states()}}},
                                  {"keys_checked", keys_checked_},
                                  {"keys_given_up", keys_given_up_}};
  return nlohmann::json({{"summary", summary}}).dump();
}

}  // namespace keelson::raft::sim
