// An executor whose tasks run when the test says so, on the test's thread.
#ifndef KEELSON_KVSTORE_SERVER_TESTING_MANUAL_EXECUTOR_H_
#define KEELSON_KVSTORE_SERVER_TESTING_MANUAL_EXECUTOR_H_

#include <deque>
#include <map>
#include <utility>

#include "base/executor.h"
#include "base/testing/fake_clock.h"

namespace keelson::kvstore {

// Not thread-safe. Delayed tasks are due by `clock`, which is borrowed.
class ManualExecutor final : public Executor {
 public:
  explicit ManualExecutor(FakeClock* clock) : clock_(clock) {}

  void Post(Task task) override { ready_.push_back(std::move(task)); }
  void PostAfter(absl::Duration delay, Task task) override {
    delayed_.emplace(clock_->Monotonic() + delay, std::move(task));
  }

  // Runs one task that is due. False when there was none.
  bool RunOne() {
    while (!delayed_.empty() && delayed_.begin()->first <= clock_->Monotonic()) {
      ready_.push_back(std::move(delayed_.begin()->second));
      delayed_.erase(delayed_.begin());
    }
    if (ready_.empty()) return false;
    const Task task = std::move(ready_.front());
    ready_.pop_front();
    task();
    return true;
  }

  void RunAll() {
    while (RunOne()) {
    }
  }

 private:
  FakeClock* const clock_;
  std::deque<Task> ready_;
  std::multimap<absl::Duration, Task> delayed_;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_TESTING_MANUAL_EXECUTOR_H_
