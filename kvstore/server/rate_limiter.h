// Keeps each user to a number of requests a second: a bucket of tokens for each, which holds a
// second's worth.
#ifndef KEELSON_KVSTORE_SERVER_RATE_LIMITER_H_
#define KEELSON_KVSTORE_SERVER_RATE_LIMITER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace keelson::kvstore {

// Thread-safe.
class RateLimiter {
 public:
  // 0 a second: no limit.
  explicit RateLimiter(uint64_t per_second, size_t max_users = 16384)
      : per_second_(static_cast<double>(per_second)), max_users_(max_users) {}

  [[nodiscard]] bool limits() const { return per_second_ > 0; }

  // Whether `who` may make one more request at `now`, which is then counted. Who has a bucket is
  // remembered until it is full again; beyond `max_users` of them newcomers share one.
  bool Take(std::string_view who, absl::Duration now) ABSL_LOCKS_EXCLUDED(mu_) {
    if (!limits()) return true;
    absl::MutexLock lock(&mu_);
    auto it = buckets_.find(who);
    if (it == buckets_.end()) {
      if (buckets_.size() >= max_users_) DropFull(now);
      const std::string name(buckets_.size() >= max_users_ ? std::string_view() : who);
      it = buckets_.try_emplace(name, Bucket{per_second_, now}).first;
    }
    Bucket& bucket = it->second;
    bucket.tokens = TokensAt(bucket, now);
    bucket.at = now;
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

 private:
  struct Bucket {
    double tokens = 0;
    absl::Duration at;
  };

  [[nodiscard]] double TokensAt(const Bucket& bucket, absl::Duration now) const {
    const double earned = absl::ToDoubleSeconds(now - bucket.at) * per_second_;
    return std::min(per_second_, bucket.tokens + std::max(0.0, earned));
  }

  void DropFull(absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (now < next_drop_) return;
    next_drop_ = now + absl::Seconds(1);  // It walks all of them.
    std::erase_if(buckets_,
                  [&](const auto& entry) { return TokensAt(entry.second, now) >= per_second_; });
  }

  const double per_second_;
  const size_t max_users_;
  absl::Mutex mu_;
  std::map<std::string, Bucket, std::less<>> buckets_ ABSL_GUARDED_BY(mu_);
  absl::Duration next_drop_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_RATE_LIMITER_H_
