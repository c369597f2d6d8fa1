// Learns the founding members of a cluster from the version 3 keys of another one, below
// /_etcd/registry/<token>, in which each founder registers (kvstore.md 16.2).
#ifndef KEELSON_KVSTORE_DAEMON_DISCOVERY_V3_H_
#define KEELSON_KVSTORE_DAEMON_DISCOVERY_V3_H_

#include <string>

#include "absl/status/statusor.h"
#include "kvstore/client/client.h"
#include "kvstore/daemon/discovery.h"

namespace keelson::kvstore {

// Registers as members/<id>, waits until as many have as _config/size asks for, and returns them as for
// --initial-cluster. Trouble with the other cluster is waited out, ever more patiently.
//
// A member that has registered before goes on as long as others are missing: nothing can have been
// founded yet. Later it is refused, unlike by etcd: it may have voted and have lost its disk since.
//
// Errors, where etcd has them with its texts:
//   INVALID_ARGUMENT     "discovery: size key is bad"; a user or password that is wrong.
//   NOT_FOUND            "discovery: size key not found".
//   FAILED_PRECONDITION  "discovery: cluster is full".
//   ALREADY_EXISTS       "discovery: found duplicate id", as above or since it is registered with other
//                        URLs; or as InitialClusterOf.
//   PERMISSION_DENIED, UNAUTHENTICATED  the keys are not for this user.
//   UNAVAILABLE          "discovery: unregistered": somebody has deleted this member's key.
//   CANCELLED            go_on said so.
absl::StatusOr<std::string> JoinByDiscoveryV3(Client& client, const DiscoveryWorld& world,
                                              const std::string& token,
                                              const DiscoveryRequest& request);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_DAEMON_DISCOVERY_V3_H_
