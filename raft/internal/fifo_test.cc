#include "raft/internal/fifo.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <deque>
#include <memory>

#include "base/random.h"

namespace keelson::raft {
namespace {

TEST_CASE("A fifo does what a deque does", "[raft][fifo]") {
  const uint64_t seed = GENERATE(range(1, 30));
  INFO("seed " << seed);
  Random random(seed);
  Fifo<int> fifo;
  std::deque<int> twin;
  for (int step = 0; step < 2000; ++step) {
    const uint64_t dice = random.Below(100);
    // Fills in some stretches and drains in others.
    const bool filling = (step / 200) % 2 == 0;
    if (dice < (filling ? 60U : 30U)) {
      fifo.push_back(step);
      twin.push_back(step);
    } else if (dice < (filling ? 70U : 35U)) {
      fifo.push_front(step);
      twin.push_front(step);
    } else if (dice < 99) {
      if (twin.empty()) continue;
      fifo.pop_front();
      twin.pop_front();
    } else {
      fifo.clear();
      twin.clear();
    }
    REQUIRE(fifo.size() == twin.size());
    REQUIRE(std::equal(fifo.begin(), fifo.end(), twin.begin(), twin.end()));
    if (twin.empty()) continue;
    REQUIRE(fifo.front() == twin.front());
    REQUIRE(fifo.back() == twin.back());
    const size_t at = random.Below(twin.size());
    REQUIRE(fifo[at] == twin[at]);
  }
}

TEST_CASE("What leaves a fifo is freed at once", "[raft][fifo]") {
  Fifo<std::shared_ptr<int>> fifo;
  const auto value = std::make_shared<int>(7);
  fifo.push_back(value);
  fifo.push_back(value);
  CHECK(value.use_count() == 3);
  fifo.pop_front();
  CHECK(value.use_count() == 2);
  fifo.clear();
  CHECK(value.use_count() == 1);
}

}  // namespace
}  // namespace keelson::raft
