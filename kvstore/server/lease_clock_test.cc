#include "kvstore/server/lease_clock.h"

#include <catch2/catch.hpp>

#include <map>

#include "base/random.h"

using namespace keelson::kvstore;
using Ids = std::vector<int64_t>;

namespace {

constexpr absl::Duration kStart = absl::Seconds(1000);
absl::Duration At(double seconds) { return kStart + absl::Seconds(seconds); }

LeaseClock Leading(std::vector<Store::LeaseInfo> leases = {}) {
  LeaseClock clock({.election_timeout = absl::ZeroDuration()});
  clock.Promote(kStart, leases);
  return clock;
}

}  // namespace

// etcd: minTTL = ceil(3 * election ticks / 2 * tick), kvstore.md 7.1.
TEST_CASE("The least TTL is one and a half election timeouts, rounded up", "[kvstore][lease]") {
  const auto least = [](absl::Duration timeout) {
    return LeaseClock({.election_timeout = timeout}).MinTtlSeconds();
  };
  CHECK(least(absl::Milliseconds(1000)) == 2);
  CHECK(least(absl::Milliseconds(500)) == 1);
  CHECK(least(absl::Milliseconds(2000)) == 3);
  CHECK(least(absl::Milliseconds(2001)) == 4);
}

TEST_CASE("A lease ends when its TTL has passed and not before", "[kvstore][lease]") {
  LeaseClock clock = Leading();
  clock.Granted(kStart, 7, 10);

  CHECK(clock.TakeExpired(At(9.999)).empty());
  CHECK(clock.TakeExpired(At(10)) == Ids{7});
}

TEST_CASE("A renewed lease starts its TTL anew", "[kvstore][lease]") {
  LeaseClock clock = Leading();
  clock.Granted(kStart, 7, 10);

  CHECK(clock.Renew(At(6), 7) == 10);

  CHECK(clock.TakeExpired(At(15.9)).empty());
  CHECK(clock.TakeExpired(At(16)) == Ids{7});
}

TEST_CASE("An unknown or ended lease cannot be renewed", "[kvstore][lease]") {
  LeaseClock clock = Leading();
  clock.Granted(kStart, 7, 10);

  CHECK(clock.Renew(kStart, 8) == 0);
  CHECK(clock.Renew(At(10), 7) == 0);
  clock.Revoked(7);
  CHECK(clock.Renew(At(11), 7) == 0);
  CHECK(clock.size() == 0);
}

TEST_CASE("An ended lease is handed out again until its revocation is seen", "[kvstore][lease]") {
  LeaseClock clock = Leading();
  clock.Granted(kStart, 7, 1);

  CHECK(clock.TakeExpired(At(1)) == Ids{7});
  CHECK(clock.TakeExpired(At(1.5)).empty());
  CHECK(clock.TakeExpired(At(4)) == Ids{7});
  clock.Revoked(7);
  CHECK(clock.TakeExpired(At(100)).empty());
}

TEST_CASE("One scan hands out a bounded number, soonest first", "[kvstore][lease]") {
  LeaseClock clock({.max_expired_per_scan = 2});
  clock.Promote(kStart, {});
  clock.Granted(kStart, 1, 3);
  clock.Granted(kStart, 2, 1);
  clock.Granted(kStart, 3, 2);

  CHECK(clock.TakeExpired(At(5)) == Ids{2, 3});
  CHECK(clock.TakeExpired(At(5)) == Ids{1});
}

TEST_CASE("Time left is in whole seconds and never negative", "[kvstore][lease]") {
  LeaseClock clock = Leading();
  clock.Granted(kStart, 7, 10);

  CHECK_FALSE(clock.Left(kStart, 8).has_value());
  CHECK(clock.Left(At(0.5), 7)->seconds == 9);
  CHECK(clock.Left(At(0.5), 7)->granted_seconds == 10);
  CHECK(clock.Left(At(11.5), 7)->seconds == 0);
}

TEST_CASE("Nothing ends on a member that does not lead", "[kvstore][lease]") {
  LeaseClock clock({});
  clock.Reset(kStart, {{.id = 1, .granted_ttl_seconds = 5}});
  clock.Granted(kStart, 2, 5);

  CHECK(clock.TakeExpired(At(1000)).empty());
  CHECK_FALSE(clock.Renew(At(1), 1).has_value());
  CHECK(clock.Left(At(1000), 2)->seconds == 5);
  CHECK(clock.ByExpiry() == Ids{1, 2});

  SECTION("and a demoted leader stops") {
    clock.Promote(kStart, {{.id = 1, .granted_ttl_seconds = 5}});
    clock.Demote();
    CHECK(clock.TakeExpired(At(1000)).empty());
  }
}

TEST_CASE("A new leader grants the full TTL and an election timeout", "[kvstore][lease]") {
  LeaseClock clock({.election_timeout = absl::Seconds(1)});
  clock.Promote(kStart, {{.id = 1, .granted_ttl_seconds = 5}});

  CHECK(clock.TakeExpired(At(5.9)).empty());
  CHECK(clock.TakeExpired(At(6)) == Ids{1});
}

TEST_CASE("A new leader goes on from a checkpoint", "[kvstore][lease]") {
  LeaseClock clock = Leading({{.id = 1, .granted_ttl_seconds = 600, .remaining_ttl_seconds = 4}});

  CHECK(clock.TakeExpired(At(3.9)).empty());
  CHECK(clock.TakeExpired(At(4)) == Ids{1});
}

TEST_CASE("A checkpoint shortens the time left, a renewal restores it", "[kvstore][lease]") {
  LeaseClock clock = Leading({{.id = 1, .granted_ttl_seconds = 600}});
  clock.Checkpointed(kStart, 1, 30);
  CHECK(clock.Left(kStart, 1)->seconds == 30);
  CHECK(clock.Renew(At(1), 1) == 600);
  clock.Checkpointed(At(1), 1, 0);
  CHECK(clock.Left(At(1), 1)->seconds == 600);
}

TEST_CASE("A new leader lets at most 750 leases end in one second", "[kvstore][lease]") {
  std::vector<Store::LeaseInfo> leases;
  for (int64_t id = 1; id <= 3000; ++id) leases.push_back({.id = id, .granted_ttl_seconds = 60});
  LeaseClock clock({.election_timeout = absl::ZeroDuration(), .max_expired_per_scan = 10000});

  clock.Promote(kStart, leases);

  CHECK(clock.TakeExpired(At(59.9)).empty());
  for (int second = 0; second < 4; ++second) {
    const Ids expired = clock.TakeExpired(At(60 + second));
    CHECK(expired.size() == 750);
    for (const int64_t id : expired) clock.Revoked(id);
  }
}

TEST_CASE("Ids are listed soonest first", "[kvstore][lease]") {
  LeaseClock clock = Leading();
  clock.Granted(kStart, 1, 30);
  clock.Granted(kStart, 2, 10);
  clock.Granted(kStart, 3, 10);
  CHECK(clock.ByExpiry() == Ids{2, 3, 1});
}

// The naive twin keeps an expiry for each lease and looks at all of them each
// time.
TEST_CASE("Random histories expire as the naive twin says", "[kvstore][lease]") {
  const uint64_t seed = GENERATE(range<uint64_t>(1, 60));
  INFO("seed " << seed);
  keelson::Random random(seed);
  LeaseClock clock({.max_expired_per_scan = 1000000, .revoke_retry = absl::ZeroDuration()});
  clock.Promote(kStart, {});
  std::map<int64_t, std::pair<int64_t, int64_t>> twin;  // id -> ttl, expiry in seconds
  int64_t now = 0;

  for (int step = 0; step < 300; ++step) {
    const int64_t id = random.Between(1, 20);
    switch (random.Below(5)) {
      case 0:
        now += random.Between(0, 3);
        break;
      case 1: {
        const int64_t ttl = random.Between(1, 15);
        clock.Granted(At(static_cast<double>(now)), id, ttl);
        twin[id] = {ttl, now + ttl};
        break;
      }
      case 2:
        clock.Revoked(id);
        twin.erase(id);
        break;
      case 3: {
        const bool alive = twin.contains(id) && twin[id].second > now;
        CHECK(clock.Renew(At(static_cast<double>(now)), id) == (alive ? twin[id].first : 0));
        if (alive) twin[id].second = now + twin[id].first;
        break;
      }
      default: {
        Ids expected;
        for (const auto& [twin_id, lease] : twin) {
          if (lease.second <= now) expected.push_back(twin_id);
        }
        Ids expired = clock.TakeExpired(At(static_cast<double>(now)));
        std::sort(expired.begin(), expired.end());
        REQUIRE(expired == expected);
      }
    }
  }
}
