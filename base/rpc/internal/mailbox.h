// Calls that have something for the thread of their connection.
#ifndef KEELSON_BASE_RPC_INTERNAL_MAILBOX_H_
#define KEELSON_BASE_RPC_INTERNAL_MAILBOX_H_

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/event_loop.h"

namespace keelson::rpc::internal {

// Thread-safe; Take and Close are for the loop's thread.
//
// The first call to come makes the loop take all. One that comes on the loop's own thread is taken
// in the same step.
template <typename Stream>
class Mailbox final : public std::enable_shared_from_this<Mailbox<Stream>> {
 public:
  using Streams = std::vector<std::shared_ptr<Stream>>;

  // `deliver` runs on the loop, until Close. Without a loop, someone has to call Take.
  explicit Mailbox(EventLoop* loop = nullptr, std::function<void(Streams)> deliver = nullptr)
      : loop_(loop), deliver_(std::move(deliver)) {}

  // Also after Close, when the loop may be gone; then it is for nothing.
  void Post(std::shared_ptr<Stream> stream) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (closed_) return;
    streams_.push_back(std::move(stream));
    if (std::exchange(called_, true) || loop_ == nullptr) return;
    auto deliver = [self = this->shared_from_this()] { self->Deliver(); };
    if (loop_->InLoop()) {
      loop_->Defer(std::move(deliver));
    } else {
      loop_->Post(std::move(deliver));
    }
  }

  Streams Take() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    called_ = false;
    return std::exchange(streams_, {});
  }

  // Drops all, and what comes later.
  void Close() ABSL_LOCKS_EXCLUDED(mu_) {
    Streams dropped;  // Destroyed without the lock: it may hold the last of a handler.
    absl::MutexLock lock(&mu_);
    closed_ = true;
    std::swap(dropped, streams_);
  }

 private:
  void Deliver() {
    Streams streams = Take();
    if (!streams.empty()) deliver_(std::move(streams));  // None is left after Close.
  }

  EventLoop* const loop_;
  const std::function<void(Streams)> deliver_;
  absl::Mutex mu_;
  Streams streams_ ABSL_GUARDED_BY(mu_);
  bool called_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace keelson::rpc::internal

#endif  // KEELSON_BASE_RPC_INTERNAL_MAILBOX_H_
