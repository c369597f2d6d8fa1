// Writes `linux.resources` to the container's folders: settings.h decides what, this does it.
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_INTERNAL_CGROUP_LIMITS_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_INTERNAL_CGROUP_LIMITS_H_

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "container_runtime/cgroup/cgroup_system.h"
#include "container_runtime/cgroup/internal/cgroup_folder.h"
#include "container_runtime/cgroup/settings.h"
#include "container_runtime/config/resources.h"

namespace keelson::container {

class CgroupLimits {
 public:
  // All outlive this object. `left_out` names controllers (and hierarchies) that permissions kept
  // the container from.
  CgroupLimits(CgroupSystem& system, std::vector<CgroupFolder>& folders,
               const std::set<std::string>& left_out)
      : system_(system), folders_(folders), left_out_(left_out) {}

  // All of `resources` but devices.
  absl::Status Write(const Resources& resources);
  // `tolerate`: without the permission to set devices up, none are.
  absl::Status WriteDevices(const std::vector<DeviceRule>& rules, bool tolerate);

  // Makes the controllers of `wanted` that the host's v2 tree has available in the container's folder,
  // by cgroup.subtree_control of every folder above. What cannot be had shows when it is written to.
  absl::Status EnableControllers(CgroupFolder& folder, const std::vector<std::string>& wanted);

 private:
  CgroupFolder* FolderOf(const std::string& controller, bool unified);
  absl::Status WriteGroup(CgroupFolder& folder, const SettingGroup& group);
  absl::Status WriteSide(const std::vector<SettingGroup>& groups, bool unified);
  absl::Status CheckUsage(const Resources& resources);
  absl::Status WriteDevicesV1(CgroupFolder& folder, const std::vector<DeviceRule>& rules);
  [[nodiscard]] bool V2Only() const;

  CgroupSystem& system_;
  std::vector<CgroupFolder>& folders_;
  const std::set<std::string>& left_out_;
};

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_INTERNAL_CGROUP_LIMITS_H_
