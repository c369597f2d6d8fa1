#include "raft/sim/linearizability.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "base/random.h"
#include "raft/sim/client_log.h"

namespace keelson::raft::sim {
namespace {

constexpr uint64_t kSteps = 1'000'000;

RegisterOperation Write(uint64_t value, uint64_t call, uint64_t end) {
  return {.write = true, .value = value, .call = call, .end = end};
}
RegisterOperation Read(uint64_t value, uint64_t call, uint64_t end) {
  return {.write = false, .value = value, .call = call, .end = end};
}

struct Row {
  std::string name;
  std::vector<RegisterOperation> history;
};

TEST_CASE("Histories that no single register can have made are refused", "[raft][sim][lin]") {
  const auto row = GENERATE(values<Row>({
      {"stale read", {Write(1, 1, 2), Write(2, 3, 4), Read(1, 5, 6)}},
      {"stale read of nothing", {Write(1, 1, 2), Read(0, 3, 4)}},
      {"lost update", {Write(1, 1, 2), Write(2, 3, 4), Read(2, 5, 6), Read(1, 7, 8)}},
      {"read of the future", {Read(1, 1, 2), Write(1, 3, 4)}},
      {"a value from nowhere", {Write(1, 1, 2), Read(9, 3, 4)}},
      {"two readers see two orders",
       {Write(1, 1, 10), Write(2, 1, 10), Read(1, 11, 12), Read(2, 13, 14)}},
      {"split brain: two old values by turns",
       {Write(1, 1, 2), Write(2, 3, kNever), Read(2, 4, 5), Read(1, 6, 7)}},
      {"applied twice: an overwritten value comes back",
       {Write(1, 1, kNever), Read(1, 2, 3), Write(2, 4, 5), Read(2, 6, 7), Read(1, 8, 9)}},
  }));

  DYNAMIC_SECTION(row.name) {
    const LinearizabilityResult result = CheckRegister(row.history, kSteps);

    CHECK(result.verdict == Linearizability::kNo);
    CHECK_FALSE(result.unplaced.empty());
  }
}

TEST_CASE("Histories that a register can have made are accepted", "[raft][sim][lin]") {
  const auto row = GENERATE(values<Row>({
      {"none", {}},
      {"one after the other", {Read(0, 1, 2), Write(1, 3, 4), Read(1, 5, 6)}},
      {"a read during a write sees the old value", {Write(1, 1, 10), Read(0, 2, 3)}},
      {"or the new one", {Write(1, 1, 10), Read(1, 2, 3)}},
      {"first new, then what is newer",
       {Write(1, 1, 10), Write(2, 1, 10), Read(1, 2, 3), Read(2, 4, 5)}},
      {"an unknown write took effect late", {Write(1, 1, kNever), Read(0, 2, 3), Read(1, 4, 5)}},
      {"or never", {Write(1, 1, kNever), Write(2, 2, 3), Read(2, 4, 5)}},
      {"a call at the moment of a return may come before it", {Write(1, 1, 2), Read(0, 2, 3)}},
  }));

  DYNAMIC_SECTION(row.name) {
    CHECK(CheckRegister(row.history, kSteps).verdict == Linearizability::kYes);
  }
}

TEST_CASE("Too little effort is no verdict", "[raft][sim][lin]") {
  const std::vector<RegisterOperation> history = {Write(1, 1, 2), Read(1, 3, 4)};
  CHECK(CheckRegister(history, 1).verdict == Linearizability::kGaveUp);
}

// The naive twin: all orders.
bool SomeOrderFits(const std::vector<RegisterOperation>& history) {
  std::vector<size_t> order(history.size());
  std::iota(order.begin(), order.end(), size_t{0});
  do {
    bool fits = true;
    uint64_t state = 0;
    for (size_t i = 0; fits && i < order.size(); ++i) {
      const RegisterOperation& operation = history[order[i]];
      for (size_t later = i + 1; later < order.size(); ++later) {
        fits = fits && history[order[later]].end >= operation.call;
      }
      if (operation.write) state = operation.value;
      fits = fits && operation.value == state;
    }
    if (fits) return true;
  } while (std::next_permutation(order.begin(), order.end()));
  return false;
}

TEST_CASE("The search agrees with trying all orders", "[raft][sim][lin]") {
  Random random(4711);
  int good = 0;
  int bad = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<RegisterOperation> history;
    const uint64_t count = 1 + random.Below(6);
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t call = random.Below(12);
      const uint64_t end = call + random.Below(6);
      if (random.Bernoulli(0.5)) {
        history.push_back(Write(i + 1, call, random.Bernoulli(0.2) ? kNever : end));
      } else {
        history.push_back(Read(random.Below(count + 1), call, end));
      }
    }
    const bool want = SomeOrderFits(history);
    INFO("round " << round);
    REQUIRE((CheckRegister(history, kSteps).verdict == Linearizability::kYes) == want);
    ++(want ? good : bad);
  }
  CHECK(good > 300);
  CHECK(bad > 300);
}

TEST_CASE("The log of clients judges each key by itself", "[raft][sim][lin]") {
  ClientLog log;
  const ClientLog::Call a = log.BeginWrite("k", "a");
  log.EndWrite(a);
  const ClientLog::Call unknown = log.BeginWrite("k", "b");
  const std::string value_a = "a";
  const std::string value_b = "b";
  log.EndRead(log.BeginRead("k"), &value_a);
  log.EndRead(log.BeginRead("other"), nullptr);

  SECTION("all is well") {
    log.EndRead(log.BeginRead("k"), &value_b);
    const ClientLog::Finding finding = log.Check(kSteps);
    CHECK_FALSE(finding.violation.has_value());
    CHECK(finding.keys_checked == 2);
    CHECK(finding.keys_given_up == 0);
  }
  SECTION("a refused write was seen") {
    log.Refuse(unknown);
    log.EndRead(log.BeginRead("k"), &value_b);
    CHECK(log.Check(kSteps).violation.has_value());
  }
  SECTION("a value of another key was seen") {
    log.EndRead(log.BeginRead("other"), &value_a);
    CHECK(log.Check(kSteps).violation.has_value());
  }
  SECTION("a key vanished") {
    log.EndRead(log.BeginRead("k"), nullptr);
    const ClientLog::Finding finding = log.Check(kSteps);
    REQUIRE(finding.violation.has_value());
    CHECK(finding.violation->find("'k'") != std::string::npos);
  }
}

}  // namespace
}  // namespace keelson::raft::sim
