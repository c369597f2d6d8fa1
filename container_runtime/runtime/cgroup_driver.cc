#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "container_runtime/cgroup/cgroupfs_manager.h"
#include "container_runtime/cgroup/systemd_manager.h"
#include "container_runtime/runtime/creation.h"

namespace keelson::container {

bool IsFrozen(CgroupManager& cgroup) {
  const absl::StatusOr<FreezerState> state = cgroup.Freezer();
  return state.ok() && *state == FreezerState::kFrozen;
}

absl::StatusOr<CgroupLocation> LocateFor(const HostLayout& host, const RuntimeOptions& runtime,
                                         const std::string& id, const std::string& cgroups_path) {
  if (runtime.cgroup_driver == CgroupDriver::kDisabled) return CgroupLocation{};
  const LocateOptions options = {
      .container_id = id, .cgroups_path = cgroups_path, .rootless = runtime.rootless};
  if (runtime.cgroup_driver == CgroupDriver::kCgroupfs) return LocateCgroups(host, options);
  if (!runtime.rootless) return LocateUnit(host, options, "/");
  // A user's manager keeps its units below a cgroup of its own, which it alone knows.
  KEELSON_ASSIGN_OR_RETURN(const auto control, ConnectUnitControl({.user = true}));
  KEELSON_ASSIGN_OR_RETURN(const std::string above, control->ManagerCgroup());
  return LocateUnit(host, options, above);
}

absl::StatusOr<std::unique_ptr<CgroupManager>> NewManager(const HostLayout& host,
                                                          const ContainerState& state,
                                                          bool user_namespace) {
  CgroupfsOptions options;
  options.skip_devices = user_namespace && state.rootless;
  options.tolerate_devices = state.rootless;
  if (!state.systemd_cgroup) {
    return NewCgroupfsManager(RealCgroupSystem(), host, state.cgroup, options);
  }
  SystemdOptions systemd;
  systemd.cgroupfs = options;
  systemd.description = absl::StrCat("cradle container ", state.id);
  KEELSON_ASSIGN_OR_RETURN(systemd.properties, PropertiesOfAnnotations(state.annotations));
  const bool user = state.cgroup.user_manager;
  return NewSystemdManager(
      RealCgroupSystem(), host, state.cgroup,
      [user]() { return ConnectUnitControl({.user = user}); }, systemd);
}

}  // namespace keelson::container
