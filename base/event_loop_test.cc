#include "base/event_loop.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "base/burst.h"
#include "base/clock.h"
#include "base/unique_fd.h"

namespace keelson {
namespace {

struct SocketPair {
  SocketPair() {
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    here = UniqueFd(fds[0]);
    there = UniqueFd(fds[1]);
  }
  void Say() const { REQUIRE(::write(there.get(), "x", 1) == 1); }
  UniqueFd here;
  UniqueFd there;
};

class TestSource final : public EventLoop::Source {
 public:
  explicit TestSource(std::function<void(uint32_t)> ready) : ready_(std::move(ready)) {}
  void OnReady(uint32_t events) override { ready_(events); }

 private:
  const std::function<void(uint32_t)> ready_;
};

TEST_CASE("Tasks of many threads run in the order posted, one at a time", "[base][loop]") {
  EventLoop loop("test");
  std::vector<std::vector<int>> seen(4);  // of the loop's thread, until Await
  std::vector<std::thread> threads;
  for (size_t t = 0; t < seen.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 1000; ++i) loop.Post([&seen, t, i] { seen[t].push_back(i); });
    });
  }
  for (std::thread& thread : threads) thread.join();
  loop.Await([] {});
  loop.Await([] {});  // What was posted before the first is done before the second.
  for (const std::vector<int>& order : seen) {
    REQUIRE(order.size() == 1000);
    CHECK(std::is_sorted(order.begin(), order.end()));
  }
}

TEST_CASE("A descriptor is told of as long as it is ready, and only while it is watched",
          "[base][loop]") {
  EventLoop loop("test");
  const SocketPair pair;
  int told = 0;
  absl::Notification enough;
  TestSource source([&](uint32_t events) {
    CHECK((events & EPOLLIN) != 0);
    if (++told < 3) return;  // Not read: it is still ready.
    loop.Unwatch(pair.here.get(), &source);
    enough.Notify();
  });
  loop.Await([&] { loop.Watch(pair.here.get(), EPOLLIN, &source); });
  pair.Say();
  enough.WaitForNotification();
  pair.Say();
  loop.Await([] {});
  CHECK(told == 3);
}

TEST_CASE("A source that another one destroys hears nothing more", "[base][loop]") {
  EventLoop loop("test");
  const SocketPair first;
  const SocketPair second;
  std::unique_ptr<TestSource> sources[2];
  const SocketPair* const pairs[2] = {&first, &second};
  std::atomic<int> told{0};
  absl::Notification done;
  for (int i = 0; i < 2; ++i) {
    sources[i] = std::make_unique<TestSource>([&, i](uint32_t) {
      ++told;
      loop.Unwatch(pairs[1 - i]->here.get(), sources[1 - i].get());
      sources[1 - i].reset();
      loop.Unwatch(pairs[i]->here.get(), sources[i].get());
      done.Notify();
    });
  }
  loop.Await([&] {
    // Ready at the same look.
    first.Say();
    second.Say();
    for (int i = 0; i < 2; ++i) loop.Watch(pairs[i]->here.get(), EPOLLIN, sources[i].get());
  });
  done.WaitForNotification();
  loop.Await([] {});
  CHECK(told == 1);
}

TEST_CASE("What is deferred runs once behind all tasks that wait", "[base][loop]") {
  EventLoop loop("test");
  std::string order;
  {
    Burst burst;  // So that the loop finds all of them together.
    loop.Post([&] {
      order += "a";
      loop.Defer([&] { order += "!"; });
    });
    loop.Post([&] { order += "b"; });
    loop.Post([&] { order += "c"; });
  }
  while (true) {
    std::string now;
    loop.Await([&] { now = order; });
    if (now.size() == 4) break;
  }
  CHECK(order == "abc!");
}

TEST_CASE("What defers itself for ever does not keep the loop from its descriptors and tasks",
          "[base][loop]") {
  EventLoop loop("test");
  const SocketPair pair;
  bool told = false;
  TestSource source([&](uint32_t) {
    told = true;
    loop.Unwatch(pair.here.get(), &source);
  });
  std::function<void()> again = [&] {
    if (!told) loop.Defer(again);
  };
  loop.Await([&] {
    loop.Watch(pair.here.get(), EPOLLIN, &source);
    loop.Defer(again);
  });
  loop.Await([] {});
  pair.Say();
  bool seen = false;
  while (!seen) loop.Await([&] { seen = told; });
  CHECK(seen);
}

TEST_CASE("Timers go off once, the earliest first, and not when cleared or set anew",
          "[base][loop]") {
  EventLoop loop("test");
  std::string order;
  absl::Notification done;
  std::unique_ptr<EventLoop::Timer> a;
  std::unique_ptr<EventLoop::Timer> b;
  std::unique_ptr<EventLoop::Timer> c;
  std::unique_ptr<EventLoop::Timer> d;
  loop.Await([&] {
    const absl::Duration now = RealClock().Monotonic();
    a = std::make_unique<EventLoop::Timer>(loop, [&] {
      order += "a";
      a.reset();  // May go by itself.
    });
    b = std::make_unique<EventLoop::Timer>(loop, [&] { order += "b"; });
    c = std::make_unique<EventLoop::Timer>(loop, [&] { order += "c"; });
    d = std::make_unique<EventLoop::Timer>(loop, [&] {
      order += "d";
      done.Notify();
    });
    d->Set(now + absl::Milliseconds(30));
    c->Set(now + absl::Milliseconds(1));
    b->Set(now + absl::Hours(1));
    b->Set(now + absl::Milliseconds(20));
    a->Set(now + absl::Milliseconds(10));
    c->Clear();
    CHECK(c->at() == absl::InfiniteDuration());
  });
  done.WaitForNotification();
  CHECK(order == "abd");
  loop.Await([&] {
    CHECK(d->at() == absl::InfiniteDuration());
    b.reset();
    c.reset();
    d.reset();
  });
}

TEST_CASE("A timer that sets itself for the past does not stop tasks", "[base][loop]") {
  EventLoop loop("test");
  std::unique_ptr<EventLoop::Timer> timer;
  loop.Await([&] {
    timer = std::make_unique<EventLoop::Timer>(loop, [&] { timer->Set(absl::ZeroDuration()); });
    timer->Set(absl::ZeroDuration());
  });
  absl::Notification ran;
  loop.Post([&] { ran.Notify(); });
  ran.WaitForNotification();
  loop.Await([&] { timer.reset(); });
}

TEST_CASE("A delayed task waits for its time, also one that is due before the loop would wake",
          "[base][loop]") {
  EventLoop loop("test");
  absl::Notification late;
  absl::Notification early;
  loop.PostAfter(absl::Hours(1), [&] { late.Notify(); });
  loop.Await([] {});
  const absl::Duration start = RealClock().Monotonic();
  loop.PostAfter(absl::Milliseconds(20), [&] { early.Notify(); });
  early.WaitForNotification();
  CHECK(RealClock().Monotonic() - start >= absl::Milliseconds(20));
  CHECK_FALSE(late.HasBeenNotified());
}

TEST_CASE("Await runs here on the loop itself and after its end, and is never dropped",
          "[base][loop]") {
  EventLoop loop("test");
  int count = 0;
  loop.Await([&] { loop.Await([&] { count += loop.InLoop() ? 1 : 0; }); });
  CHECK(count == 1);
  CHECK_FALSE(loop.InLoop());

  std::vector<std::thread> threads;
  std::atomic<int> ran{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 200; ++j) loop.Await([&] { ++ran; });
    });
  }
  while (ran < 100) std::this_thread::yield();
  loop.Stop();
  for (std::thread& thread : threads) thread.join();
  CHECK(ran == 1600);

  loop.Stop();  // Idempotent.
  bool posted = false;
  loop.Post([&] { posted = true; });
  loop.Await([&] { count = 7; });
  CHECK(count == 7);
  CHECK_FALSE(posted);
}

TEST_CASE("Await within a burst does not wait for the burst's end", "[base][loop]") {
  EventLoop loop("test");
  loop.Await([] {});
  for (int i = 0; i < 100; ++i) {
    Burst burst;
    int order = 0;
    loop.Post([&order] { order = 1; });
    loop.Await([] {});
    loop.Await([] {});
    CHECK(order == 1);
  }
}

TEST_CASE("Stop drops what waits, with all that it holds", "[base][loop]") {
  EventLoop loop("test");
  const auto held = std::make_shared<int>(0);
  absl::Notification running;
  absl::Notification go;
  loop.Post([&] {
    running.Notify();
    go.WaitForNotification();
  });
  running.WaitForNotification();
  std::atomic<bool> ran{false};
  loop.Post([&ran, held] { ran = true; });
  loop.PostAfter(absl::Hours(1), [&ran, held] { ran = true; });
  std::thread stopper([&] { loop.Stop(); });
  // Stop has begun when Post takes nothing any more.
  for (long before = 0; before != held.use_count();) {
    before = held.use_count();
    loop.PostAfter(absl::Hours(1), [held] {});
  }
  go.Notify();
  stopper.join();
  CHECK(held.use_count() == 1);
  CHECK_FALSE(ran);
}

}  // namespace
}  // namespace keelson
