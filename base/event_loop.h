// A thread that waits for descriptors, timers and tasks, and an Executor for whoever wants
// to run beside the sockets: what a message says can then be acted upon, and answered, without a
// switch of threads.
//
//   EventLoop loop("raft");
//   auto channel = rpc::Channel::Create(loop, ...);
//   auto node = Node::Start(..., {.loop = &loop, ...});
//
// A step of the loop: the tasks that are waiting, what was deferred, one look at the
// descriptors, what was deferred, the timers that are due, what was deferred. So many small pieces
// of work end in one write.
#ifndef KEELSON_BASE_EVENT_LOOP_H_
#define KEELSON_BASE_EVENT_LOOP_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "base/executor.h"

namespace keelson {

class EventLoop final : public Executor {
 public:
  // Whose descriptor is watched. `events` as of epoll (EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR). It may
  // watch, unwatch and destroy any source, itself included.
  class Source {
   public:
    virtual ~Source() = default;
    virtual void OnReady(uint32_t events) = 0;
  };
  class Timer;

  // `name` (at most 15 bytes) shows in ps and in traces. The thread takes no signals.
  explicit EventLoop(const std::string& name);
  // Stops and joins.
  ~EventLoop() override;

  // --- Thread-safe ---

  // As Executor says.
  void Post(Task task) override;
  void PostAfter(absl::Duration delay, Task task) override;

  // Runs `task` on the loop and returns when it has run: at once when this is the loop's thread or
  // the loop has stopped. Never dropped.
  void Await(const Task& task);

  // Finishes the task that runs and those that Await waits for, drops the others, joins the thread.
  // Idempotent. Not on the loop's thread.
  void Stop();

  [[nodiscard]] bool InLoop() const;

  // --- On the loop's thread; or before the first task and after Stop ---

  // Level-triggered. `source` is borrowed until Unwatch, which comes before the descriptor is
  // closed; it hears nothing after that.
  void Watch(int fd, uint32_t events, Source* source);
  void Rewatch(int fd, uint32_t events, Source* source);
  void Unwatch(int fd, Source* source);

  // Runs `task` at the next such place of the step, before the loop sleeps. What tasks there defer
  // again and again is put off to later steps.
  void Defer(Task task);

  // Monotonic, as of the last wake: what happens in one step happens at one time.
  [[nodiscard]] absl::Duration now() const;

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

// Calls once, at a time that can be changed. Belongs to the loop's thread.
class EventLoop::Timer {
 public:
  Timer(EventLoop& loop, std::function<void()> expired);
  ~Timer();  // Clears.
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // At this monotonic time or, if it has passed, in the next step; instead of the time set before.
  // InfiniteDuration: never. `expired` may destroy the timer.
  void Set(absl::Duration at);
  void Clear() { Set(absl::InfiniteDuration()); }
  // InfiniteDuration: not set.
  [[nodiscard]] absl::Duration at() const { return at_; }

 private:
  friend struct EventLoop::State;
  const std::shared_ptr<State> state_;
  const std::function<void()> expired_;
  absl::Duration at_ = absl::InfiniteDuration();
};

}  // namespace keelson

#endif  // KEELSON_BASE_EVENT_LOOP_H_
