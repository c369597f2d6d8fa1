#include "base/clock.h"

#include <ctime>

#include "absl/time/clock.h"

namespace keelson {
namespace {

class SystemClock final : public Clock {
 public:
  absl::Time Now() override { return absl::Now(); }

  absl::Duration Monotonic() override {
    timespec now{};
    (void)::clock_gettime(CLOCK_MONOTONIC, &now);  // Cannot fail with this clock id.
    return absl::DurationFromTimespec(now);
  }
};

}  // namespace

Clock& RealClock() {
  static SystemClock* clock = new SystemClock;  // Never destroyed: usable during exit.
  return *clock;
}

}  // namespace keelson
