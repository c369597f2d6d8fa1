// Groups without work sleep, and wake when something happens.
#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "base/testing/status_matchers.h"
#include "raft/core.h"
#include "raft/testing/core_network.h"
#include "raft/types.h"

namespace keelson::raft {
namespace {

constexpr int kQuiesceTicks = 5;

CoreNetwork Group(size_t voters = 3) {
  return CoreNetwork(voters, [](Options& options) { options.quiesce_ticks = kQuiesceTicks; });
}

void FallAsleep(CoreNetwork& net) {
  net.TickAll(kQuiesceTicks + 3);
  for (const NodeId id : net.ids()) REQUIRE(net.core(id).asleep());
}

TEST_CASE("A group without work falls asleep and sends nothing any more", "[raft][quiescence]") {
  CoreNetwork net = Group(GENERATE(size_t{1}, size_t{3}, size_t{5}));
  net.Elect(1);
  KEELSON_REQUIRE_OK(net.Propose(1, "a"));
  net.Settle();
  FallAsleep(net);
  size_t sent = 0;
  net.SetFilter([&sent](const Message&) {
    ++sent;
    return false;
  });
  net.TickAll(100);
  CHECK(sent == 0);
  CHECK(net.Leader() == 1);
}

TEST_CASE("It does not sleep unless asked to", "[raft][quiescence]") {
  CoreNetwork net(3);
  net.Elect(1);
  net.TickAll(50);
  CHECK_FALSE(net.core(1).asleep());
}

TEST_CASE("Work wakes it", "[raft][quiescence]") {
  CoreNetwork net = Group();
  net.Elect(1);
  FallAsleep(net);
  SECTION("a proposal on the leader") {
    KEELSON_REQUIRE_OK(net.Propose(1, "a"));
    net.Settle();
    CHECK(net.Applied(3) == std::vector<std::string>{"a"});
  }
  SECTION("a proposal on a follower") {
    KEELSON_REQUIRE_OK(net.Propose(2, "a"));
    net.Settle();
    net.TickAll();
    CHECK(net.Applied(3) == std::vector<std::string>{"a"});
  }
  SECTION("a read on the leader") {
    KEELSON_REQUIRE_OK(net.core(1).ReadIndex("r"));
    net.Collect(1);
    net.Settle();
    CHECK(net.reads(1).size() == 1);
  }
  SECTION("a read on a follower") {
    KEELSON_REQUIRE_OK(net.core(3).ReadIndex("r"));
    net.Collect(3);
    net.Settle();
    CHECK(net.reads(3).size() == 1);
  }
  SECTION("a transfer") {
    net.core(1).TransferLeadership(2);
    net.Collect(1);
    net.Settle();
    CHECK(net.Leader() == 2);
  }
  CHECK_FALSE(net.core(net.Leader()).asleep());
  FallAsleep(net);
}

TEST_CASE("A follower that missed the word wakes the group and is told again",
          "[raft][quiescence]") {
  CoreNetwork net = Group();
  net.Elect(1);
  net.SetFilter([](const Message& m) { return m.quiesce && m.to == 3; });
  net.TickAll(kQuiesceTicks + 1);
  REQUIRE(net.core(1).asleep());
  REQUIRE_FALSE(net.core(3).asleep());
  net.SetFilter({});
  net.TickAll(40);
  FallAsleep(net);
  CHECK(net.Leader() == 1);
  CHECK(net.core(1).hard_state().term == 1);
}

TEST_CASE("A member that lags or is away keeps the group awake", "[raft][quiescence]") {
  CoreNetwork net = Group();
  net.Elect(1);
  net.Isolate(3);
  KEELSON_REQUIRE_OK(net.Propose(1, "a"));
  net.TickAll(40);
  CHECK_FALSE(net.core(1).asleep());
  net.Heal();
  net.TickAll(3);
  FallAsleep(net);
  CHECK(net.Applied(3) == std::vector<std::string>{"a"});
}

TEST_CASE("When the driver wakes it, a group without its leader elects another",
          "[raft][quiescence]") {
  CoreNetwork net = Group();
  net.Elect(1);
  FallAsleep(net);
  net.Isolate(1);
  net.TickAll(50);
  REQUIRE(net.core(2).asleep());
  net.core(2).Wake();
  net.core(3).Wake();
  // 1 stays asleep, cut off, and thinks that it leads.
  for (int i = 0; i < 60; ++i) {
    net.Tick(2);
    net.Tick(3);
    net.Settle();
  }
  const bool two = net.core(2).soft_state().role == Role::kLeader;
  const bool three = net.core(3).soft_state().role == Role::kLeader;
  CHECK(two != three);
  KEELSON_REQUIRE_OK(net.Propose(two ? 2 : 3, "a"));
  net.Settle();
  net.Heal();
  net.TickAll(40);
  CHECK(net.Applied(1) == std::vector<std::string>{"a"});
  CHECK(net.violation().empty());
}

TEST_CASE("A leader that slept answers no read from a lease of before", "[raft][quiescence]") {
  CoreNetwork net(3, [](Options& options) {
    options.quiesce_ticks = kQuiesceTicks;
    options.read_mode = ReadMode::kLeaseBased;
  });
  net.TickAll(15);
  if (net.Leader() != 1) {
    net.core(net.Leader()).TransferLeadership(1);
    net.TickAll(15);
  }
  REQUIRE(net.Leader() == 1);
  FallAsleep(net);
  net.Isolate(1);
  KEELSON_REQUIRE_OK(net.core(1).ReadIndex("r"));
  net.Collect(1);
  net.Settle();
  CHECK(net.reads(1).empty());
}

}  // namespace
}  // namespace keelson::raft
