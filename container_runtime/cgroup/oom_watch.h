// Notices of out-of-memory kills in one cgroup: eventfd on v1, announced changes of memory.events on v2.
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_OOM_WATCH_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_OOM_WATCH_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "container_runtime/cgroup/cgroup_manager.h"
#include "container_runtime/cgroup/cgroup_system.h"

namespace keelson::container {

// `folder` is the memory cgroup's folder; `path` names it in messages. Neither is kept open: the
// watch has descriptors of its own. `system` is used during the call only.
absl::StatusOr<std::unique_ptr<OomWatch>> NewOomWatch(CgroupSystem& system, int folder,
                                                      bool unified, const std::string& path);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_OOM_WATCH_H_
