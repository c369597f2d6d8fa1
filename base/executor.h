// Where work runs. A class that would own a thread takes an Executor instead, so that
// the simulator can run it on virtual time, one step after another.
#ifndef KEELSON_BASE_EXECUTOR_H_
#define KEELSON_BASE_EXECUTOR_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"

namespace keelson {

// Runs tasks one at a time, in the order posted (delayed ones when due).
// Thread-safe. Tasks must not throw.
class Executor {
 public:
  using Task = std::function<void()>;

  virtual ~Executor() = default;

  // Runs `task` later on the executor, never inside this call. Dropped after Stop.
  virtual void Post(Task task) = 0;

  // Runs `task` once, not before `delay` has passed.
  virtual void PostAfter(absl::Duration delay, Task task) = 0;
};

// An executor with one thread of its own.
class ThreadExecutor final : public Executor {
 public:
  // `name` (at most 15 bytes) shows in ps and in traces.
  explicit ThreadExecutor(const std::string& name);
  // Stops and joins.
  ~ThreadExecutor() override;

  void Post(Task task) override;
  void PostAfter(absl::Duration delay, Task task) override;

  // Finishes the task that runs, drops those that wait, joins the thread. Idempotent.
  // Must not be called from a task.
  void Stop();

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

}  // namespace keelson

#endif  // KEELSON_BASE_EXECUTOR_H_
