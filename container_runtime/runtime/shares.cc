#include "container_runtime/runtime/shares.h"

#include <string>

#include "base/status.h"

namespace keelson::container {

std::optional<IntelRdt> SharesOf(const Spec& spec, const ContainerState& state) {
  if (spec.linux_.intel_rdt.has_value() || state.intel_rdt_path.empty()) {
    return spec.linux_.intel_rdt;
  }
  return IntelRdt{};
}

absl::StatusOr<ResctrlGroup> OpenShares(const IntelRdt& config, const std::string& id) {
  KEELSON_ASSIGN_OR_RETURN(const std::string mounts, ReadHostFile("/proc/self/mountinfo"));
  return ResctrlGroup::Open(RealCgroupSystem(), mounts, config, id);
}

absl::Status JoinShares(const Spec& spec, const ContainerState& state, pid_t pid) {
  const std::optional<IntelRdt> config = SharesOf(spec, state);
  if (!config.has_value()) return absl::OkStatus();
  KEELSON_ASSIGN_OR_RETURN(ResctrlGroup group, OpenShares(*config, state.id));
  return group.Join(pid);
}

absl::Status RemoveShares(const Spec& spec, const ContainerState& state) {
  const std::optional<IntelRdt> config = SharesOf(spec, state);
  if (!config.has_value()) return absl::OkStatus();
  absl::StatusOr<ResctrlGroup> group = OpenShares(*config, state.id);
  // Unmounted meanwhile, and gone with all its groups.
  if (absl::IsFailedPrecondition(group.status())) return absl::OkStatus();
  KEELSON_RETURN_IF_ERROR(group.status());
  return group->Remove(!state.intel_rdt_path.empty());
}

}  // namespace keelson::container
