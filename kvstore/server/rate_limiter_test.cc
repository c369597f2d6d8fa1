#include "kvstore/server/rate_limiter.h"

#include <catch2/catch.hpp>

#include <string>

using keelson::kvstore::RateLimiter;

namespace {

int TakeAll(RateLimiter& limiter, std::string_view who, absl::Duration now) {
  int taken = 0;
  while (taken < 1000 && limiter.Take(who, now)) ++taken;
  return taken;
}

}  // namespace

TEST_CASE("A user has a second's worth at once, then as many a second", "[kvstore][rate]") {
  RateLimiter limiter(10);
  const absl::Duration start = absl::Hours(1);
  CHECK(TakeAll(limiter, "a", start) == 10);
  CHECK(TakeAll(limiter, "a", start + absl::Milliseconds(99)) == 0);
  CHECK(TakeAll(limiter, "a", start + absl::Milliseconds(300)) == 3);
  CHECK(TakeAll(limiter, "a", start + absl::Hours(1)) == 10);
  // Time that goes back takes nothing away.
  CHECK(TakeAll(limiter, "a", start) == 0);
}

TEST_CASE("Users do not share a limit", "[kvstore][rate]") {
  RateLimiter limiter(2);
  CHECK(TakeAll(limiter, "a", absl::ZeroDuration()) == 2);
  CHECK(TakeAll(limiter, "b", absl::ZeroDuration()) == 2);
  CHECK_FALSE(limiter.Take("a", absl::ZeroDuration()));
}

TEST_CASE("Without a limit nothing is refused", "[kvstore][rate]") {
  RateLimiter limiter(0);
  CHECK_FALSE(limiter.limits());
  CHECK(TakeAll(limiter, "a", absl::ZeroDuration()) == 1000);
}

TEST_CASE("Beyond the users that are remembered, newcomers share one bucket", "[kvstore][rate]") {
  RateLimiter limiter(2, /*max_users=*/3);
  const absl::Duration start = absl::Hours(1);
  for (const char* who : {"a", "b", "c"}) CHECK(limiter.Take(who, start));
  CHECK(TakeAll(limiter, "d", start) == 2);
  CHECK(TakeAll(limiter, "e", start) == 0);
  CHECK(TakeAll(limiter, "a", start) == 1);

  // A second later those who were silent are forgotten, and there is room.
  CHECK(TakeAll(limiter, "e", start + absl::Seconds(1)) == 2);
  CHECK(TakeAll(limiter, "f", start + absl::Seconds(1)) == 2);
}
