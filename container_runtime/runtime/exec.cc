#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "container_runtime/plan/compiler.h"
#include "container_runtime/runtime/creation.h"
#include "container_runtime/runtime/process_id.h"
#include "container_runtime/runtime/shares.h"
#include "container_runtime/runtime/sockets.h"

namespace keelson::container {
namespace {

// "user:[4026531837]"; empty when there is none. The link's text costs the kernel less than the file
// behind it, which it would have to make.
std::string NamespaceText(const std::string& process, const char* name) {
  char text[64];
  const ssize_t size =
      ::readlink(absl::StrCat("/proc/", process, "/ns/", name).c_str(), text, sizeof(text));
  return size < 0 ? "" : std::string(text, static_cast<size_t>(size));
}

bool IsOurs(const char* name, pid_t pid) {
  const std::string ours = NamespaceText("self", name);
  const std::string theirs = NamespaceText(absl::StrCat(pid), name);
  return ours.empty() || theirs.empty() || ours == theirs;
}

// The namespaces that the config gives the container, and those in which it was made where they are
// not ours. Joining one's own user namespace is an error, so it is looked at in any case.
uint64_t NamespacesToJoin(const Linux& config, pid_t pid) {
  constexpr std::array<std::pair<const char*, NamespaceType>, 8> kNames = {
      {{"user", NamespaceType::kUser},
       {"mnt", NamespaceType::kMount},
       {"pid", NamespaceType::kPid},
       {"net", NamespaceType::kNetwork},
       {"ipc", NamespaceType::kIpc},
       {"uts", NamespaceType::kUts},
       {"cgroup", NamespaceType::kCgroup},
       {"time", NamespaceType::kTime}}};
  uint64_t join = 0;
  for (const auto& [name, type] : kNames) {
    const auto same_type = [wanted = type](const Namespace& space) { return space.type == wanted; };
    const bool given = type != NamespaceType::kUser &&
                       std::any_of(config.namespaces.begin(), config.namespaces.end(), same_type);
    if (given || !IsOurs(name, pid)) join |= CloneFlag(type);
  }
  return join;
}

absl::Status CheckConsole(const ExecRequest& request) {
  const bool socket = !request.console_socket.empty() || request.console_fd >= 0;
  if (request.process.terminal && !socket) {
    return absl::InvalidArgumentError(
        "cannot allocate tty if runc will detach without setting console socket");
  }
  if (!request.process.terminal && socket) {
    return absl::InvalidArgumentError(
        "cannot use console socket if runc will not detach or allocate tty");
  }
  return absl::OkStatus();
}

ExecOptions OptionsOf(const ExecRequest& request, const Container& container,
                      const Attachment& attachment) {
  const ContainerState& state = container.state;
  const Linux& config = container.spec.linux_;
  ExecOptions options;
  options.program = {.id = state.id,
                     .no_new_keyring = true,
                     .preserve_fds = request.preserve_fds,
                     .cgroup_by_call = attachment.by_call,
                     .deny_setgroups = false,
                     .has_attr_apparmor = !request.process.apparmor_profile.empty() &&
                                          ::access("/proc/self/attr/apparmor/exec", F_OK) == 0};
  options.program.plain_newlines = request.console_fd >= 0;
  options.join = NamespacesToJoin(config, state.pid);
  options.enter_root = SharesMounts(config);
  options.go_waits = SharesOf(container.spec, state).has_value() || !request.pidfd_socket.empty() ||
                     !request.pid_file.empty();
  options.seccomp = config.seccomp.has_value() ? &*config.seccomp : nullptr;
  options.personality = config.personality;
  options.memory_policy = config.memory_policy;
  return options;
}

}  // namespace

absl::StatusOr<Child> Runtime::Exec(const ExecRequest& request, const Container& container) {
  const ContainerState& state = container.state;
  const Spec& spec = container.spec;
  KEELSON_RETURN_IF_ERROR(CheckConsole(request));
  if (state.pid == 0) {
    return absl::FailedPreconditionError("cannot exec in a container that is being created");
  }
  const absl::StatusOr<UniqueFd> init = OpenProcess(state.pid, state.start_time);
  if (!init.ok()) return absl::FailedPreconditionError("cannot exec in a stopped container");
  KEELSON_ASSIGN_OR_RETURN(const auto cgroup, CgroupAsMade(state));
  if (!request.ignore_paused && IsFrozen(*cgroup)) {
    return absl::FailedPreconditionError(
        "cannot exec in a paused container (use --ignore-paused to override)");
  }
  SubCgroup sub = request.cgroup;
  sub.same_as = state.pid;
  KEELSON_ASSIGN_OR_RETURN(const Attachment attachment, cgroup->PrepareAttach(sub));
  const ExecOptions options = OptionsOf(request, container, attachment);
  Process process = request.process;
  const UniqueFd root(
      ::open(absl::StrCat("/proc/", state.pid, "/root").c_str(), O_PATH | O_CLOEXEC));
  FinishEnvironment(root.get(), process);
  KEELSON_ASSIGN_OR_RETURN(Plan plan, CompileExec(process, options));

  UniqueFd console;
  UniqueFd pidfd_socket;
  if (!request.console_socket.empty()) {
    KEELSON_ASSIGN_OR_RETURN(console, ConnectSocket(request.console_socket));
  }
  if (!request.pidfd_socket.empty()) {
    KEELSON_ASSIGN_OR_RETURN(pidfd_socket, ConnectSocket(request.pidfd_socket));
  }
  SpawnRequest spawn;
  spawn.registers = {{kProcess, init->get()},
                     {kRoot, root.get()},
                     {kConsole, request.console_fd >= 0 ? request.console_fd : console.get()}};
  spawn.clone_into = attachment.clone_into.get();
  for (const auto& file : attachment.tasks) spawn.cgroup_tasks.push_back(file.fd.get());
  spawn.reached = [&](SyncPoint point, const Child& child) -> absl::Status {
    if (point == SyncPoint::kCgroup) return cgroup->Attach(child.pid);
    if (point != SyncPoint::kGo) return absl::OkStatus();
    KEELSON_RETURN_IF_ERROR(JoinShares(spec, state, child.pid));
    if (pidfd_socket.ok()) {
      KEELSON_RETURN_IF_ERROR(SendFd(pidfd_socket.get(), child.pidfd.get(), "pidfd"));
    }
    if (request.pid_file.empty()) return absl::OkStatus();
    return ReplaceFile(request.pid_file, absl::StrCat(child.pid), 0644);
  };
  spawn.listener = [&](const Child& child, UniqueFd listener) -> absl::Status {
    KEELSON_ASSIGN_OR_RETURN(const UniqueFd socket,
                             ConnectSocket(spec.linux_.seccomp->listener_path));
    return SendFd(
        socket.get(), listener.get(),
        ListenerMessage(state.oci_version, child.pid, spec.linux_.seccomp->listener_metadata,
                        StateJson(state, ContainerStatus::kRunning, state.pid)));
  };
  return Spawn(plan, spawn);
}

}  // namespace keelson::container
