// Who founds a cluster, when the flags say only where to ask.
#ifndef KEELSON_KVSTORE_DAEMON_FOUNDERS_H_
#define KEELSON_KVSTORE_DAEMON_FOUNDERS_H_

#include "absl/status/status.h"
#include "base/file_system.h"
#include "kvstore/config/options.h"

namespace keelson::kvstore {

// With --discovery and without data of an earlier start: asks the service, which may take as long as the
// other members do, and sets the founding members. Ends early when the process is told to end.
// Errors as of JoinByDiscovery and SetFoundingMembers.
absl::Status LearnFounders(FileSystem& fs, Options& options);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_DAEMON_FOUNDERS_H_
