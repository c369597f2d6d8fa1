// What a client runs on: time, threads, and ways to members. There is one for the network, one
// for a store in the same process and one for simulated time; everything above is the same.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_RUNTIME_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_RUNTIME_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/executor.h"
#include "base/rpc/client.h"

namespace keelson::kvstore::client_internal {

// Thread-safe.
class Runtime {
 public:
  virtual ~Runtime() = default;

  virtual absl::Duration Monotonic() = 0;
  // Where answers are handled. Channels made by `open` (below) call back there.
  virtual Executor& loop() = 0;
  // Runs `task` on the loop and returns when it has run; at once on the loop itself.
  virtual void RunOnLoop(const Executor::Task& task) = 0;
  // Where the user's callbacks run, which may block: those of watches, and apart from them those
  // of leases, whose loss must be heard in time.
  virtual Executor& watch_callbacks() = 0;
  virtual Executor& lease_callbacks() = 0;
  // Waits until `condition` holds, at most for `timeout`; says whether it does. `mu` is held
  // before and after, and let go meanwhile.
  virtual bool Await(absl::Mutex* mu, const absl::Condition& condition, absl::Duration timeout) = 0;

  // A way to the member at `endpoint`, as the user wrote it. INVALID_ARGUMENT when that says
  // nothing.
  virtual absl::StatusOr<std::unique_ptr<rpc::Channel>> Open(const std::string& endpoint) = 0;

  // No task runs any more when it returns. All channels are closed. Not on one of its threads.
  virtual void Stop() = 0;
};

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_RUNTIME_H_
