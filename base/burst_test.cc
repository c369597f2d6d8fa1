#include "base/burst.h"

#include <catch2/catch.hpp>

#include <thread>

namespace keelson {
namespace {

class CountingSleeper final : public Sleeper {
 public:
  void Wake() override { ++wakes_; }
  [[nodiscard]] int wakes() const { return wakes_; }

 private:
  int wakes_ = 0;
};

TEST_CASE("Without a burst every wake comes at once", "[base][burst]") {
  const auto sleeper = std::make_shared<CountingSleeper>();
  Burst::Wake(sleeper);
  CHECK(sleeper->wakes() == 1);
  Burst::Wake(sleeper);
  CHECK(sleeper->wakes() == 2);
}

TEST_CASE("A burst wakes each sleeper once, at its end", "[base][burst]") {
  const auto first = std::make_shared<CountingSleeper>();
  const auto second = std::make_shared<CountingSleeper>();
  {
    Burst burst;
    for (int i = 0; i < 10; ++i) Burst::Wake(first);
    {
      Burst inner;
      Burst::Wake(second);
    }
    CHECK(first->wakes() == 0);
    CHECK(second->wakes() == 0);
  }
  CHECK(first->wakes() == 1);
  CHECK(second->wakes() == 1);
  Burst::Wake(first);
  CHECK(first->wakes() == 2);
}

TEST_CASE("A burst is of its own thread, and keeps its sleepers alive", "[base][burst]") {
  auto sleeper = std::make_shared<CountingSleeper>();
  const std::weak_ptr<CountingSleeper> watched = sleeper;
  {
    Burst burst;
    std::thread([&] { Burst::Wake(sleeper); }).join();
    CHECK(sleeper->wakes() == 1);
    Burst::Wake(std::move(sleeper));
    CHECK_FALSE(watched.expired());
  }
  CHECK(watched.expired());
}

}  // namespace
}  // namespace keelson
