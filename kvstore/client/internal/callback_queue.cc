#include "kvstore/client/internal/callback_queue.h"

#include <utility>

namespace keelson::kvstore::client_internal {

size_t CallbackQueue::Post(std::function<void()> callback) {
  absl::MutexLock lock(&mu_);
  if (closed_) return 0;
  waiting_.push_back(std::move(callback));
  executor_->Post([self = shared_from_this()] { self->RunOne(); });
  return waiting_.size();
}

size_t CallbackQueue::waiting() const {
  absl::MutexLock lock(&mu_);
  return waiting_.size();
}

void CallbackQueue::RunOne() {
  std::function<void()> callback;
  {
    absl::MutexLock lock(&mu_);
    if (closed_ || waiting_.empty()) return;
    callback = std::move(waiting_.front());
    waiting_.pop_front();
    ++running_;
    runner_ = std::this_thread::get_id();
  }
  callback();
  callback = nullptr;  // What it holds goes before whoever waits in Close goes on.
  absl::MutexLock lock(&mu_);
  --running_;
}

void CallbackQueue::Close() {
  std::deque<std::function<void()>> dropped;
  absl::MutexLock lock(&mu_);
  closed_ = true;
  dropped.swap(waiting_);
  if (running_ > 0 && runner_ == std::this_thread::get_id()) return;
  const auto idle = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return running_ == 0; };
  mu_.Await(absl::Condition(&idle));
}

}  // namespace keelson::kvstore::client_internal
