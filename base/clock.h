// Time as a dependency: product code asks a Clock and never the system.
#ifndef KEELSON_BASE_CLOCK_H_
#define KEELSON_BASE_CLOCK_H_

#include "absl/time/time.h"

namespace keelson {

// Thread-safe in every implementation.
class Clock {
 public:
  virtual ~Clock() = default;

  // Wall-clock time. It may jump in either direction; use it only to show or to store.
  virtual absl::Time Now() = 0;

  // Time since an arbitrary start, never going back. Measure and time out with this one.
  virtual absl::Duration Monotonic() = 0;
};

// The system's clock (CLOCK_REALTIME and CLOCK_MONOTONIC). Lives for ever.
Clock& RealClock();

}  // namespace keelson

#endif  // KEELSON_BASE_CLOCK_H_
