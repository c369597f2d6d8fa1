#include "base/executor.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "base/burst.h"
#include "base/clock.h"

namespace keelson {
namespace {

// Waits until everything posted before has run.
void Drain(Executor& executor) {
  absl::Notification done;
  executor.Post([&done] { done.Notify(); });
  done.WaitForNotification();
}

TEST_CASE("Tasks posted in a burst are found together at its end", "[base][executor]") {
  ThreadExecutor executor("test");
  Drain(executor);
  std::atomic<int> done = 0;
  {
    Burst burst;
    for (int i = 0; i < 100; ++i) executor.Post([&] { ++done; });
  }
  Drain(executor);
  CHECK(done == 100);
}

TEST_CASE("Tasks run in the order posted, one at a time", "[base][executor]") {
  ThreadExecutor executor("test");
  std::vector<int> order;  // touched by the executor's thread only, until Drain
  std::atomic<int> running = 0;
  std::atomic<bool> overlapped = false;

  for (int i = 0; i < 1000; ++i) {
    executor.Post([&, i] {
      if (++running != 1) overlapped = true;
      order.push_back(i);
      --running;
    });
  }
  Drain(executor);

  std::vector<int> want(1000);
  std::iota(want.begin(), want.end(), 0);
  CHECK(order == want);
  CHECK_FALSE(overlapped);
}

TEST_CASE("Tasks of several threads keep the order of each thread", "[base][executor]") {
  ThreadExecutor executor("test");
  constexpr int kThreads = 4;
  constexpr int kTasks = 500;
  std::vector<std::vector<int>> seen(kThreads);

  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&executor, &seen, t] {
      for (int i = 0; i < kTasks; ++i) executor.Post([&seen, t, i] { seen[t].push_back(i); });
    });
  }
  for (std::thread& thread : threads) thread.join();
  Drain(executor);

  for (const std::vector<int>& one : seen) {
    CHECK(one.size() == kTasks);
    CHECK(std::is_sorted(one.begin(), one.end()));
  }
}

TEST_CASE("A task may post, and what it posts never runs inside Post", "[base][executor]") {
  ThreadExecutor executor("test");
  std::vector<int> order;
  absl::Notification done;

  executor.Post([&] {
    executor.Post([&] {
      order.push_back(2);
      done.Notify();
    });
    order.push_back(1);
  });
  done.WaitForNotification();
  Drain(executor);

  CHECK(order == std::vector<int>{1, 2});
}

TEST_CASE("Delayed tasks run when due, the earlier first, not before", "[base][executor]") {
  ThreadExecutor executor("test");
  const absl::Duration start = RealClock().Monotonic();
  std::vector<int> order;
  std::vector<absl::Duration> at;
  absl::Notification done;

  executor.PostAfter(absl::Milliseconds(40), [&] {
    order.push_back(40);
    at.push_back(RealClock().Monotonic() - start);
    done.Notify();
  });
  executor.PostAfter(absl::Milliseconds(15), [&] {
    order.push_back(15);
    at.push_back(RealClock().Monotonic() - start);
  });
  done.WaitForNotification();
  Drain(executor);

  CHECK(order == std::vector<int>{15, 40});
  CHECK(at[0] >= absl::Milliseconds(15));
  CHECK(at[1] >= absl::Milliseconds(40));
}

TEST_CASE("An earlier delayed task wakes an executor that sleeps for a later one",
          "[base][executor]") {
  ThreadExecutor executor("test");
  absl::Notification done;

  executor.PostAfter(absl::Hours(1), [] {});
  Drain(executor);
  executor.PostAfter(absl::Milliseconds(1), [&done] { done.Notify(); });

  CHECK(done.WaitForNotificationWithTimeout(absl::Seconds(30)));
}

TEST_CASE("Stop finishes the running task, drops the rest and is idempotent", "[base][executor]") {
  ThreadExecutor executor("test");
  absl::Notification started;
  absl::Notification go_on;
  std::atomic<bool> finished = false;
  std::atomic<bool> dropped_ran = false;
  executor.Post([&] {
    started.Notify();
    go_on.WaitForNotification();
    finished = true;
  });
  executor.Post([&] { dropped_ran = true; });
  executor.PostAfter(absl::ZeroDuration(), [&] { dropped_ran = true; });
  started.WaitForNotification();

  // Stop sets its flag before it joins; only then is the task released.
  std::thread stopper([&executor] { executor.Stop(); });
  // A Post that is dropped frees its task at once: that is how we see the flag.
  while (true) {
    auto copy = std::make_shared<int>(1);
    const std::weak_ptr<int> watch = copy;
    executor.Post([copy = std::move(copy), &dropped_ran] { dropped_ran = true; });
    if (watch.expired()) break;
    std::this_thread::yield();
  }
  go_on.Notify();
  stopper.join();
  executor.Stop();
  executor.Post([&] { dropped_ran = true; });

  CHECK(finished);
  CHECK_FALSE(dropped_ran);
}

TEST_CASE("Stop frees the tasks that wait", "[base][executor]") {
  ThreadExecutor executor("test");
  auto token = std::make_shared<int>(0);
  const std::weak_ptr<int> alive = token;
  executor.PostAfter(absl::Hours(1), [token = std::move(token)] { (void)token; });
  CHECK_FALSE(alive.expired());

  executor.Stop();

  CHECK(alive.expired());
}

}  // namespace
}  // namespace keelson
