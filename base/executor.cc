#include "base/executor.h"

#include <pthread.h>

#include <deque>
#include <map>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/burst.h"
#include "base/clock.h"

namespace keelson {

struct ThreadExecutor::State final : Sleeper, std::enable_shared_from_this<State> {
  absl::Mutex mu;
  absl::CondVar wake;
  std::vector<Task> ready ABSL_GUARDED_BY(mu);
  std::multimap<absl::Duration, Task> delayed ABSL_GUARDED_BY(mu);  // by monotonic due time
  bool idle ABSL_GUARDED_BY(mu) = false;
  bool stopping ABSL_GUARDED_BY(mu) = false;
  std::thread thread;

  void Wake() override { wake.Signal(); }
  void Run();
  // Waits for work and moves what is due to `batch`. False when stopping.
  bool TakeBatch(std::vector<Task>& batch) ABSL_LOCKS_EXCLUDED(mu);
  bool Stopping() ABSL_LOCKS_EXCLUDED(mu) {
    absl::MutexLock lock(&mu);
    return stopping;
  }
};

bool ThreadExecutor::State::TakeBatch(std::vector<Task>& batch) {
  absl::MutexLock lock(&mu);
  while (!stopping) {
    const absl::Duration now = RealClock().Monotonic();
    while (!delayed.empty() && delayed.begin()->first <= now) {
      ready.push_back(std::move(delayed.begin()->second));
      delayed.erase(delayed.begin());
    }
    if (!ready.empty()) {
      std::swap(batch, ready);
      return true;
    }
    idle = true;
    if (delayed.empty()) {
      wake.Wait(&mu);
    } else {
      wake.WaitWithTimeout(&mu, delayed.begin()->first - now);
    }
    idle = false;
  }
  return false;
}

void ThreadExecutor::State::Run() {
  std::vector<Task> batch;
  while (TakeBatch(batch)) {
    for (Task& task : batch) {
      if (Stopping()) return;
      task();
      task = nullptr;  // Frees what the task holds before the next one runs.
    }
    batch.clear();
  }
}

ThreadExecutor::ThreadExecutor(const std::string& name) : state_(std::make_shared<State>()) {
  state_->thread = std::thread([state = state_.get()] { state->Run(); });
  (void)::pthread_setname_np(state_->thread.native_handle(), name.substr(0, 15).c_str());
}

ThreadExecutor::~ThreadExecutor() { Stop(); }

void ThreadExecutor::Post(Task task) {
  {
    absl::MutexLock lock(&state_->mu);
    if (state_->stopping) return;
    state_->ready.push_back(std::move(task));
    if (!state_->idle) return;
  }
  Burst::Wake(state_);
}

void ThreadExecutor::PostAfter(absl::Duration delay, Task task) {
  absl::MutexLock lock(&state_->mu);
  if (state_->stopping) return;
  state_->delayed.emplace(RealClock().Monotonic() + delay, std::move(task));
  if (state_->idle) state_->wake.Signal();
}

void ThreadExecutor::Stop() {
  {
    absl::MutexLock lock(&state_->mu);
    state_->stopping = true;
    state_->wake.Signal();
  }
  if (state_->thread.joinable()) state_->thread.join();
  // Destroyed without the lock: what a task holds may have something to say at its end.
  std::vector<Task> ready;
  std::multimap<absl::Duration, Task> delayed;
  absl::MutexLock lock(&state_->mu);
  std::swap(ready, state_->ready);
  std::swap(delayed, state_->delayed);
}

}  // namespace keelson
