#include "partition/cmd/progress.h"

#include <catch2/catch.hpp>

namespace keelson::partition {
namespace {

TEST_CASE("Progress has a bar, the part done, the rate and the time left", "[partition][cmd]") {
  constexpr uint64_t kMib = 1 << 20;
  CHECK(ProgressText(40 * kMib, 100 * kMib, absl::Seconds(2)) ==
        "[########............]  40 %  20 MiB/s  3 s left");
  CHECK(ProgressText(0, 100, absl::Seconds(1)) ==
        "[....................]   0 %  0 MiB/s  0 s left");
  CHECK(ProgressText(100, 100, absl::Seconds(1)) ==
        "[####################] 100 %  0 MiB/s  0 s left");
  // Nothing to do is done; more than was thought is no longer bar.
  CHECK(ProgressText(0, 0, absl::ZeroDuration()) ==
        "[####################] 100 %  0 MiB/s  0 s left");
  CHECK(ProgressText(3, 2, absl::Seconds(1)).starts_with("[####################] 150 %"));
}

}  // namespace
}  // namespace keelson::partition
