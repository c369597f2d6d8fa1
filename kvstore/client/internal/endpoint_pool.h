// The connections of a client: one gRPC channel for each endpoint, and which of them to use.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_ENDPOINT_POOL_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_ENDPOINT_POOL_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "kvstore/client/client.h"
#include "kvstore/client/internal/token_source.h"

#include "kvstore/api/services.grpc.pb.h"

namespace keelson::kvstore::client_internal {

// What gRPC is asked to connect to.
struct Target {
  std::string address;  // "host:port" or "unix:/path"
  bool tls = false;
};

// INVALID_ARGUMENT for an unknown scheme, a missing port or a path behind host and port.
absl::StatusOr<Target> ParseEndpoint(const std::string& endpoint, bool tls_by_default);

// Thread-safe.
class EndpointPool {
 public:
  struct Endpoint {
    std::string name;  // as the user wrote it
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<etcdserverpb::KV::Stub> kv;
    std::unique_ptr<etcdserverpb::Watch::Stub> watch;
    std::unique_ptr<etcdserverpb::Lease::Stub> lease;
    std::unique_ptr<etcdserverpb::Cluster::Stub> cluster;
    std::unique_ptr<etcdserverpb::Maintenance::Stub> maintenance;
  };

  struct Picked {
    size_t index = 0;
    bool connected = false;
  };

  static absl::StatusOr<std::unique_ptr<EndpointPool>> Make(const ConnectOptions& options);

  // Waits until an endpoint is connected, at most until `deadline`. Prefers the current one;
  // turns to the others when that has failed or takes long, and makes the answer current.
  // When none could be reached, returns the current one with connected = false: a call on it
  // fails at once and says why.
  Picked Pick(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);

  // Makes the endpoint after `index` current, unless somebody has moved on already.
  void MoveOnFrom(size_t index) ABSL_LOCKS_EXCLUDED(mu_);

  [[nodiscard]] const Endpoint& At(size_t index) const { return endpoints_[index]; }
  // All names, comma separated, for messages.
  [[nodiscard]] std::string Names() const;
  TokenSource& tokens() { return tokens_; }

 private:
  EndpointPool(const std::string& user, const std::string& password) : tokens_(user, password) {}

  std::vector<Endpoint> endpoints_;  // Constant after Make.
  TokenSource tokens_;
  absl::Mutex mu_;
  size_t current_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_ENDPOINT_POOL_H_
