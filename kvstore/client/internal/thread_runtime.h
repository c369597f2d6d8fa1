// The parts of a Runtime that is made of threads and the system's clock.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_THREAD_RUNTIME_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_THREAD_RUNTIME_H_

#include <memory>

#include "absl/base/call_once.h"
#include "base/clock.h"
#include "base/event_loop.h"
#include "base/executor.h"
#include "kvstore/client/internal/runtime.h"

namespace keelson::kvstore::client_internal {

class ThreadRuntime : public Runtime {
 public:
  absl::Duration Monotonic() override { return RealClock().Monotonic(); }
  Executor& loop() override { return loop_; }
  void RunOnLoop(const Executor::Task& task) override { loop_.Await(task); }
  // Most clients neither watch nor keep leases.
  Executor& watch_callbacks() override {
    absl::call_once(watch_once_, [this] { watch_ = std::make_unique<ThreadExecutor>("kv-watch"); });
    return *watch_;
  }
  Executor& lease_callbacks() override {
    absl::call_once(lease_once_, [this] { lease_ = std::make_unique<ThreadExecutor>("kv-lease"); });
    return *lease_;
  }
  bool Await(absl::Mutex* mu, const absl::Condition& condition, absl::Duration timeout) override {
    return mu->AwaitWithTimeout(condition, timeout);
  }
  void Stop() override {
    loop_.Stop();
    if (watch_ != nullptr) watch_->Stop();
    if (lease_ != nullptr) lease_->Stop();
  }

 protected:
  [[nodiscard]] EventLoop& event_loop() { return loop_; }

 private:
  EventLoop loop_{"kv-client"};
  absl::once_flag watch_once_;
  absl::once_flag lease_once_;
  std::unique_ptr<ThreadExecutor> watch_;
  std::unique_ptr<ThreadExecutor> lease_;
};

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_THREAD_RUNTIME_H_
