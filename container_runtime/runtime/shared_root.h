// The root of a container without a mount namespace of its own: a mount that outlives its process.
#ifndef KEELSON_CONTAINER_RUNTIME_RUNTIME_SHARED_ROOT_H_
#define KEELSON_CONTAINER_RUNTIME_RUNTIME_SHARED_ROOT_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "container_runtime/config/spec.h"
#include "container_runtime/state/state.h"

namespace keelson::container {

// The number of the mount that `path` is on; 0 when that cannot be told (Linux before 5.8).
uint64_t MountOf(const std::string& path);

// Takes the container's mount from the place of its root, with everything in it. No error when it is not
// there any more, or the namespace is not. After the container's last process.
absl::Status RemoveSharedRoot(const Spec& spec, const ContainerState& state);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_RUNTIME_SHARED_ROOT_H_
