// Ends streams that want a leader ("hasleader: true") when there has been none for a while.
#ifndef KEELSON_KVSTORE_SERVER_LEADER_MONITOR_H_
#define KEELSON_KVSTORE_SERVER_LEADER_MONITOR_H_

#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace keelson::kvstore {

// Thread-safe. Callbacks run on the thread of Check, without locks held.
class LeaderMonitor {
 public:
  // etcd gives a stream up after this many checks, one election timeout apart.
  static constexpr int kMissesMax = 3;

  // Calls `lost` (perhaps more than once) while there has been no leader for kMissesMax checks.
  uint64_t Add(std::function<void()> lost) {
    absl::MutexLock lock(&mu_);
    callbacks_.emplace(++last_id_, std::move(lost));
    return last_id_;
  }
  // A call that runs already may still end after this.
  void Remove(uint64_t id) {
    absl::MutexLock lock(&mu_);
    callbacks_.erase(id);
  }

  // To be called once an election timeout, from one thread.
  void Check(bool has_leader) {
    std::vector<std::function<void()>> lost;
    {
      absl::MutexLock lock(&mu_);
      misses_ = has_leader ? 0 : misses_ + 1;
      if (misses_ < kMissesMax) return;
      for (const auto& [id, callback] : callbacks_) lost.push_back(callback);
    }
    for (const std::function<void()>& callback : lost) callback();
  }

 private:
  absl::Mutex mu_;
  std::map<uint64_t, std::function<void()>> callbacks_ ABSL_GUARDED_BY(mu_);
  uint64_t last_id_ ABSL_GUARDED_BY(mu_) = 0;
  int misses_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_LEADER_MONITOR_H_
