#include "base/clock.h"

#include <catch2/catch.hpp>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/testing/fake_clock.h"

namespace keelson {
namespace {

TEST_CASE("The real monotonic clock never goes back and moves", "[base][clock]") {
  const absl::Duration start = RealClock().Monotonic();
  absl::Duration last = start;
  while (last == start) {
    const absl::Duration now = RealClock().Monotonic();
    REQUIRE(now >= last);
    last = now;
  }
  CHECK(last > start);
}

TEST_CASE("The real wall clock is the system's", "[base][clock]") {
  CHECK(absl::AbsDuration(RealClock().Now() - absl::Now()) < absl::Minutes(1));
}

TEST_CASE("The fake clock stands still until it is advanced", "[base][clock]") {
  FakeClock clock;
  const absl::Time wall = clock.Now();
  CHECK(clock.Monotonic() == absl::ZeroDuration());
  CHECK(clock.Now() == wall);

  clock.Advance(absl::Seconds(3));

  CHECK(clock.Monotonic() == absl::Seconds(3));
  CHECK(clock.Now() == wall + absl::Seconds(3));
}

TEST_CASE("A jump of the fake wall clock leaves monotonic time alone", "[base][clock]") {
  FakeClock clock;
  const absl::Time wall = clock.Now();

  clock.JumpWallClock(-absl::Hours(1));

  CHECK(clock.Now() == wall - absl::Hours(1));
  CHECK(clock.Monotonic() == absl::ZeroDuration());
}

}  // namespace
}  // namespace keelson
