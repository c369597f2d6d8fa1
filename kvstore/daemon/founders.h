// Who founds a cluster, when the flags say only where to ask.
#ifndef KEELSON_KVSTORE_DAEMON_FOUNDERS_H_
#define KEELSON_KVSTORE_DAEMON_FOUNDERS_H_

#include "absl/status/status.h"
#include "base/file_system.h"
#include "kvstore/config/options.h"

namespace keelson::kvstore {

// With --discovery, --discovery-endpoints or --discovery-srv, and without data of an earlier start: asks,
// and sets the founding members. A meeting place may take as long as the other members do; that ends
// early when the process is told to end. Errors as of JoinByDiscovery, JoinByDiscoveryV3, Connect,
// FoundersFromSrv and SetFoundingMembers.
absl::Status LearnFounders(FileSystem& fs, Options& options);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_DAEMON_FOUNDERS_H_
