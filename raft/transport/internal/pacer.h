// Spreads bytes over time.
#ifndef KEELSON_RAFT_TRANSPORT_INTERNAL_PACER_H_
#define KEELSON_RAFT_TRANSPORT_INTERNAL_PACER_H_

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"

namespace keelson::raft::transport {

// Pure. Not thread-safe.
class Pacer {
 public:
  // 0: no limit.
  explicit Pacer(uint64_t bytes_per_second) : bytes_per_second_(bytes_per_second) {}

  // How long to wait, from the monotonic time `now` on, before `bytes` may go. The first may at
  // once; unused time is not saved up.
  absl::Duration Delay(absl::Duration now, uint64_t bytes) {
    if (bytes_per_second_ == 0) return absl::ZeroDuration();
    const absl::Duration begin = std::max(now, free_at_);
    free_at_ =
        begin + absl::Seconds(static_cast<double>(bytes) / static_cast<double>(bytes_per_second_));
    return begin - now;
  }

 private:
  const uint64_t bytes_per_second_;
  absl::Duration free_at_;
};

}  // namespace keelson::raft::transport

#endif  // KEELSON_RAFT_TRANSPORT_INTERNAL_PACER_H_
