// CgroupManager over the cgroup file systems: v1, v2 and hybrid. See cgroup_manager.h.
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_CGROUPFS_MANAGER_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_CGROUPFS_MANAGER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "container_runtime/cgroup/cgroup_location.h"
#include "container_runtime/cgroup/cgroup_manager.h"
#include "container_runtime/cgroup/cgroup_system.h"
#include "container_runtime/cgroup/host_layout.h"

namespace keelson::container {

struct CgroupfsOptions {
  // Device rules are left alone: in a user namespace the kernel denies device nodes anyway, and
  // allows no rules.
  bool skip_devices = false;
  // The devices of DefaultDevices (device_rules.h) are allowed whatever the config says.
  bool default_devices = true;
  // Device rules that permissions keep us from are no error (rootless).
  bool tolerate_devices = false;
  // How long Destroy waits for the last processes to leave.
  absl::Duration destroy_limit = absl::Seconds(5);
};

// For a new container, or for an existing one whose location comes from its state file. Touches
// nothing yet. Hierarchies of `location` that the host does not mount (any more) are ignored.
// `system` outlives the manager.
std::unique_ptr<CgroupManager> NewCgroupfsManager(CgroupSystem& system, const HostLayout& host,
                                                  CgroupLocation location,
                                                  const CgroupfsOptions& options);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_CGROUPFS_MANAGER_H_
