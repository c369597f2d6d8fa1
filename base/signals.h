// Signals of a daemon, taken by one waiting thread instead of by handlers.
//
//   SignalWaiter signals;  // First thing in main, before any thread starts.
//   ... start everything ...
//   while (signals.Wait() == SIGHUP) Reload();
//   ... stop everything ...
#ifndef KEELSON_BASE_SIGNALS_H_
#define KEELSON_BASE_SIGNALS_H_

#include <optional>

#include "absl/time/time.h"
#include "base/unique_fd.h"

namespace keelson {

// At most one in a process.
class SignalWaiter {
 public:
  // Blocks SIGTERM, SIGINT and SIGHUP in the calling thread and, by inheritance, in all
  // threads it starts afterwards; ignores SIGPIPE. Aborts when the system refuses a descriptor.
  // A program started later inherits the blocked signals: unblock them between fork and exec.
  SignalWaiter();
  SignalWaiter(const SignalWaiter&) = delete;
  SignalWaiter& operator=(const SignalWaiter&) = delete;

  // Waits for a signal and returns its number, or 0 after Wake. Empty when `timeout` passed.
  // One thread at a time.
  std::optional<int> WaitFor(absl::Duration timeout);
  int Wait();

  // Makes one Wait return 0: how the program itself asks for its end. Thread-safe, async-signal-safe.
  void Wake();

 private:
  UniqueFd signal_fd_;
  UniqueFd wake_fd_;
};

}  // namespace keelson

#endif  // KEELSON_BASE_SIGNALS_H_
