// The token that the calls of a user carry.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_TOKEN_SOURCE_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_TOKEN_SOURCE_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace keelson::kvstore::client_internal {

// Thread-safe.
class TokenSource {
 public:
  // An empty user or password: calls carry no token, as with etcd's clients.
  TokenSource(std::string user, std::string password)
      : user_(std::move(user)), password_(std::move(password)) {}

  // Adds the token to a call's context. The first time, and after one was refused, asks for it over
  // `channel`, within the deadline of `context`; the error is that of the asking. A cluster without
  // users needs none: OK.
  grpc::Status AddTo(const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context)
      ABSL_LOCKS_EXCLUDED(mu_);

  // True when the call with `status` failed for want of a good token and another one may be had:
  // the call has had no effect. The next AddTo asks anew.
  bool Renew(const grpc::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  [[nodiscard]] bool Anonymous() const { return user_.empty() || password_.empty(); }

  const std::string user_;
  const std::string password_;
  absl::Mutex mu_;
  std::string token_ ABSL_GUARDED_BY(mu_);
  bool asked_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_TOKEN_SOURCE_H_
