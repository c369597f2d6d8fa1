// A clock that moves only when a test says so. Thread-safe.
#ifndef KEELSON_BASE_TESTING_FAKE_CLOCK_H_
#define KEELSON_BASE_TESTING_FAKE_CLOCK_H_

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace keelson {

class FakeClock final : public Clock {
 public:
  absl::Time Now() override {
    absl::MutexLock lock(&mu_);
    return absl::UnixEpoch() + wall_offset_ + elapsed_;
  }
  absl::Duration Monotonic() override {
    absl::MutexLock lock(&mu_);
    return elapsed_;
  }

  // Moves both clocks forward. `step` must not be negative.
  void Advance(absl::Duration step) {
    absl::MutexLock lock(&mu_);
    elapsed_ += step;
  }

  // Makes the wall clock jump by `offset`; monotonic time is not touched.
  void JumpWallClock(absl::Duration offset) {
    absl::MutexLock lock(&mu_);
    wall_offset_ += offset;
  }

 private:
  absl::Mutex mu_;
  absl::Duration elapsed_ ABSL_GUARDED_BY(mu_);
  absl::Duration wall_offset_ ABSL_GUARDED_BY(mu_) = absl::Hours(24 * 365 * 50);
};

}  // namespace keelson

#endif  // KEELSON_BASE_TESTING_FAKE_CLOCK_H_
