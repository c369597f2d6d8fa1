// Those of etcd's errors that a client acts upon. Code and text are part of the protocol; the server
// has all of them in kvstore/errors.h, which this component does not use.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_SERVER_ERRORS_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_SERVER_ERRORS_H_

#include "absl/status/status.h"

namespace keelson::kvstore::client_internal {

inline absl::Status NoLeader() { return absl::UnavailableError("etcdserver: no leader"); }
// UNAVAILABLE before etcd 3.6.
inline absl::Status NotSupportedForLearner(absl::StatusCode code) {
  return absl::Status(code, "etcdserver: rpc not supported for learner");
}
inline absl::Status InvalidAuthToken() {
  return absl::UnauthenticatedError("etcdserver: invalid auth token");
}
inline absl::Status AuthOldRevision() {
  return absl::InvalidArgumentError("etcdserver: revision of auth store is old");
}
inline absl::Status UserEmpty() {
  return absl::InvalidArgumentError("etcdserver: user name is empty");
}
inline absl::Status AuthNotEnabled() {
  return absl::FailedPreconditionError("etcdserver: authentication is not enabled");
}
inline absl::Status PermissionDenied() {
  return absl::PermissionDeniedError("etcdserver: permission denied");
}
inline absl::Status LeaseNotFound() {
  return absl::NotFoundError("etcdserver: requested lease not found");
}
inline absl::Status Compacted() {
  return absl::OutOfRangeError("etcdserver: mvcc: required revision has been compacted");
}

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_SERVER_ERRORS_H_
