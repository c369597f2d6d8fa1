#include "kvstore/server/auto_compactor.h"

#include <catch2/catch.hpp>

using keelson::kvstore::AutoCompactor;

namespace {

// One revision a second; the compactions of `time` as "second:revision" pairs.
std::vector<std::pair<int64_t, int64_t>> Run(AutoCompactor& compactor, absl::Duration from,
                                             absl::Duration to) {
  std::vector<std::pair<int64_t, int64_t>> compactions;
  for (absl::Duration now = from; now < to; now += absl::Seconds(1)) {
    const int64_t second = absl::ToInt64Seconds(now);
    if (const auto revision = compactor.Tick(now, second)) {
      compactions.emplace_back(second, *revision);
    }
  }
  return compactions;
}

}  // namespace

TEST_CASE("By time, revisions older than the period go once a period", "[kvstore][compaction]") {
  AutoCompactor compactor({.keep_time = absl::Seconds(100)});
  const auto compactions = Run(compactor, absl::Seconds(10), absl::Seconds(400));
  REQUIRE(compactions.size() == 3);
  CHECK(compactions[0] == std::pair<int64_t, int64_t>(110, 10));
  CHECK(compactions[1] == std::pair<int64_t, int64_t>(210, 110));
  CHECK(compactions[2] == std::pair<int64_t, int64_t>(310, 210));
}

TEST_CASE("A period above an hour compacts every hour", "[kvstore][compaction]") {
  AutoCompactor compactor({.keep_time = absl::Hours(3)});
  const auto compactions = Run(compactor, absl::ZeroDuration(), absl::Hours(5) + absl::Seconds(1));
  REQUIRE(compactions.size() == 2);
  CHECK(compactions[0] == std::pair<int64_t, int64_t>(4 * 3600, 3600));
  CHECK(compactions[1] == std::pair<int64_t, int64_t>(5 * 3600, 2 * 3600));
}

TEST_CASE("By revisions, the newest stay, looked at every 5 minutes", "[kvstore][compaction]") {
  AutoCompactor compactor({.keep_revisions = 100});
  const auto compactions = Run(compactor, absl::ZeroDuration(), absl::Minutes(11));
  REQUIRE(compactions.size() == 2);
  CHECK(compactions[0] == std::pair<int64_t, int64_t>(300, 200));
  CHECK(compactions[1] == std::pair<int64_t, int64_t>(600, 500));
}

TEST_CASE("Nothing is compacted twice, and nothing of a young store", "[kvstore][compaction]") {
  AutoCompactor compactor({.keep_revisions = 100});
  CHECK_FALSE(compactor.Tick(absl::ZeroDuration(), 50).has_value());
  CHECK_FALSE(compactor.Tick(absl::Minutes(5), 50).has_value());
  CHECK(compactor.Tick(absl::Minutes(10), 150) == 50);
  CHECK_FALSE(compactor.Tick(absl::Minutes(15), 150).has_value());
}

TEST_CASE("Turned off it does nothing", "[kvstore][compaction]") {
  AutoCompactor compactor({});
  CHECK(Run(compactor, absl::ZeroDuration(), absl::Hours(2)).empty());
}

TEST_CASE("After a reset the time begins anew", "[kvstore][compaction]") {
  AutoCompactor compactor({.keep_time = absl::Seconds(100)});
  (void)Run(compactor, absl::ZeroDuration(), absl::Seconds(90));
  compactor.Reset();
  const auto compactions = Run(compactor, absl::Seconds(90), absl::Seconds(200));
  REQUIRE(compactions.size() == 1);
  CHECK(compactions[0] == std::pair<int64_t, int64_t>(190, 90));
}
