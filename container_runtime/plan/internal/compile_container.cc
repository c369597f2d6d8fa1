#include <fcntl.h>
#include <sched.h>

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "container_runtime/path/in_root.h"
#include "container_runtime/plan/internal/container_compiler.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

namespace keelson::container {
namespace {

constexpr uint64_t kRecursive = AT_RECURSIVE;
constexpr uint64_t kMsRec = 0x4000, kMsShared = 1 << 20, kMsPrivate = 1 << 18, kMsSlave = 1 << 19;
constexpr uint64_t kMsUnbindable = 1 << 17;
constexpr uint64_t kAttributeReadonly = 1;  // MOUNT_ATTR_RDONLY

Step RootPropagation(uint64_t propagation) {
  return {.op = Op::kPropagation,
          .what = "rootfsPropagation",
          .in = kRoot,
          .flags = (propagation & kMsRec) != 0 ? kRecursive : 0,
          .value = propagation & ~kMsRec};
}

}  // namespace

uint64_t CloneFlag(NamespaceType type) {
  switch (type) {
    case NamespaceType::kPid:
      return CLONE_NEWPID;
    case NamespaceType::kNetwork:
      return CLONE_NEWNET;
    case NamespaceType::kMount:
      return CLONE_NEWNS;
    case NamespaceType::kIpc:
      return CLONE_NEWIPC;
    case NamespaceType::kUts:
      return CLONE_NEWUTS;
    case NamespaceType::kUser:
      return CLONE_NEWUSER;
    case NamespaceType::kCgroup:
      return CLONE_NEWCGROUP;
    case NamespaceType::kTime:
      return CLONE_NEWTIME;
  }
  return 0;
}

// Where procfs shows which namespace of a type the process is in.
const char* ProcName(NamespaceType type) {
  switch (type) {
    case NamespaceType::kNetwork:
      return "thread-self/ns/net";
    case NamespaceType::kIpc:
      return "thread-self/ns/ipc";
    case NamespaceType::kUts:
      return "thread-self/ns/uts";
    case NamespaceType::kCgroup:
      return "thread-self/ns/cgroup";
    case NamespaceType::kTime:
      return "thread-self/ns/time";
    default:
      return nullptr;
  }
}

const Namespace* FindNamespace(const Linux& config, NamespaceType type) {
  for (const Namespace& space : config.namespaces) {
    if (space.type == type) return &space;
  }
  return nullptr;
}

bool SharesMounts(const Linux& config) {
  const Namespace* mount = FindNamespace(config, NamespaceType::kMount);
  return mount == nullptr || !mount->path.empty();
}

ContainerCompiler::ContainerCompiler(const Spec& spec, const ContainerOptions& options, Plan& plan)
    : spec_(spec),
      config_(spec.linux_),
      options_(options),
      plan_(plan),
      user_namespace_(FindNamespace(spec.linux_, NamespaceType::kUser) != nullptr),
      shares_mounts_(SharesMounts(spec.linux_)) {}

absl::Status ContainerCompiler::Compile() {
  ProcessCompiler process(*spec_.process, options_.program, plan_);
  Namespaces();
  process.Keyring();
  Identity();
  plan_.child.push_back({.op = Op::kUmask, .value = 0});
  RootMount();
  KEELSON_RETURN_IF_ERROR(Mounts());
  KEELSON_RETURN_IF_ERROR(Devices());
  MissingPlaces();
  Hooks();
  for (const std::string& path : options_.kernel_views) {
    if (shares_mounts_) break;  // They are the host's own.
    plan_.child.push_back({.op = Op::kDetach,
                           .what = "take the host's procfs and sysfs away",
                           .flags = user_namespace_ ? uint64_t{kIgnoreFailure} : 0,
                           .path = plan_.Text(path)});
  }
  plan_.child.push_back({.op = Op::kPivot,
                         .what = "pivot_root",
                         .flags = options_.no_pivot || shares_mounts_ ? uint64_t{kNoPivot} : 0});
  FinishRoot();
  process.Stdio(/*exec=*/false);
  KEELSON_RETURN_IF_ERROR(Sysctls());
  HidePaths();
  // Last, as the two before bind parts of the root.
  if (const auto propagation = ParsePropagation(config_.rootfs_propagation);
      propagation.has_value() && (*propagation & kMsUnbindable) != 0) {
    plan_.child.push_back(RootPropagation(*propagation));
  }
  process.Limits(user_namespace_);
  KEELSON_RETURN_IF_ERROR(process.Attributes(config_.personality, config_.memory_policy));
  const Seccomp* seccomp = config_.seccomp.has_value() ? &*config_.seccomp : nullptr;
  KEELSON_RETURN_IF_ERROR(process.Security(seccomp));
  plan_.child.push_back({.op = Op::kSync, .value = static_cast<uint64_t>(SyncPoint::kGo)});
  if (options_.program.wait_for_start) plan_.child.push_back({.op = Op::kWaitStart});
  HookSteps(spec_.hooks.start_container, "startContainer");
  if (options_.program.wait_for_start) {
    plan_.child.push_back({.op = Op::kSayStarted});
  } else if (!spec_.hooks.start_container.empty()) {
    plan_.child.push_back({.op = Op::kSync, .value = static_cast<uint64_t>(SyncPoint::kHooked)});
  }
  process.Start();
  return absl::OkStatus();
}

void ContainerCompiler::Namespaces() {
  const Namespace* user = FindNamespace(config_, NamespaceType::kUser);
  for (const Namespace& space : config_.namespaces) {
    const bool later = space.type == NamespaceType::kCgroup || space.type == NamespaceType::kTime;
    if (space.path.empty() && !later) plan_.clone_flags |= CloneFlag(space.type);
  }
  // The file system of message queues belongs to who makes the IPC namespace: the container's root.
  const bool ipc_later = user != nullptr && (plan_.clone_flags & CLONE_NEWIPC) != 0;
  if (ipc_later) plan_.clone_flags &= ~uint64_t{CLONE_NEWIPC};
  JoinFromBridge();
  if (user != nullptr && user->path.empty()) {
    plan_.child.push_back({.op = Op::kSync, .value = static_cast<uint64_t>(SyncPoint::kMapIds)});
  }
  NewTime();
  if (user != nullptr) {
    plan_.child.push_back({.op = Op::kBecomeRoot,
                           .what = "become root of the user namespace",
                           .flags = options_.program.deny_setgroups ? 1U : 0U});
  }
  if (ipc_later) {
    plan_.child.push_back({.op = Op::kUnshare, .what = "IPC namespace", .flags = CLONE_NEWIPC});
  }
  if (options_.program.cgroup_by_call) {
    plan_.child.push_back({.op = Op::kSync, .value = static_cast<uint64_t>(SyncPoint::kCgroup)});
  } else if (plan_.bridge.empty()) {
    plan_.child.push_back({.op = Op::kAttachCgroup, .what = "join the container's cgroup"});
  }
  // The caller's processors are not the container's, which has those of its cpuset.
  plan_.child.push_back(AllProcessors(plan_));
  JoinFromChild();
  plan_.child.push_back({.op = Op::kNotDumpable});
}

int16_t ContainerCompiler::OpenNamespace(const Namespace& space) {
  const auto [entry, added] = joined_.emplace(space.type, kNone);
  if (!added) return entry->second;
  entry->second = plan_.NewRegister();
  plan_.outside.push_back({.op = Op::kOpenPath,
                           .what = plan_.Text(absl::StrCat("join namespace '", space.path, "'")),
                           .out = entry->second,
                           .flags = O_RDONLY,
                           .path = plan_.Text(space.path)});
  return entry->second;
}

// Namespaces that belong to ours, or to another user namespace than the container's, can be joined by
// who is not in that yet. The others are joined by the child.
void ContainerCompiler::JoinForeign() {
  if (FindNamespace(config_, NamespaceType::kUser) == nullptr) return;
  for (const Namespace& space : config_.namespaces) {
    const bool in_bridge = space.type == NamespaceType::kUser || space.type == NamespaceType::kPid;
    if (space.path.empty() || in_bridge || space.type == NamespaceType::kMount) continue;
    if (plan_.bridge.empty() && !options_.program.cgroup_by_call) {
      plan_.bridge.push_back({.op = Op::kAttachCgroup, .what = "join the container's cgroup"});
    }
    plan_.bridge.push_back({.op = Op::kSetNs,
                            .in = OpenNamespace(space),
                            .flags = CloneFlag(space.type) | kIgnoreFailure});
  }
}

// Only a process that is not yet born can get into these.
void ContainerCompiler::JoinFromBridge() {
  JoinForeign();
  for (const NamespaceType type : {NamespaceType::kUser, NamespaceType::kPid}) {
    const Namespace* space = FindNamespace(config_, type);
    if (space == nullptr || space->path.empty()) continue;
    if (plan_.bridge.empty() && !options_.program.cgroup_by_call) {
      plan_.bridge.push_back({.op = Op::kAttachCgroup, .what = "join the container's cgroup"});
    }
    plan_.bridge.push_back({.op = Op::kSetNs,
                            .what = plan_.Text(absl::StrCat("join namespace '", space->path, "'")),
                            .in = OpenNamespace(*space),
                            .flags = CloneFlag(type)});
  }
}

void ContainerCompiler::JoinFromChild() {
  for (const Namespace& space : config_.namespaces) {
    const bool in_bridge = space.type == NamespaceType::kUser || space.type == NamespaceType::kPid;
    if (space.path.empty() || in_bridge) continue;
    plan_.child.push_back({.op = Op::kSetNs,
                           .what = plan_.Text(absl::StrCat("join namespace '", space.path, "'")),
                           .in = OpenNamespace(space),
                           .flags = CloneFlag(space.type),
                           .path = ProcName(space.type)});
  }
  const Namespace* cgroup = FindNamespace(config_, NamespaceType::kCgroup);
  if (cgroup != nullptr && cgroup->path.empty()) {
    plan_.child.push_back(
        {.op = Op::kUnshare, .what = "cgroup namespace", .flags = CLONE_NEWCGROUP});
  }
}

// Before the container's root is become: procfs gives the file of offsets to the host's.
void ContainerCompiler::NewTime() {
  const Namespace* time = FindNamespace(config_, NamespaceType::kTime);
  if (time != nullptr && time->path.empty()) {
    std::string lines;
    for (const auto& [clock, offset] : config_.time_offsets) {
      absl::StrAppend(&lines, clock, " ", offset.secs, " ", offset.nanosecs, "\n");
    }
    plan_.child.push_back(
        {.op = Op::kTimeOffsets, .what = "time namespace", .text = plan_.Text(lines)});
  }
}

void ContainerCompiler::Identity() {
  plan_.child.push_back({.op = Op::kNewSession});
  if (!spec_.hostname.empty()) {
    plan_.child.push_back(
        {.op = Op::kSetHostname, .what = "hostname", .text = plan_.Text(spec_.hostname)});
  }
  if (!spec_.domainname.empty()) {
    plan_.child.push_back(
        {.op = Op::kSetDomainname, .what = "domainname", .text = plan_.Text(spec_.domainname)});
  }
  const Namespace* network = FindNamespace(config_, NamespaceType::kNetwork);
  if (network != nullptr && network->path.empty()) {
    plan_.child.push_back({.op = Op::kLoopbackUp, .what = "loopback interface"});
  }
  NetworkDevices();
}

// Looked up before anything is made, so that a name which is wrong changes nothing.
void ContainerCompiler::NetworkDevices() {
  if (config_.net_devices.empty()) return;
  std::vector<Step> set_up;
  for (const auto& [host_name, device] : config_.net_devices) {
    const char* what = plan_.Text(absl::StrCat("linux.netDevices '", host_name, "'"));
    const char* name = plan_.Text(device.name.empty() ? host_name : device.name);
    const DeviceCall call = {
        .host_name = plan_.Text(host_name),
        .name = name,
        .record = const_cast<DeviceRecord*>(plan_.Array(std::vector<DeviceRecord>(1)))};
    const void* data = plan_.Array(std::vector<DeviceCall>{call});
    const auto step = [&](Op op) {
      return Step{.op = op, .what = what, .text = name, .data = data, .count = 1};
    };
    plan_.outside.push_back(step(Op::kReadDevice));
    plan_.child.push_back(step(Op::kCheckDevice));
    plan_.network.push_back(step(Op::kMoveDevice));
    set_up.push_back(step(Op::kSetUpDevice));
  }
  plan_.child.push_back({.op = Op::kSync, .value = static_cast<uint64_t>(SyncPoint::kNetwork)});
  plan_.child.insert(plan_.child.end(), set_up.begin(), set_up.end());
}

// The root goes on top of "/": nothing of the host's tree has to be found again, and pivot_root (or
// chroot) only takes away what is below. Hooks look for it where the bundle has it, so with those that
// run before pivot_root it is there first.
void ContainerCompiler::RootMount() {
  if (shares_mounts_) return SharedRootMount();
  uint64_t propagation = ParsePropagation(config_.rootfs_propagation).value_or(kMsSlave | kMsRec);
  // An unbindable tree could not be cloned below; FinishRoot makes the root what it should be.
  if ((propagation & kMsUnbindable) != 0) propagation ^= kMsUnbindable | kMsPrivate;
  plan_.child.push_back(
      {.op = Op::kOpenPath, .out = kOldRoot, .flags = O_PATH | O_DIRECTORY, .path = "/"});
  plan_.child.push_back({.op = Op::kPropagation,
                         .what = "rootfsPropagation",
                         .in = kOldRoot,
                         .flags = (propagation & kMsRec) != 0 ? kRecursive : 0,
                         .value = propagation & ~kMsRec});
  // On a shared "/" the container's root would appear in the host as well.
  if ((propagation & kMsShared) != 0) {
    plan_.child.push_back({.op = Op::kPropagation, .in = kOldRoot, .value = kMsPrivate});
  }
  const char* what = plan_.Text(absl::StrCat("rootfs '", options_.rootfs, "'"));
  std::vector<Step>& list = CloneList();
  list.push_back({.op = Op::kCloneTree,
                  .what = what,
                  .out = kRoot,
                  .flags = kRecursive,
                  .path = plan_.Text(options_.rootfs)});
  if (&list == &plan_.outside) {
    list.push_back({.op = Op::kPropagation,
                    .what = what,
                    .in = kRoot,
                    .flags = kRecursive,
                    .value = propagation & ~kMsRec});
  }
  root_at_path_ = HasEarlyHooks() && !user_namespace_ && (propagation & kMsShared) == 0;
  int16_t place = kOldRoot;
  if (root_at_path_) {
    place = plan_.NewRegister();
    plan_.child.push_back({.op = Op::kOpenPath,
                           .what = what,
                           .out = place,
                           .flags = O_PATH | O_DIRECTORY,
                           .path = plan_.Text(options_.rootfs)});
  }
  plan_.child.push_back({.op = Op::kMove, .what = what, .in = kRoot, .at = place});
}

// In a mount namespace that others use "/" stays as it is for them: the root goes where the bundle has it,
// all other mounts are made in it, and the process gets it by chroot. One unmount takes all away.
void ContainerCompiler::SharedRootMount() {
  const char* what = plan_.Text(absl::StrCat("rootfs '", options_.rootfs, "'"));
  const Step own = {
      .op = Op::kPropagation, .what = what, .in = kRoot, .flags = kRecursive, .value = kMsPrivate};
  const int16_t place = plan_.NewRegister();
  root_at_path_ = true;
  // Private before it is attached, as mounts would show where the copy was made from, and again after,
  // as a place that is shared makes it so.
  plan_.child.push_back({.op = Op::kCloneTree,
                         .what = what,
                         .out = kRoot,
                         .flags = kRecursive,
                         .path = plan_.Text(options_.rootfs)});
  plan_.child.push_back(own);
  plan_.child.push_back({.op = Op::kOpenPath,
                         .what = what,
                         .out = place,
                         .flags = O_PATH | O_DIRECTORY,
                         .path = plan_.Text(options_.rootfs)});
  plan_.child.push_back({.op = Op::kMove, .what = what, .in = kRoot, .at = place});
  plan_.child.push_back(own);
}

bool ContainerCompiler::HasEarlyHooks() const {
  const auto& hooks = spec_.hooks;
  return !hooks.prestart.empty() || !hooks.create_runtime.empty() ||
         !hooks.create_container.empty();
}

void ContainerCompiler::HookSteps(const std::vector<Hook>& hooks, const char* phase) {
  for (size_t i = 0; i < hooks.size(); ++i) {
    const Hook& hook = hooks[i];
    std::vector<std::string> argv = {hook.path};
    if (hook.args.empty()) argv.push_back(hook.path);
    argv.insert(argv.end(), hook.args.begin(), hook.args.end());
    const bool inside = std::string_view(phase) == "startContainer";
    const HookCall call = {
        .argv = plan_.Texts(argv),
        .envp = plan_.Texts(hook.env.empty() && inside ? spec_.process->env : hook.env),
        .state_head = plan_.Text(options_.state_head),
        .state_tail = plan_.Text(options_.state_tail),
        .timeout_ms = hook.timeout_s.has_value() ? *hook.timeout_s * 1000 : -1};
    plan_.child.push_back({.op = Op::kHook,
                           .what = plan_.Text(absl::StrCat("error running ", phase, " hook #", i,
                                                           ": '", hook.path, "'")),
                           .data = plan_.Array(std::vector<HookCall>{call}),
                           .count = 1});
  }
}

void ContainerCompiler::Hooks() {
  if (!spec_.hooks.prestart.empty() || !spec_.hooks.create_runtime.empty()) {
    plan_.child.push_back({.op = Op::kSync, .value = static_cast<uint64_t>(SyncPoint::kHooks)});
  }
  if (root_at_path_ && !spec_.hooks.create_container.empty()) {
    plan_.child.push_back({.op = Op::kChangeDirectory, .path = plan_.Text(options_.rootfs)});
  }
  HookSteps(spec_.hooks.create_container, "createContainer");
  if (root_at_path_ && !shares_mounts_) {
    plan_.child.push_back(
        {.op = Op::kMove, .what = "move the root onto /", .in = kRoot, .at = kOldRoot});
  }
}

// What is made while everything can still be written to: the working directory, as other runtimes make
// it (a failure shows when it is entered), and the place of the terminal.
void ContainerCompiler::MissingPlaces() {
  const std::string& cwd = spec_.process->cwd;
  if (cwd != "/") {
    const int16_t made = plan_.NewRegister();
    plan_.child.push_back({.op = Op::kTarget,
                           .what = "working directory",
                           .out = made,
                           .in = kRoot,
                           .flags = kIgnoreFailure,
                           .value = static_cast<uint64_t>(Make::kDirectory),
                           .path = plan_.Text(cwd)});
  }
  if (!spec_.process->terminal) return;
  const int16_t console = plan_.NewRegister();
  plan_.child.push_back({.op = Op::kTarget,
                         .what = "open /dev/console",
                         .out = console,
                         .in = kRoot,
                         .value = static_cast<uint64_t>(Make::kFile),
                         .path = "dev/console"});
}

void ContainerCompiler::FinishRoot() {
  if (const auto propagation = ParsePropagation(config_.rootfs_propagation);
      propagation.has_value() && (*propagation & kMsUnbindable) == 0) {
    plan_.child.push_back(RootPropagation(*propagation));
  }
  if (readonly_dev_ != kNone) {
    plan_.child.push_back({.op = Op::kSetAttributes,
                           .what = "read-only /dev",
                           .in = readonly_dev_,
                           .value = kAttributeReadonly});
  }
  if (spec_.root->readonly) {
    plan_.child.push_back({.op = Op::kSetAttributes,
                           .what = "read-only root",
                           .in = kRoot,
                           .value = kAttributeReadonly});
  }
}

absl::Status ContainerCompiler::Sysctls() {
  for (const auto& [name, value] : config_.sysctl) {
    KEELSON_ASSIGN_OR_RETURN(const std::string path, SysctlPath(name, config_));
    plan_.child.push_back({.op = Op::kWriteProc,
                           .what = plan_.Text(absl::StrCat("sysctl '", name, "'")),
                           .path = plan_.Text("sys/" + path),
                           .text = plan_.Text(value)});
  }
  return absl::OkStatus();
}

void ContainerCompiler::HidePaths() {
  for (const std::string& path : config_.readonly_paths) {
    plan_.child.push_back({.op = Op::kReadonly,
                           .what = plan_.Text(absl::StrCat("readonlyPaths '", path, "'")),
                           .path = plan_.Text(path)});
  }
  if (config_.masked_paths.empty()) return;
  std::set<std::string> seen;
  // One empty file system for all: hosts mask hundreds of directories.
  const auto* options = plan_.Array(std::vector<MountOption>{{"source", "tmpfs"}, {"ro", nullptr}});
  plan_.child.push_back({.op = Op::kNewMount,
                         .what = "maskedPaths",
                         .out = kEmptyMount,
                         .value = kAttributeReadonly,
                         .text = "tmpfs",
                         .options = options,
                         .count = 2});
  for (const std::string& path : config_.masked_paths) {
    if (!seen.insert(path).second) continue;
    plan_.child.push_back({.op = Op::kMask,
                           .what = plan_.Text(absl::StrCat("maskedPaths '", path, "'")),
                           .path = plan_.Text(path)});
  }
}

absl::StatusOr<Plan> CompileContainer(const Spec& spec, const ContainerOptions& options) {
  KEELSON_RETURN_IF_ERROR(ValidateContainer(spec));
  if (!spec.linux_.net_devices.empty() && !options.privileged) {
    return absl::FailedPreconditionError(
        "linux.netDevices: only the host's root can move its network devices");
  }
  Plan plan;
  ContainerCompiler compiler(spec, options, plan);
  KEELSON_RETURN_IF_ERROR(compiler.Compile());
  return plan;
}

}  // namespace keelson::container
