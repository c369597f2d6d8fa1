// Stays with a process in the foreground: passes signals on, copies a terminal, reaps.
#ifndef KEELSON_CONTAINER_RUNTIME_RUNTIME_FOREGROUND_H_
#define KEELSON_CONTAINER_RUNTIME_RUNTIME_FOREGROUND_H_

#include <functional>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "container_runtime/runtime/spawn.h"

namespace keelson::container {

// Blocks the signals that are to be passed on; before the process is made, so that none is lost.
// For programs of one thread: it changes the whole program's signal handling.
class Foreground {
 public:
  Foreground();
  ~Foreground();
  Foreground(const Foreground&) = delete;
  Foreground& operator=(const Foreground&) = delete;

  // Orphans of the process become ours, and are reaped.
  void BecomeSubreaper();

  // Until the process ends: its exit status, or 128 and the signal's number. `master`, when it
  // holds one, is the controlling end of its terminal, which is joined with ours (put into raw mode
  // meanwhile).
  // `watch`, when it is no -1, is a descriptor for whose messages `watched` is called.
  absl::StatusOr<int> Await(const Child& child, UniqueFd master, int watch = -1,
                            const std::function<void()>& watched = nullptr);

 private:
  absl::StatusOr<int> TakeSignal(const Child& child, int master, bool* ended);
  UniqueFd signals_;
};

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_RUNTIME_FOREGROUND_H_
