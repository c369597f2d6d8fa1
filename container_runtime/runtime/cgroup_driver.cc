#include "base/status.h"
#include "container_runtime/cgroup/cgroupfs_manager.h"
#include "container_runtime/runtime/creation.h"

namespace keelson::container {

absl::StatusOr<CgroupLocation> LocateFor(const HostLayout& host, const RuntimeOptions& runtime,
                                         const std::string& id, const std::string& cgroups_path) {
  if (runtime.cgroup_driver == CgroupDriver::kDisabled) return CgroupLocation{};
  const LocateOptions options = {
      .container_id = id, .cgroups_path = cgroups_path, .rootless = runtime.rootless};
  if (runtime.cgroup_driver == CgroupDriver::kSystemd) {
    return absl::UnimplementedError("the systemd cgroup driver is not in this program");
  }
  return LocateCgroups(host, options);
}

absl::StatusOr<std::unique_ptr<CgroupManager>> NewManager(const HostLayout& host,
                                                          const ContainerState& state,
                                                          bool user_namespace) {
  CgroupfsOptions options;
  options.skip_devices = user_namespace && state.rootless;
  options.tolerate_devices = state.rootless;
  return NewCgroupfsManager(RealCgroupSystem(), host, state.cgroup, options);
}

}  // namespace keelson::container
