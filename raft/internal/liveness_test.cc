#include "raft/internal/liveness.h"

#include <catch2/catch.hpp>

#include <vector>

namespace keelson::raft {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);
using Nodes = std::vector<NodeId>;

TEST_CASE("A host is silent when it has said nothing for the limit", "[raft][liveness]") {
  Liveness liveness(10 * kTick, kTick);
  liveness.Add(2, absl::ZeroDuration());
  liveness.Add(3, absl::ZeroDuration());

  for (int tick = 1; tick < 10; ++tick) {
    liveness.Heard(3, tick * kTick);
    CHECK(liveness.Check(tick * kTick).empty());
  }
  CHECK(liveness.Check(10 * kTick) == Nodes{2});
  CHECK(liveness.lost() == 1);
  // It is named as long as it is silent, and counted once.
  CHECK(liveness.Check(11 * kTick) == Nodes{2});
  CHECK(liveness.lost() == 1);
  liveness.Heard(2, 12 * kTick);
  CHECK(liveness.Check(12 * kTick).empty());
  for (int tick = 13; tick < 22; ++tick) {
    liveness.Heard(3, tick * kTick);
    CHECK(liveness.Check(tick * kTick).empty());
  }
  CHECK(liveness.Check(22 * kTick) == Nodes{2});
  CHECK(liveness.lost() == 2);
}

TEST_CASE("A host that speaks is watched from then on", "[raft][liveness]") {
  Liveness liveness(10 * kTick, kTick);
  CHECK(liveness.peers().empty());
  liveness.Heard(5, kTick);
  liveness.Add(5, 2 * kTick);  // known already: no new grace
  CHECK(liveness.peers() == Nodes{5});
  for (int tick = 2; tick < 11; ++tick) CHECK(liveness.Check(tick * kTick).empty());
  CHECK(liveness.Check(11 * kTick) == Nodes{5});
}

TEST_CASE("Nobody is silent because this process stood still", "[raft][liveness]") {
  Liveness liveness(10 * kTick, kTick);
  liveness.Add(2, absl::ZeroDuration());
  CHECK(liveness.Check(4 * kTick).empty());

  // A minute passes in which nothing is checked and nothing is heard.
  const absl::Duration after = 5 * kTick + absl::Minutes(1);
  CHECK(liveness.Check(after).empty());

  // The four ticks of before count, the minute does not.
  for (int tick = 1; tick < 5; ++tick) CHECK(liveness.Check(after + tick * kTick).empty());
  CHECK(liveness.Check(after + 5 * kTick) == Nodes{2});
}

TEST_CASE("What was heard in a pause is not moved into the future", "[raft][liveness]") {
  Liveness liveness(10 * kTick, kTick);
  liveness.Add(2, absl::ZeroDuration());
  CHECK(liveness.Check(kTick).empty());
  const absl::Duration after = kTick + absl::Minutes(1);
  liveness.Heard(2, after);

  CHECK(liveness.Check(after + kTick).empty());

  for (int tick = 2; tick < 10; ++tick) CHECK(liveness.Check(after + tick * kTick).empty());
  CHECK(liveness.Check(after + 10 * kTick) == Nodes{2});
}

}  // namespace
}  // namespace keelson::raft
