#include "base/event_loop.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <iterator>
#include <map>
#include <set>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/burst.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/unique_fd.h"

namespace keelson {
namespace {

// What is deferred may defer more. Beyond so many rounds the rest waits for the next step, so that a
// sender that always finds room again does not keep the loop from its other descriptors.
constexpr int kDeferredRounds = 8;

}  // namespace

struct EventLoop::State final : Sleeper, std::enable_shared_from_this<State> {
  using Awaited = std::pair<const Task*, absl::Notification*>;

  State() : epoll(::epoll_create1(EPOLL_CLOEXEC)), call(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    KEELSON_CHECK(epoll.ok() && call.ok()) << "event loop: " << errno;
    // Edge-triggered: each call wakes once, and nobody has to read them.
    Control(EPOLL_CTL_ADD, call.get(), EPOLLIN | EPOLLET, nullptr);
  }

  void Wake() override {
    const uint64_t one = 1;
    KEELSON_CHECK(::write(call.get(), &one, sizeof(one)) == sizeof(one)) << errno;
  }
  void Control(int operation, int fd, uint32_t events, Source* source) const {
    epoll_event event{.events = events, .data = {.ptr = source}};
    KEELSON_CHECK(::epoll_ctl(epoll.get(), operation, fd, &event) == 0) << errno;
  }

  void Run();
  void RunTasks() ABSL_LOCKS_EXCLUDED(mu);
  void RunAwaited(std::vector<Awaited>& all);
  void RunDeferred();
  void RunTimers();
  // Milliseconds until something is due; -1: never. Counts as asleep when that is not 0.
  int Timeout() ABSL_LOCKS_EXCLUDED(mu);
  void Finish() ABSL_LOCKS_EXCLUDED(mu);

  const UniqueFd epoll;
  const UniqueFd call;  // readable when the loop is to wake
  std::thread thread;
  std::atomic<bool> stopping{false};

  absl::Mutex mu;
  std::vector<Task> ready ABSL_GUARDED_BY(mu);
  std::vector<Awaited> awaited ABSL_GUARDED_BY(mu);
  std::multimap<absl::Duration, Task> delayed ABSL_GUARDED_BY(mu);  // by monotonic due time
  bool asleep ABSL_GUARDED_BY(mu) = false;
  bool finished ABSL_GUARDED_BY(mu) = false;

  // Of the thread.
  absl::Duration now = RealClock().Monotonic();
  std::vector<Task> deferred;
  std::set<std::pair<absl::Duration, Timer*>> timers;
  std::span<epoll_event> pending;  // of this look at the descriptors, not yet told
};

void EventLoop::State::RunAwaited(std::vector<Awaited>& all) {
  for (const auto& [task, done] : all) {
    (*task)();
    done->Notify();
  }
}

void EventLoop::State::RunTasks() {
  std::vector<Task> batch;
  std::vector<Awaited> urgent;
  {
    absl::MutexLock lock(&mu);
    while (!delayed.empty() && delayed.begin()->first <= now) {
      ready.push_back(std::move(delayed.begin()->second));
      delayed.erase(delayed.begin());
    }
    std::swap(batch, ready);
    std::swap(urgent, awaited);
  }
  RunAwaited(urgent);
  for (Task& task : batch) {
    if (stopping) return;
    task();
    task = nullptr;  // Frees what the task holds before the next one runs.
  }
}

void EventLoop::State::RunDeferred() {
  for (int round = 0; round < kDeferredRounds && !deferred.empty(); ++round) {
    for (const Task& task : std::exchange(deferred, {})) task();
  }
}

void EventLoop::State::RunTimers() {
  // One that sets itself again for a time that has passed waits for the next step.
  for (size_t left = timers.size(); left > 0; --left) {
    if (timers.empty() || timers.begin()->first > now) return;
    Timer* const timer = timers.begin()->second;
    timers.erase(timers.begin());
    timer->at_ = absl::InfiniteDuration();
    const auto expired = timer->expired_;  // It may destroy the timer.
    expired();
  }
}

int EventLoop::State::Timeout() {
  absl::Duration next = timers.empty() ? absl::InfiniteDuration() : timers.begin()->first;
  absl::MutexLock lock(&mu);
  if (!ready.empty() || !awaited.empty() || !deferred.empty() || stopping) return 0;
  if (!delayed.empty()) next = std::min(next, delayed.begin()->first);
  int timeout = -1;
  if (next != absl::InfiniteDuration()) {
    const absl::Duration left =
        std::clamp(next - RealClock().Monotonic(), absl::ZeroDuration(), absl::Hours(1));
    timeout = static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1))));
  }
  asleep = true;
  return timeout;
}

void EventLoop::State::Run() {
  while (!stopping) {
    RunTasks();
    RunDeferred();
    epoll_event events[128];
    const int count = ::epoll_wait(epoll.get(), events, std::size(events), Timeout());
    KEELSON_CHECK(count >= 0 || errno == EINTR) << errno;
    {
      absl::MutexLock lock(&mu);
      asleep = false;
    }
    now = RealClock().Monotonic();
    {
      Burst burst;  // What the descriptors bring is told to other threads at once.
      pending = {events, static_cast<size_t>(std::max(count, 0))};
      while (!pending.empty()) {
        const epoll_event event = pending.front();
        pending = pending.subspan(1);
        if (event.data.ptr != nullptr) static_cast<Source*>(event.data.ptr)->OnReady(event.events);
      }
      RunDeferred();
    }
    RunTimers();
    RunDeferred();
  }
  Finish();
}

void EventLoop::State::Finish() {
  while (true) {
    std::vector<Awaited> last;
    {
      absl::MutexLock lock(&mu);
      finished = awaited.empty();
      if (finished) return;
      std::swap(last, awaited);
    }
    RunAwaited(last);
    RunDeferred();
  }
}

EventLoop::EventLoop(const std::string& name) : state_(std::make_shared<State>()) {
  // A signal must not come to this thread; SIGPIPE of OpenSSL's writes least of all.
  sigset_t all;
  sigset_t before;
  (void)::sigfillset(&all);
  KEELSON_CHECK(::pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
  state_->thread = std::thread([state = state_.get()] { state->Run(); });
  KEELSON_CHECK(::pthread_sigmask(SIG_SETMASK, &before, nullptr) == 0);
  (void)::pthread_setname_np(state_->thread.native_handle(), name.substr(0, 15).c_str());
}

EventLoop::~EventLoop() { Stop(); }

void EventLoop::Post(Task task) {
  {
    absl::MutexLock lock(&state_->mu);
    if (state_->stopping) return;
    state_->ready.push_back(std::move(task));
    if (!std::exchange(state_->asleep, false)) return;
  }
  Burst::Wake(state_);
}

void EventLoop::PostAfter(absl::Duration delay, Task task) {
  {
    absl::MutexLock lock(&state_->mu);
    if (state_->stopping) return;
    state_->delayed.emplace(RealClock().Monotonic() + delay, std::move(task));
    if (!std::exchange(state_->asleep, false)) return;
  }
  Burst::Wake(state_);
}

void EventLoop::Await(const Task& task) {
  if (InLoop()) return task();
  absl::Notification done;
  bool finished = false;
  {
    absl::MutexLock lock(&state_->mu);
    finished = state_->finished;
    if (!finished) state_->awaited.emplace_back(&task, &done);
  }
  if (finished) return task();
  // In any case and now: a burst of this thread may hold back the wake of an earlier task.
  state_->Wake();
  done.WaitForNotification();
}

void EventLoop::Stop() {
  KEELSON_CHECK(!InLoop()) << "an event loop cannot stop itself";
  {
    absl::MutexLock lock(&state_->mu);
    state_->stopping = true;
  }
  state_->Wake();
  if (state_->thread.joinable()) state_->thread.join();
  // Destroyed without the lock: what a task holds may have something to say at its end.
  std::vector<Task> ready;
  std::multimap<absl::Duration, Task> delayed;
  absl::MutexLock lock(&state_->mu);
  std::swap(ready, state_->ready);
  std::swap(delayed, state_->delayed);
}

bool EventLoop::InLoop() const { return std::this_thread::get_id() == state_->thread.get_id(); }

void EventLoop::Watch(int fd, uint32_t events, Source* source) {
  state_->Control(EPOLL_CTL_ADD, fd, events, source);
}

void EventLoop::Rewatch(int fd, uint32_t events, Source* source) {
  state_->Control(EPOLL_CTL_MOD, fd, events, source);
}

void EventLoop::Unwatch(int fd, Source* source) {
  state_->Control(EPOLL_CTL_DEL, fd, 0, nullptr);
  for (epoll_event& event : state_->pending) {
    if (event.data.ptr == source) event.data.ptr = nullptr;
  }
}

void EventLoop::Defer(Task task) { state_->deferred.push_back(std::move(task)); }

absl::Duration EventLoop::now() const { return state_->now; }

EventLoop::Timer::Timer(EventLoop& loop, std::function<void()> expired)
    : state_(loop.state_), expired_(std::move(expired)) {}

EventLoop::Timer::~Timer() { Clear(); }

void EventLoop::Timer::Set(absl::Duration at) {
  if (at == at_) return;
  if (at_ != absl::InfiniteDuration()) state_->timers.erase({at_, this});
  at_ = at;
  if (at_ != absl::InfiniteDuration()) state_->timers.emplace(at_, this);
}

}  // namespace keelson
