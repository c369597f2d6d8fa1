// Hands the callbacks of one watch or one lease to an executor, in order.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_CALLBACK_QUEUE_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_CALLBACK_QUEUE_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/executor.h"

namespace keelson::kvstore::client_internal {

// Thread-safe. Owned by shared_ptr: its tasks may outlive its user.
class CallbackQueue : public std::enable_shared_from_this<CallbackQueue> {
 public:
  // `executor` is borrowed; it is not used after Close.
  explicit CallbackQueue(Executor* executor) : executor_(executor) {}

  // Returns how many wait now, this one included.
  size_t Post(std::function<void()> callback) ABSL_LOCKS_EXCLUDED(mu_);
  [[nodiscard]] size_t waiting() const ABSL_LOCKS_EXCLUDED(mu_);

  // Drops what waits, and waits for the callback that runs, unless this is called from it.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void RunOne() ABSL_LOCKS_EXCLUDED(mu_);

  Executor* const executor_;
  mutable absl::Mutex mu_;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  int running_ ABSL_GUARDED_BY(mu_) = 0;  // more than 1: on simulated time, one within another
  std::thread::id runner_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_CALLBACK_QUEUE_H_
