// The Client over any Runtime.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_RPC_CLIENT_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_RPC_CLIENT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kvstore/client/client.h"
#include "kvstore/client/internal/core.h"
#include "kvstore/client/internal/runtime.h"

namespace keelson::kvstore::client_internal {

// Errors as EndpointPool::Set.
absl::StatusOr<std::unique_ptr<Client>> MakeClient(std::unique_ptr<Runtime> runtime,
                                                   const std::vector<std::string>& endpoints,
                                                   const CoreOptions& options);

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_RPC_CLIENT_H_
