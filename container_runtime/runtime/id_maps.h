// Maps of user namespaces.
#ifndef KEELSON_CONTAINER_RUNTIME_RUNTIME_ID_MAPS_H_
#define KEELSON_CONTAINER_RUNTIME_RUNTIME_ID_MAPS_H_

#include <sys/types.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "container_runtime/config/spec.h"

namespace keelson::container {

// Writes the maps of process `pid`, which has just entered a new user namespace. Without the
// privilege to map several ids, by newuidmap(1) and newgidmap(1).
// `deny_setgroups`: also gives setgroups up, which the kernel asks of the unprivileged.
absl::Status WriteIdMaps(pid_t pid, const std::vector<IdMapping>& uids,
                         const std::vector<IdMapping>& gids, bool deny_setgroups);

// A user namespace of its own with these maps, held by the descriptor alone.
absl::StatusOr<UniqueFd> MakeUserNamespace(const std::vector<IdMapping>& uids,
                                           const std::vector<IdMapping>& gids);

// Whether somebody without privileges, mapping only themself, must give up setgroups.
bool MustDenySetgroups(const std::vector<IdMapping>& gids);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_RUNTIME_ID_MAPS_H_
