#include "raft/sim/sim_world.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "raft/sim/sim_executor.h"

namespace keelson::raft::sim {
namespace {

void RunAll(SimWorld& world) {
  while (world.Step()) {
  }
}

TEST_CASE("Events run by time, then in the order of scheduling", "[raft][sim][world]") {
  SimWorld world(1);
  std::vector<int> order;
  world.After(absl::Milliseconds(2), [&] { order.push_back(3); });
  world.After(absl::Milliseconds(1), [&] { order.push_back(1); });
  world.After(absl::Milliseconds(1), [&] { order.push_back(2); });
  world.After(-absl::Milliseconds(5), [&] { order.push_back(0); });

  RunAll(world);

  CHECK(order == std::vector<int>{0, 1, 2, 3});
  CHECK(world.now() == absl::Milliseconds(2));
  CHECK(world.steps() == 4);
}

TEST_CASE("What an event spends delays its own effects, not the others", "[raft][sim][world]") {
  SimWorld world(1);
  std::vector<std::string> order;
  world.After(absl::Milliseconds(1), [&] {
    world.Spend(absl::Milliseconds(10));
    CHECK(world.now() == absl::Milliseconds(11));
    world.After(absl::ZeroDuration(), [&] { order.push_back("effect"); });
  });
  world.After(absl::Milliseconds(5), [&] {
    CHECK(world.now() == absl::Milliseconds(5));
    order.push_back("other");
  });

  RunAll(world);

  CHECK(order == std::vector<std::string>{"other", "effect"});
  CHECK(world.now() == absl::Milliseconds(11));
}

TEST_CASE("The trace hash depends on what, when and the numbers", "[raft][sim][world]") {
  const auto hash = [](absl::Duration when, const char* what, uint64_t number) {
    SimWorld world(1);
    world.After(when, [&] { world.Trace(what, {number, 2}); });
    RunAll(world);
    return world.trace_hash();
  };

  CHECK(hash(absl::Seconds(1), "send", 1) == hash(absl::Seconds(1), "send", 1));
  CHECK(hash(absl::Seconds(1), "send", 1) != hash(absl::Seconds(2), "send", 1));
  CHECK(hash(absl::Seconds(1), "send", 1) != hash(absl::Seconds(1), "sent", 1));
  CHECK(hash(absl::Seconds(1), "send", 1) != hash(absl::Seconds(1), "send", 3));
}

TEST_CASE("A clock of another rate drifts, its wall clock may jump", "[raft][sim][world]") {
  SimWorld world(1);
  SimClock clock(world, 1.5);
  const absl::Time start = clock.Now();
  world.After(absl::Seconds(2), [] {});
  RunAll(world);

  CHECK(clock.Monotonic() == absl::Seconds(3));
  clock.JumpWallClock(-absl::Hours(1));
  CHECK(clock.Monotonic() == absl::Seconds(3));
  CHECK(clock.Now() == start + absl::Seconds(3) - absl::Hours(1));
}

TEST_CASE("A simulated executor runs tasks in order, never inside Post", "[raft][sim][executor]") {
  SimWorld world(1);
  SimExecutor executor(world, Random(1), {});
  std::vector<int> order;
  for (int i = 0; i < 50; ++i) {
    executor.Post([&order, &executor, i] {
      order.push_back(i);
      if (i == 0) executor.Post([&order] { order.push_back(50); });
    });
  }
  CHECK(order.empty());
  CHECK(executor.waiting() == 50);

  RunAll(world);

  CHECK(order.size() == 51);
  CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("A task waits for the time that the one before it spends", "[raft][sim][executor]") {
  SimWorld world(1);
  SimExecutor executor(world, Random(1), {});
  absl::Duration second;
  executor.Post([&] { world.Spend(absl::Seconds(1)); });
  executor.Post([&] { second = world.now(); });

  RunAll(world);

  CHECK(second >= absl::Seconds(1));
}

TEST_CASE("Delays are measured by the executor's own clock", "[raft][sim][executor]") {
  SimWorld world(1);
  SimExecutor::Options options;
  options.clock_rate = 2;
  SimExecutor executor(world, Random(1), options);
  absl::Duration at;
  executor.PostAfter(absl::Seconds(2), [&] { at = world.now(); });

  RunAll(world);

  CHECK(at >= absl::Seconds(1));
  CHECK(at < absl::Milliseconds(1100));
}

TEST_CASE("A killed executor runs nothing and frees its tasks", "[raft][sim][executor]") {
  SimWorld world(1);
  auto executor = std::make_unique<SimExecutor>(world, Random(1), SimExecutor::Options());
  bool ran = false;
  auto token = std::make_shared<int>(0);
  const std::weak_ptr<int> alive = token;
  executor->Post([&ran, token = std::move(token)] { ran = true; });
  executor->PostAfter(absl::Seconds(1), [&ran] { ran = true; });

  executor->Kill();
  CHECK(alive.expired());
  executor->Post([&ran] { ran = true; });
  executor.reset();
  RunAll(world);

  CHECK_FALSE(ran);
}

TEST_CASE("A task may kill its own executor", "[raft][sim][executor]") {
  SimWorld world(1);
  SimExecutor executor(world, Random(1), {});
  bool ran = false;
  executor.Post([&] { executor.Kill(); });
  executor.Post([&] { ran = true; });

  RunAll(world);

  CHECK_FALSE(ran);
}

TEST_CASE("A paused executor goes on afterwards, with everything that waited",
          "[raft][sim][executor]") {
  SimWorld world(1);
  SimExecutor executor(world, Random(1), {});
  std::vector<absl::Duration> at;
  executor.Post([&] { at.push_back(world.now()); });
  executor.PauseUntil(absl::Seconds(3));
  executor.Post([&] { at.push_back(world.now()); });

  RunAll(world);

  REQUIRE(at.size() == 2);
  CHECK(at[0] >= absl::Seconds(3));
}

TEST_CASE("Stalls come at their rate and end with Calm", "[raft][sim][executor]") {
  SimWorld world(1);
  SimExecutor::Options options;
  options.stall = 0.5;
  options.stall_delay = absl::Seconds(1);
  SimExecutor executor(world, Random(1), options);
  for (int i = 0; i < 100; ++i) executor.Post([] {});
  RunAll(world);
  CHECK(world.now() > absl::Seconds(20));

  executor.Calm();
  const absl::Duration start = world.now();
  for (int i = 0; i < 100; ++i) executor.Post([] {});
  RunAll(world);
  CHECK(world.now() - start < absl::Milliseconds(10));
}

}  // namespace
}  // namespace keelson::raft::sim
