// What locks and elections have in common: keys "<name>/<lease in hex>", of which the one that was
// made first wins. The layout is that of etcd's clientv3/concurrency.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_CONTEST_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_CONTEST_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kvstore/client/client.h"
#include "kvstore/client/session.h"

namespace keelson::kvstore::client_internal {

// The own key of `session` in the contest `name`.
std::string ContestKey(std::string_view name, const Session& session);
// The key under "<name>/" that was made first.
etcdserverpb::RangeRequest FirstOf(std::string_view name);

// Client::Txn for a transaction that may be done twice: repeats it while its fate is unknown, until
// `deadline`.
absl::StatusOr<etcdserverpb::TxnResponse> TxnUntilKnown(Client& client,
                                                        const etcdserverpb::TxnRequest& request,
                                                        absl::Duration deadline);

// Waits until no key under "<name>/" was made before `create_revision`. DEADLINE_EXCEEDED, or
// FAILED_PRECONDITION when the session is lost meanwhile.
absl::Status AwaitTurn(const Session& session, std::string_view name, int64_t create_revision,
                       absl::Duration deadline);

// Deletes `key` if it was made at `create_revision`. True when it was there.
absl::StatusOr<bool> Leave(Client& client, const std::string& key, int64_t create_revision,
                           absl::Duration deadline);

// `timeout` from now, by the client's clock.
absl::Duration DeadlineAfter(Client& client, absl::Duration timeout);
// For what has to be tidied up after a deadline.
inline constexpr absl::Duration kLeaveTimeout = absl::Seconds(5);

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_CONTEST_H_
