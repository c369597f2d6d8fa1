#include "base/bounded_queue.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "absl/time/time.h"

namespace keelson {
namespace {

constexpr absl::Duration kLong = absl::Minutes(5);

TEST_CASE("A full queue refuses and leaves the item with the caller", "[base][bounded_queue]") {
  BoundedQueue<std::unique_ptr<int>> queue(2);
  CHECK(queue.TryPush(std::make_unique<int>(1)));
  CHECK(queue.TryPush(std::make_unique<int>(2)));
  auto third = std::make_unique<int>(3);

  CHECK_FALSE(queue.TryPush(std::move(third)));

  REQUIRE(third != nullptr);
  CHECK(*third == 3);
  CHECK(queue.size() == 2);
  std::vector<std::unique_ptr<int>> out;
  CHECK(queue.PopAll(out, kLong));
  CHECK(queue.TryPush(std::move(third)));
}

TEST_CASE("PopAll takes everything, oldest first, and clears what was there",
          "[base][bounded_queue]") {
  BoundedQueue<int> queue(10);
  for (int i = 0; i < 5; ++i) REQUIRE(queue.TryPush(int{i}));
  std::vector<int> out = {99};

  CHECK(queue.PopAll(out, absl::ZeroDuration()));

  CHECK(out == std::vector<int>{0, 1, 2, 3, 4});
  CHECK(queue.size() == 0);
}

TEST_CASE("PopAll of an empty queue gives up after its timeout", "[base][bounded_queue]") {
  BoundedQueue<int> queue(1);
  std::vector<int> out = {99};

  CHECK_FALSE(queue.PopAll(out, absl::Milliseconds(1)));

  CHECK(out.empty());
}

TEST_CASE("A push wakes a consumer that waits", "[base][bounded_queue]") {
  BoundedQueue<int> queue(1);
  std::vector<int> out;
  bool got = false;
  std::thread consumer([&] { got = queue.PopAll(out, kLong); });

  CHECK(queue.TryPush(7));
  consumer.join();

  CHECK(got);
  CHECK(out == std::vector<int>{7});
}

TEST_CASE("Close refuses pushes, wakes consumers and keeps what is queued",
          "[base][bounded_queue]") {
  BoundedQueue<int> queue(4);
  REQUIRE(queue.TryPush(1));

  queue.Close();

  CHECK(queue.closed());
  CHECK_FALSE(queue.TryPush(2));
  std::vector<int> out;
  CHECK(queue.PopAll(out, kLong));
  CHECK(out == std::vector<int>{1});
  CHECK_FALSE(queue.PopAll(out, kLong));  // returns at once

  BoundedQueue<int> waited_on(1);
  bool got = true;
  std::thread consumer([&] {
    std::vector<int> none;
    got = waited_on.PopAll(none, kLong);
  });
  waited_on.Close();
  consumer.join();
  CHECK_FALSE(got);
}

TEST_CASE("Nothing is lost or repeated between many threads", "[base][bounded_queue]") {
  constexpr int kProducers = 4;
  constexpr int kItems = 2000;
  BoundedQueue<int> queue(16);
  std::vector<std::vector<int>> taken(2);
  std::vector<std::thread> threads;
  for (std::vector<int>& mine : taken) {
    threads.emplace_back([&queue, &mine] {
      std::vector<int> batch;
      while (queue.PopAll(batch, kLong)) mine.insert(mine.end(), batch.begin(), batch.end());
    });
  }
  std::vector<std::thread> producers;
  for (int p = 0; p < kProducers; ++p) {
    producers.emplace_back([&queue, p] {
      for (int i = 0; i < kItems; ++i) {
        while (!queue.TryPush(p * kItems + i)) std::this_thread::yield();
      }
    });
  }
  for (std::thread& thread : producers) thread.join();
  queue.Close();
  for (std::thread& thread : threads) thread.join();

  std::vector<int> all = taken[0];
  all.insert(all.end(), taken[1].begin(), taken[1].end());
  std::sort(all.begin(), all.end());
  std::vector<int> want(kProducers * kItems);
  std::iota(want.begin(), want.end(), 0);
  CHECK(all == want);
}

}  // namespace
}  // namespace keelson
