// How the user writes the address of a member.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_ENDPOINT_NAME_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_ENDPOINT_NAME_H_

#include <string>

#include "absl/status/statusor.h"

namespace keelson::kvstore::client_internal {

// What to connect to.
struct Target {
  std::string address;  // "host:port" or "unix:/path"
  bool tls = false;
};

// INVALID_ARGUMENT for an unknown scheme, a missing port or a path behind host and port.
absl::StatusOr<Target> ParseEndpoint(const std::string& endpoint, bool tls_by_default);

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_ENDPOINT_NAME_H_
