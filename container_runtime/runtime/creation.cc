#include "container_runtime/runtime/creation.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "container_runtime/plan/compiler.h"
#include "container_runtime/runtime/command.h"
#include "container_runtime/runtime/id_maps.h"
#include "container_runtime/runtime/notify_relay.h"
#include "container_runtime/runtime/process_id.h"
#include "container_runtime/runtime/shared_root.h"
#include "container_runtime/runtime/sockets.h"

namespace keelson::container {
namespace {

constexpr const char* kFifoName = "exec.fifo";
constexpr const char* kPidMark = "\"pid\":";

const Namespace* Find(const Spec& spec, NamespaceType type) {
  for (const Namespace& space : spec.linux_.namespaces) {
    if (space.type == type) return &space;
  }
  return nullptr;
}

absl::StatusOr<bool> IsDirectory(const std::string& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) == 0) return S_ISDIR(status.st_mode);
  return absl::Status(absl::ErrnoToStatusCode(errno),
                      absl::StrCat("mount source '", path, "': ", ErrnoText(errno)));
}

// Mount points of procfs and sysfs, deepest first.
absl::StatusOr<std::vector<std::string>> KernelViews() {
  KEELSON_ASSIGN_OR_RETURN(const std::string text, ReadHostFile("/proc/self/mountinfo"));
  std::vector<std::string> points;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    const std::vector<std::string> fields = absl::StrSplit(line, ' ');
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 6 || fields.end() - dash < 2) continue;
    if (dash[1] == "proc" || dash[1] == "sysfs") points.push_back(fields[4]);
  }
  std::reverse(points.begin(), points.end());
  return points;
}

bool Exists(const char* path) { return ::access(path, F_OK) == 0; }

}  // namespace

std::string NowText() {
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts = {};
  ::gmtime_r(&now.tv_sec, &parts);
  return absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d.%09dZ", parts.tm_year + 1900,
                         parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                         now.tv_nsec);
}

absl::Status Creation::CheckTerminal() const {
  const bool terminal = bundle_.spec.process.has_value() && bundle_.spec.process->terminal;
  const bool socket = !options_.console_socket.empty();
  if (terminal && !socket && options_.console_fd < 0) {
    return absl::InvalidArgumentError(
        "cannot allocate tty if runc will detach without setting console socket");
  }
  if (!terminal && socket) {
    return absl::InvalidArgumentError(
        "cannot use console socket if runc will not detach or allocate tty");
  }
  return absl::OkStatus();
}

// What a service manager gives its services: a socket for notices, and sockets that it listens on.
void Creation::AddServiceManager() {
  if (!bundle_.spec.process.has_value()) return;
  std::vector<std::string>& env = bundle_.spec.process->env;
  if (!options_.notify_socket.empty() && options_.notify_socket[0] == '/') {
    // A folder, so that `start` can bind a socket of its own in it; read only, so that nothing else
    // gets into it (that stops nobody from sending to the socket).
    bundle_.spec.mounts.push_back(
        {.destination = options_.notify_socket,
         .type = "bind",
         .source = absl::StrCat(store_.PathOf(options_.id), "/", kNotifyFolder),
         .options = {"bind", "ro", "nosuid", "noexec", "nodev"}});
    env.push_back(absl::StrCat("NOTIFY_SOCKET=", options_.notify_socket, "/", kNotifyFolder));
  }
  if (options_.listen_fds <= 0) return;
  env.push_back(absl::StrCat("LISTEN_FDS=", options_.listen_fds));
  env.emplace_back("LISTEN_PID=1");
  if (!options_.listen_names.empty()) {
    env.push_back(absl::StrCat("LISTEN_FDNAMES=", options_.listen_names));
  }
}

absl::Status Creation::Locate() {
  KEELSON_ASSIGN_OR_RETURN(host_, DetectHost());
  KEELSON_ASSIGN_OR_RETURN(
      state_.cgroup, LocateFor(host_, runtime_, options_.id, bundle_.spec.linux_.cgroups_path));
  for (const Hierarchy& h : host_.hierarchies) {
    if (state_.cgroup.paths.count(h.name) == 0) continue;
    state_.host.hierarchies.push_back({.name = h.name,
                                       .unified = h.unified,
                                       .controllers = h.controllers,
                                       .mount_point = h.mount_point});
  }
  return absl::OkStatus();
}

absl::StatusOr<Plan> Creation::Prepare() {
  KEELSON_RETURN_IF_ERROR(ValidateId(options_.id));
  KEELSON_ASSIGN_OR_RETURN(bundle_, LoadBundle(options_.bundle, options_.config));
  KEELSON_RETURN_IF_ERROR(Locate());
  AddServiceManager();
  const Spec& spec = bundle_.spec;
  const Namespace* pid = Find(spec, NamespaceType::kPid);
  state_.id = options_.id;
  state_.oci_version = spec.oci_version;
  state_.bundle = bundle_.path;
  state_.rootfs = bundle_.rootfs;
  state_.created = NowText();
  state_.owner = ::geteuid();
  state_.annotations = spec.annotations;
  state_.systemd_cgroup = runtime_.cgroup_driver == CgroupDriver::kSystemd;
  state_.own_pid_namespace = pid != nullptr && pid->path.empty();
  state_.rootless = runtime_.rootless;
  ContainerOptions compile;
  compile.program = {.id = options_.id,
                     .no_new_keyring = options_.no_new_keyring,
                     .preserve_fds = options_.preserve_fds + std::max(options_.listen_fds, 0),
                     .wait_for_start = wait_for_start_,
                     .cgroup_by_call = state_.systemd_cgroup,
                     .deny_setgroups = MustDenySetgroups(spec.linux_.gid_mappings),
                     .has_attr_apparmor = Exists("/proc/self/attr/apparmor/exec")};
  compile.program.plain_newlines = options_.console_fd >= 0;
  if (options_.no_pivot) {
    KEELSON_ASSIGN_OR_RETURN(compile.kernel_views, KernelViews());
  }
  compile.rootfs = bundle_.rootfs;
  if (Find(spec, NamespaceType::kMount) == nullptr) state_.mount_before = MountOf(bundle_.rootfs);
  compile.privileged = ::geteuid() == 0;
  compile.no_pivot = options_.no_pivot;
  compile.has_kcore = Exists("/proc/kcore");
  compile.host = &host_;
  compile.location = &state_.cgroup;
  const std::string notify = absl::StrCat(store_.PathOf(options_.id), "/", kNotifyFolder);
  compile.is_directory = [notify](const std::string& path) -> absl::StatusOr<bool> {
    if (path == notify) return true;  // Made later, when the id is ours.
    return IsDirectory(path);
  };
  const std::string json = Runtime::StateJson(state_, ContainerStatus::kCreating, 1);
  const size_t mark = json.find(kPidMark) + std::string_view(kPidMark).size();
  compile.state_head = json.substr(0, mark);
  compile.state_tail = json.substr(mark + 1);
  KEELSON_ASSIGN_OR_RETURN(Plan plan, CompileContainer(spec, compile));
  if (options_.warnings != nullptr) *options_.warnings = plan.warnings;
  return plan;
}

absl::StatusOr<Child> Creation::Make(Plan plan) {
  KEELSON_RETURN_IF_ERROR(CheckTerminal());
  KEELSON_RETURN_IF_ERROR(FindShares());
  KEELSON_RETURN_IF_ERROR(store_.Create(options_.id));
  absl::StatusOr<Child> child = MakeClaimed(plan);
  if (!child.ok()) Undo();
  return child;
}

// Noted before it is made, so that it is removed after a crash too.
absl::Status Creation::FindShares() {
  if (!bundle_.spec.linux_.intel_rdt.has_value()) return absl::OkStatus();
  KEELSON_ASSIGN_OR_RETURN(shares_, OpenShares(*bundle_.spec.linux_.intel_rdt, options_.id));
  KEELSON_ASSIGN_OR_RETURN(const bool missing, shares_->IsMissing());
  if (missing) state_.intel_rdt_path = options_.id;
  return absl::OkStatus();
}

absl::Status Creation::MakeShares() {
  if (!shares_.has_value()) return absl::OkStatus();
  KEELSON_ASSIGN_OR_RETURN(const bool made, shares_->Create());
  if (made || state_.intel_rdt_path.empty()) return absl::OkStatus();
  // Somebody was faster, and the folder is theirs.
  state_.intel_rdt_path.clear();
  return store_.Save(state_);
}

absl::Status Creation::OpenDescriptors() {
  if (wait_for_start_) {
    const std::string path = store_.PathOf(options_.id) + "/" + kFifoName;
    if (::mkfifo(path.c_str(), 0622) != 0) return ErrnoError(errno, "mkfifo '" + path + "'");
    (void)::chmod(path.c_str(), 0622);  // The umask must not stop the container's user.
    fifo_.Reset(::open(path.c_str(), O_PATH | O_CLOEXEC));
    if (!fifo_.ok()) return ErrnoError(errno, "open '" + path + "'");
  }
  if (!options_.notify_socket.empty()) {
    const std::string folder = absl::StrCat(store_.PathOf(options_.id), "/", kNotifyFolder);
    if (::mkdir(folder.c_str(), 0755) != 0) return ErrnoError(errno, "mkdir '" + folder + "'");
  }
  if (!options_.console_socket.empty()) {
    KEELSON_ASSIGN_OR_RETURN(console_, ConnectSocket(options_.console_socket));
  }
  if (!options_.pidfd_socket.empty()) {
    KEELSON_ASSIGN_OR_RETURN(pidfd_socket_, ConnectSocket(options_.pidfd_socket));
  }
  return absl::OkStatus();
}

absl::StatusOr<Child> Creation::MakeClaimed(Plan& plan) {
  // Whoever finds this after a crash knows from here on which cgroups to remove.
  KEELSON_RETURN_IF_ERROR(store_.Save(state_));
  KEELSON_RETURN_IF_ERROR(store_.WriteFile(options_.id, "config.json", bundle_.config_text));
  KEELSON_RETURN_IF_ERROR(OpenDescriptors());
  KEELSON_RETURN_IF_ERROR(MakeShares());
  const bool user_namespace = Find(bundle_.spec, NamespaceType::kUser) != nullptr;
  KEELSON_ASSIGN_OR_RETURN(cgroup_, NewManager(host_, state_, user_namespace));
  KEELSON_RETURN_IF_ERROR(cgroup_->Create());
  owns_cgroup_ = true;
  // Who switches cgroups off has no limits.
  if (runtime_.cgroup_driver != CgroupDriver::kDisabled) {
    KEELSON_RETURN_IF_ERROR(cgroup_->Apply(bundle_.spec.linux_.resources));
  }
  KEELSON_RETURN_IF_ERROR(DelegateCgroup());
  KEELSON_ASSIGN_OR_RETURN(const Attachment attachment, cgroup_->PrepareAttach({}));

  SpawnRequest request;
  const int console = options_.console_fd >= 0 ? options_.console_fd : console_.get();
  request.registers = {{Register::kFifo, fifo_.get()}, {Register::kConsole, console}};
  request.clone_into = attachment.clone_into.get();
  for (const auto& file : attachment.tasks) request.cgroup_tasks.push_back(file.fd.get());
  request.reached = [this](SyncPoint point, const Child& child) { return Reached(point, child); };
  request.listener = [this](const Child& child, UniqueFd fd) {
    return SendListener(child, std::move(fd));
  };
  return Spawn(plan, request);
}

// A container that owns its cgroup namespace and may write to its cgroup2 mount manages what is
// below by itself: the files become its root's.
absl::Status Creation::DelegateCgroup() {
  if (host_.mode() != HostMode::kUnified) return absl::OkStatus();
  const Namespace* space = Find(bundle_.spec, NamespaceType::kCgroup);
  if (space == nullptr || !space->path.empty() || !bundle_.spec.process.has_value()) {
    return absl::OkStatus();
  }
  for (const Mount& mount : bundle_.spec.mounts) {
    const bool read_only =
        std::find(mount.options.begin(), mount.options.end(), "ro") != mount.options.end();
    if (mount.destination != "/sys/fs/cgroup" || mount.type.rfind("cgroup", 0) != 0 || read_only) {
      continue;
    }
    const auto host_id = [](const std::vector<IdMapping>& map, uint32_t id) {
      for (const IdMapping& line : map) {
        if (id >= line.container_id && id - line.container_id < line.size) {
          return line.host_id + (id - line.container_id);
        }
      }
      return id;
    };
    return cgroup_->Delegate(
        host_id(bundle_.spec.linux_.uid_mappings, bundle_.spec.process->user.uid),
        host_id(bundle_.spec.linux_.gid_mappings, bundle_.spec.process->user.gid));
  }
  return absl::OkStatus();
}

absl::Status Creation::Reached(SyncPoint point, const Child& child) {
  const Spec& spec = bundle_.spec;
  switch (point) {
    case SyncPoint::kMapIds:
      return WriteIdMaps(child.pid, spec.linux_.uid_mappings, spec.linux_.gid_mappings,
                         MustDenySetgroups(spec.linux_.gid_mappings));
    case SyncPoint::kCgroup:
      return cgroup_->Attach(child.pid);
    case SyncPoint::kHooks: {
      const std::string json = Runtime::StateJson(state_, ContainerStatus::kCreating, child.pid);
      KEELSON_RETURN_IF_ERROR(RunHooks(spec.hooks.prestart, "prestart", json));
      return RunHooks(spec.hooks.create_runtime, "createRuntime", json);
    }
    case SyncPoint::kGo:
      return Finish(child);
    case SyncPoint::kReady:
    case SyncPoint::kNetwork:
    case SyncPoint::kHooked:
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status Creation::Finish(const Child& child) {
  KEELSON_ASSIGN_OR_RETURN(const ProcessInfo info, ReadProcessInfo(child.pid));
  state_.pid = child.pid;
  state_.start_time = info.start_time;
  state_.cgroup = cgroup_->location();
  if (SharesMounts(bundle_.spec.linux_)) {
    state_.root_mount = MountOf(absl::StrCat("/proc/", child.pid, "/root"));
  }
  KEELSON_RETURN_IF_ERROR(store_.Save(state_));
  if (shares_.has_value()) KEELSON_RETURN_IF_ERROR(shares_->Join(child.pid));
  if (pidfd_socket_.ok()) {
    KEELSON_RETURN_IF_ERROR(SendFd(pidfd_socket_.get(), child.pidfd.get(), "pidfd"));
  }
  if (options_.pid_file.empty()) return absl::OkStatus();
  return ReplaceFile(options_.pid_file, absl::StrCat(child.pid), 0644);
}

absl::Status Creation::SendListener(const Child& child, UniqueFd listener) {
  const Seccomp& seccomp = *bundle_.spec.linux_.seccomp;
  absl::StatusOr<UniqueFd> socket = ConnectSocket(seccomp.listener_path);
  if (!socket.ok()) return Annotate(socket.status(), "failed to connect with seccomp agent");
  const std::string state = Runtime::StateJson(state_, ContainerStatus::kCreating, child.pid);
  return SendFd(socket->get(), listener.get(),
                ListenerMessage(state_.oci_version, child.pid, seccomp.listener_metadata, state));
}

void Creation::Undo() {
  // Best effort: what is left is found by `delete --force` through the state file, which goes last.
  // A cgroup that was in use before is somebody else's.
  if (owns_cgroup_) {
    (void)cgroup_->Kill(absl::Seconds(10));
    if (!cgroup_->Destroy().ok()) return;
  }
  if (!RemoveSharedRoot(bundle_.spec, state_).ok()) return;
  if (shares_.has_value() && !shares_->Remove(!state_.intel_rdt_path.empty()).ok()) return;
  (void)store_.Remove(options_.id);
}

}  // namespace keelson::container
