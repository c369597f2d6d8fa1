// Tells those who wait for changes below a key that there was one. They look for themselves what.
//
// Threading: thread-safe. Callbacks run on the thread that notifies, without a lock held, and must
// not block; one may still come right after Remove.
#ifndef KEELSON_KVSTORE_SERVER_KEY_WAITERS_H_
#define KEELSON_KVSTORE_SERVER_KEY_WAITERS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "kvstore/store.h"

namespace keelson::kvstore {

class KeyWaiters {
 public:
  // `changed` is called after each change of a key that begins with `prefix`.
  uint64_t Add(std::string prefix, std::function<void()> changed) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    const uint64_t id = ++last_id_;
    waiters_[id] = {.prefix = std::move(prefix), .changed = std::move(changed)};
    count_.store(waiters_.size());
    return id;
  }

  void Remove(uint64_t id) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    waiters_.erase(id);
    count_.store(waiters_.size());
  }

  // Costs nothing where nobody waits.
  void Notify(const std::vector<Store::Change>& changes) ABSL_LOCKS_EXCLUDED(mu_) {
    if (count_.load() == 0) return;
    Call([&changes](std::string_view prefix) {
      for (const Store::Change& change : changes) {
        for (const mvccpb::Event& event : change.events) {
          if (std::string_view(event.kv().key()).starts_with(prefix)) return true;
        }
      }
      return false;
    });
  }
  // Everything may have changed.
  void NotifyAll() ABSL_LOCKS_EXCLUDED(mu_) {
    Call([](std::string_view) { return true; });
  }

 private:
  struct Waiter {
    std::string prefix;
    std::function<void()> changed;
  };

  template <typename Concerns>
  void Call(Concerns concerns) ABSL_LOCKS_EXCLUDED(mu_) {
    std::vector<std::function<void()>> calls;
    {
      absl::MutexLock lock(&mu_);
      for (const auto& [id, waiter] : waiters_) {
        if (concerns(waiter.prefix)) calls.push_back(waiter.changed);
      }
    }
    for (const auto& call : calls) call();
  }

  std::atomic<size_t> count_{0};
  absl::Mutex mu_;
  uint64_t last_id_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<uint64_t, Waiter> waiters_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_KEY_WAITERS_H_
