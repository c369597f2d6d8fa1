// Makes plans: config.json to the list of steps that carries it out.
//
// Pure: what the machine is like comes in by options, and nothing is opened or made.
#ifndef KEELSON_CONTAINER_RUNTIME_PLAN_COMPILER_H_
#define KEELSON_CONTAINER_RUNTIME_PLAN_COMPILER_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "container_runtime/cgroup/cgroup_location.h"
#include "container_runtime/cgroup/host_layout.h"
#include "container_runtime/config/spec.h"
#include "container_runtime/plan/plan.h"

namespace keelson::container {

// What both kinds of plan depend on beside the config.
struct ProgramOptions {
  std::string id;
  bool no_new_keyring = false;
  int preserve_fds = 0;            // descriptors after the standard ones that the program keeps
  bool wait_for_start = false;     // the program waits for `start`
  bool cgroup_by_call = false;     // the child cannot move itself into its cgroup
  bool deny_setgroups = false;     // the user namespace allows no setgroups
  bool has_attr_apparmor = false;  // /proc/self/attr/apparmor is there
  bool plain_newlines = false;  // the terminal adds no carriage returns: its reader may be a file
};

struct ContainerOptions {
  ProgramOptions program;
  std::string rootfs;  // absolute, of the host
  // May copy mounts of its own namespace. Sources of binds are then copied before the container's
  // user namespace, which may have no access to them, is entered.
  bool privileged = true;
  bool no_pivot = false;
  // With no_pivot: mount points of the host's procfs and sysfs, deepest first. Below the container's
  // root they would stay visible to the kernel, which then lets a container mount whole ones.
  std::vector<std::string> kernel_views;
  bool has_kcore = true;             // /proc/kcore is there
  const HostLayout* host = nullptr;  // for cgroup mounts
  const CgroupLocation* location = nullptr;
  // Whether a bind's source is a directory, which decides what is made for its target.
  std::function<absl::StatusOr<bool>(const std::string& path)> is_directory;
  // The container's state, in JSON, before and after its pid: for hooks inside.
  std::string state_head, state_tail;
};

// Errors: INVALID_ARGUMENT, with the place in config.json, for what contradicts itself or what this
// runtime does not do.
absl::StatusOr<Plan> CompileContainer(const Spec& spec, const ContainerOptions& options);

struct ExecOptions {
  ProgramOptions program;
  // CLONE_NEW* of the namespaces of register kProcess that are to be joined.
  uint64_t join = 0;
  bool enter_root =
      false;  // register kRoot is the container's root, which its mount namespace does not give
  // Whether anything is done at SyncPoint::kGo. If not, the program does not wait for it.
  bool go_waits = true;
  const Seccomp* seccomp = nullptr;  // of the container's config; null: none
  std::optional<Personality> personality;
  std::optional<MemoryPolicy> memory_policy;
};

// A plan for one more process in a container. `outside` and `ready` are empty. The child is born in
// the PID namespace and joins the others itself; a user namespace is joined by `bridge`, with all.
absl::StatusOr<Plan> CompileExec(const Process& process, const ExecOptions& options);

// The CLONE_NEW* of a namespace.
uint64_t CloneFlag(NamespaceType type);

// Whether a container's mounts are made in a mount namespace that is not its own.
bool SharesMounts(const Linux& config);

// "net.ipv4.ip_forward", "net/ipv4/conf/eth0.100/forwarding" -> path below /proc/sys. Checks that the
// setting belongs to one of the container's own namespaces.
absl::StatusOr<std::string> SysctlPath(const std::string& name, const Linux& config);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_PLAN_COMPILER_H_
