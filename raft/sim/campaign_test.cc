// The summary of a campaign, and that a run is the same wherever it is compiled.
#include "raft/sim/campaign.h"

#include <catch2/catch.hpp>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace keelson::raft::sim {
namespace {

TEST_CASE("The summary counts what the runs did", "[raft][sim][campaign]") {
  Campaign campaign;
  uint64_t events = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const RunResult result = RunSeed({.seed = seed, .coverage = &campaign.coverage()});
    events += result.steps;
    campaign.Add(result);
  }

  const auto json = nlohmann::json::parse(campaign.Json(absl::Seconds(2)))["summary"];
  CHECK(json["seeds"] == 20);
  CHECK(json["failed"] == 0);
  CHECK(json["events"] == events);
  CHECK(json["faults"].size() == kFaults);
  CHECK(json["faults"]["drop"] > 0);
  CHECK(json["states"]["events_by_role"] > 20);
  CHECK(json["states"]["abstract_states"] > 20);
  CHECK(json["keys_checked"] > 20);
  CHECK(json["simulated_per_real_second"].get<double>() * 2 ==
        Approx(json["simulated_seconds"].get<double>()));
  const std::string text = campaign.Text(absl::Seconds(2));
  CHECK(text.find("20 seeds, 0 failed") != std::string::npos);
  CHECK(text.find("power loss") != std::string::npos);
}

TEST_CASE("A failed run is counted", "[raft][sim][campaign]") {
  Campaign campaign;
  campaign.Add({.seed = 1, .violation = Violation{.invariant = "I1", .text = "two leaders"}});

  CHECK(campaign.failures() == 1);
  CHECK(campaign.Text(absl::ZeroDuration()).find("1 seeds, 1 failed") != std::string::npos);
}

}  // namespace
}  // namespace keelson::raft::sim
