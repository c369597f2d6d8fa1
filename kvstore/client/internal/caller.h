// How one remote call is made: pick an endpoint, call, and decide whether to try again.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_CALLER_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_CALLER_H_

#include <grpcpp/grpcpp.h>

#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "kvstore/client/internal/endpoint_pool.h"

namespace keelson::kvstore::client_internal {

// Stops whatever call is in progress, from another thread, and every later one. Thread-safe.
class Cancellation {
 public:
  void Cancel() ABSL_LOCKS_EXCLUDED(mu_);
  [[nodiscard]] bool Cancelled() const ABSL_LOCKS_EXCLUDED(mu_);
  // Waits for `duration`, less when cancelled meanwhile. Returns whether it was.
  bool WaitFor(absl::Duration duration) ABSL_LOCKS_EXCLUDED(mu_);

  // Enter returns false when cancelled; otherwise `context` is cancelled with this until Leave.
  bool Enter(grpc::ClientContext* context) ABSL_LOCKS_EXCLUDED(mu_);
  void Leave() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  mutable absl::Mutex mu_;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mu_) = nullptr;
};

enum class Repeat {
  kAlways,     // reads, and what does no harm twice
  kIfNotSent,  // writes
};

struct CallOptions {
  absl::Duration dial_timeout;
  absl::Duration command_timeout;
};

// Runs `call` against an endpoint of `pool`, again where `repeat` allows, until it succeeds or
// the command timeout ends. `call` may run more than once and must reset its answer itself.
using RemoteCall = std::function<grpc::Status(const EndpointPool::Endpoint&, grpc::ClientContext*)>;
absl::Status CallEndpoint(EndpointPool& pool, const CallOptions& options, Repeat repeat,
                          Cancellation* cancellation, const RemoteCall& call);

// gRPC's codes are Abseil's codes; the text stays.
absl::Status ToStatus(const grpc::Status& status);

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_CALLER_H_
