// The compiler's parts share this: the plan under construction and what has been found out.
#ifndef KEELSON_CONTAINER_RUNTIME_PLAN_INTERNAL_CONTAINER_COMPILER_H_
#define KEELSON_CONTAINER_RUNTIME_PLAN_INTERNAL_CONTAINER_COMPILER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "container_runtime/plan/compiler.h"
#include "container_runtime/plan/mount_options.h"

namespace keelson::container {

// Nullptr when the container stays in the runtime's.
const Namespace* FindNamespace(const Linux& config, NamespaceType type);

// validate.cc: everything about a config that can be wrong by itself.
absl::Status ValidateContainer(const Spec& spec);

class ContainerCompiler {
 public:
  ContainerCompiler(const Spec& spec, const ContainerOptions& options, Plan& plan);

  absl::Status Compile();

 private:
  // compile_container.cc
  void Namespaces();
  void JoinFromBridge();
  void JoinForeign();
  void NewTime();
  int16_t OpenNamespace(const Namespace& space);
  void JoinFromChild();
  void Identity();
  void NetworkDevices();
  void RootMount();
  void SharedRootMount();
  void Hooks();
  void MissingPlaces();
  void FinishRoot();
  [[nodiscard]] bool HasEarlyHooks() const;
  absl::Status Sysctls();
  void HidePaths();
  void HookSteps(const std::vector<Hook>& hooks, const char* phase);

  // compile_mounts.cc
  absl::Status Mounts();
  absl::Status OneMount(Mount mount, const std::string& place);
  // The register of a user namespace with the maps of an id-mapped mount: its own, or else those of the
  // container.
  int16_t IdMapOf(const Mount& mount);
  absl::Status BindMount(const Mount& mount, const MountRequest& request, const char* what);
  void FileSystemMount(const Mount& mount, const MountRequest& request, const char* what);
  absl::Status CgroupMount(const Mount& mount, const MountRequest& request, const char* what);
  void CgroupV1Mount(const Mount& mount, const MountRequest& request, const char* what);
  void UnifiedMount(const std::string& destination, const MountRequest& request, const char* what);
  absl::Status CheckProcOverlap(const Mount& mount, const MountRequest& request) const;
  // Steps after a mount is attached: propagation and attributes of the whole tree.
  void AfterMount(int16_t mount, const MountRequest& request, const char* what);
  // A copy of the host's `path`, made where that is possible.
  int16_t CloneHost(const std::string& path, bool recursive, const char* what);
  // A target in the container and `mount` on it.
  void Attach(int16_t mount, const std::string& destination, bool directory, const char* what,
              uint64_t target_flags = 0);
  std::vector<MountOption> Options(const MountRequest& request);

  // compile_devices.cc
  absl::Status Devices();
  void OneDevice(const Device& device);

  // Where copies of the host's mounts are made.
  [[nodiscard]] std::vector<Step>& CloneList() {
    return user_namespace_ && options_.privileged ? plan_.outside : plan_.child;
  }

  const Spec& spec_;
  const Linux& config_;
  const ContainerOptions& options_;
  Plan& plan_;
  const bool user_namespace_;
  const bool shares_mounts_;                 // no mount namespace, or one that others are in
  std::map<NamespaceType, int16_t> joined_;  // registers of namespaces with a path
  bool dev_is_bound_ = false;
  bool root_at_path_ = false;     // until the hooks have run the root is where the bundle has it
  int16_t readonly_dev_ = kNone;  // the mount of /dev, to be made read only at the end
};

// compile_process.cc: as many processors as the cgroup allows, whatever the caller was bound to.
Step AllProcessors(Plan& plan);

// compile_process.cc: steps that both kinds of plan end with.
class ProcessCompiler {
 public:
  ProcessCompiler(const Process& process, const ProgramOptions& options, Plan& plan)
      : process_(process), options_(options), plan_(plan) {}

  void Keyring();
  void Stdio(bool exec);
  // Limits; `ready_list`: they are set from outside.
  void Limits(bool from_outside);
  absl::Status Attributes(const std::optional<Personality>& personality,
                          const std::optional<MemoryPolicy>& policy);
  // Labels, filter, identity, capabilities, up to the step before the program.
  absl::Status Security(const Seccomp* seccomp);
  void Start();

 private:
  absl::Status PlaceMemory(const MemoryPolicy& policy);
  absl::Status LoadSeccomp(const Seccomp& seccomp);
  void Labels();
  void User();

  const Process& process_;
  const ProgramOptions& options_;
  Plan& plan_;
  uint64_t execute_flags_ = 0;
};

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_PLAN_INTERNAL_CONTAINER_COMPILER_H_
