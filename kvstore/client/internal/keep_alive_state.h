// Renews one lease until it is lost or nobody wants it kept.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_KEEP_ALIVE_STATE_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_KEEP_ALIVE_STATE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kvstore/client/client.h"
#include "kvstore/client/internal/callback_queue.h"
#include "kvstore/client/internal/core.h"

namespace keelson::kvstore::client_internal {

// The call that renews `lease` once.
UnaryRequest RenewalOf(int64_t lease, absl::Duration timeout);
// NOT_FOUND when the member does not know the lease.
absl::StatusOr<etcdserverpb::LeaseKeepAliveResponse> ReadRenewal(
    const absl::StatusOr<std::string>& answer);

std::unique_ptr<KeepAlive> StartKeepAlive(std::shared_ptr<ClientCore> core, int64_t lease,
                                          absl::Duration ttl, KeepAliveCallbacks callbacks);

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_KEEP_ALIVE_STATE_H_
