// The resctrl group of a container, by its config and state (resctrl/resctrl.h).
#ifndef KEELSON_CONTAINER_RUNTIME_RUNTIME_SHARES_H_
#define KEELSON_CONTAINER_RUNTIME_RUNTIME_SHARES_H_

#include <sys/types.h>

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "container_runtime/config/spec.h"
#include "container_runtime/resctrl/resctrl.h"
#include "container_runtime/state/state.h"

namespace keelson::container {

// What group the container has: that of its config, or a plain one that `update` has given it; nullopt
// for none.
std::optional<IntelRdt> SharesOf(const Spec& spec, const ContainerState& state);

absl::StatusOr<ResctrlGroup> OpenShares(const IntelRdt& config, const std::string& id);

// Moves `pid` into the container's group; no error when it has none.
absl::Status JoinShares(const Spec& spec, const ContainerState& state, pid_t pid);

// Removes what was made for the container. What is missing is no error, resctrl itself included.
absl::Status RemoveShares(const Spec& spec, const ContainerState& state);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_RUNTIME_SHARES_H_
