// CgroupManager by systemd: the container is a transient scope, so that systemd knows of it, keeps its limits and
// cleans up after it. What systemd does not manage (v1 freezer, hugetlb, rdma ...) is written to the files.
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_SYSTEMD_MANAGER_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_SYSTEMD_MANAGER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "container_runtime/cgroup/cgroupfs_manager.h"
#include "container_runtime/cgroup/unit_control.h"

namespace keelson::container {

struct SystemdOptions {
  CgroupfsOptions cgroupfs;
  std::string description;  // of the unit, such as "cradle container <id>"
  // From annotations (PropertiesOfAnnotations); after ours, so that they win.
  std::vector<UnitProperty> properties;
};

// `location` is of LocateUnit. `connect` is called when systemd is needed for the first time, so that statistics,
// signals and state need no connection. All outlive the manager.
//
// The order of calls is that of CgroupManager; Create makes nothing, as a scope starts with its first process:
//   Create, Apply (checks and remembers), PrepareAttach (`by_call` is set), Attach(pid): the unit starts.
std::unique_ptr<CgroupManager> NewSystemdManager(
    CgroupSystem& system, const HostLayout& host, CgroupLocation location,
    std::function<absl::StatusOr<std::unique_ptr<UnitControl>>()> connect,
    const SystemdOptions& options);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_SYSTEMD_MANAGER_H_
