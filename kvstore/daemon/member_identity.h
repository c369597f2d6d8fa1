// Who a member is: told by flags at the first start of a cluster, by the other members when it
// joins one, by its own disk ever after.
#ifndef KEELSON_KVSTORE_DAEMON_MEMBER_IDENTITY_H_
#define KEELSON_KVSTORE_DAEMON_MEMBER_IDENTITY_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "kvstore/config/options.h"
#include "kvstore/server/peer_calls.h"
#include "kvstore/store.h"

namespace keelson::kvstore {

// Asks the member at an address ("host:port") what it knows of the cluster.
using AskMember = std::function<absl::StatusOr<ClusterDescription>(const std::string& address)>;

// Sets the ids and the founders (`initial_cluster`) in `options`, in this order:
//   - from <data-dir>/member/identity;
//   - where there is a log without it, as an earlier version left it, from the flags, which
//     are right already;
//   - with --initial-cluster-state=existing and no data, from the first of the other members that
//     knows this one by its peer URLs. If it has never started there, it starts as a new member
//     (expects_existing_cluster becomes false), else as one that has lost everything;
//   - from the flags.
// Errors: DATA_LOSS for a damaged file; UNAVAILABLE when no member answers, FAILED_PRECONDITION when
// those that do know no member with these URLs; any other from `fs`.
absl::Status ResolveIdentity(FileSystem& fs, const AskMember& ask, Options& options);

// Writes the file if there is none, durably. <data-dir>/member must be there.
absl::Status RememberIdentity(FileSystem& fs, const Options& options);

// The founders, and who else a member that joined had heard of, as rows of Store::Members.
std::vector<Store::MemberAttributes> FoundersOf(const Options& options);
std::vector<Store::MemberAttributes> KnownMembersOf(const Options& options);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_DAEMON_MEMBER_IDENTITY_H_
