#include "container_runtime/runtime/runtime.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "container_runtime/cgroup/host_layout.h"
#include "container_runtime/config/parser.h"
#include "container_runtime/runtime/command.h"
#include "container_runtime/runtime/creation.h"
#include "container_runtime/runtime/notify_relay.h"
#include "container_runtime/runtime/process_id.h"
#include "container_runtime/runtime/shared_root.h"

namespace keelson::container {
namespace {

constexpr const char* kFifoName = "exec.fifo";
constexpr absl::Duration kKillLimit = absl::Seconds(10);
constexpr absl::Duration kFreezeLimit = absl::Seconds(10);

absl::Status SendSignal(const UniqueFd& pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) == 0) {
    return absl::OkStatus();
  }
  return ErrnoError(errno, absl::StrCat("send signal ", signal));
}

}  // namespace

std::string StatusName(ContainerStatus status) {
  switch (status) {
    case ContainerStatus::kCreating:
      return "creating";
    case ContainerStatus::kCreated:
      return "created";
    case ContainerStatus::kRunning:
      return "running";
    case ContainerStatus::kPaused:
      return "paused";
    case ContainerStatus::kStopped:
      return "stopped";
  }
  return "unknown";
}

int AwaitExit(const Child& child) {
  siginfo_t info = {};
  while (::waitid(P_PIDFD, static_cast<id_t>(child.pidfd.get()), &info, WEXITED) < 0) {
    if (errno != EINTR) return 255;
  }
  return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

Runtime::Runtime(RuntimeOptions options) : options_(std::move(options)), store_(options_.root) {}
Runtime::~Runtime() = default;

absl::StatusOr<Plan> Runtime::MakePlan(const CreateOptions& options) {
  return Creation(options_, store_, options, /*wait_for_start=*/true).Prepare();
}

absl::StatusOr<Child> Runtime::Make(const CreateOptions& options, bool wait_for_start) {
  Creation creation(options_, store_, options, wait_for_start);
  KEELSON_ASSIGN_OR_RETURN(Plan plan, creation.Prepare());
  KEELSON_ASSIGN_OR_RETURN(Child child, creation.Make(std::move(plan)));
  if (wait_for_start || creation.spec().hooks.poststart.empty()) return child;
  const std::string json =
      StateJson(creation.state(), ContainerStatus::kRunning, creation.state().pid);
  const absl::Status status = RunHooks(creation.spec().hooks.poststart, "poststart", json);
  if (status.ok()) return child;
  (void)SendSignal(child.pidfd, SIGKILL);
  (void)AwaitExit(child);
  (void)Delete(options.id, /*force=*/true);
  return status;
}

absl::StatusOr<Child> Runtime::Create(const CreateOptions& options) {
  return Make(options, /*wait_for_start=*/true);
}

absl::StatusOr<Child> Runtime::Run(const CreateOptions& options) {
  return Make(options, /*wait_for_start=*/false);
}

absl::StatusOr<ContainerState> Runtime::Load(const std::string& id) const {
  return store_.Load(id);
}

absl::StatusOr<Spec> Runtime::LoadConfig(const std::string& id) const {
  KEELSON_ASSIGN_OR_RETURN(const std::string text, store_.ReadFile(id, "config.json"));
  return ParseSpec(text);
}

absl::StatusOr<Container> Runtime::Open(const std::string& id) const {
  KEELSON_ASSIGN_OR_RETURN(ContainerState state, store_.Load(id));
  KEELSON_ASSIGN_OR_RETURN(Spec spec, LoadConfig(id));
  return Container{.state = std::move(state), .spec = std::move(spec)};
}

absl::StatusOr<std::unique_ptr<CgroupManager>> Runtime::Cgroup(const ContainerState& state) {
  KEELSON_ASSIGN_OR_RETURN(const HostLayout host, DetectHost());
  return NewManager(host, state, state.rootless);
}

absl::StatusOr<std::unique_ptr<CgroupManager>> Runtime::CgroupAsMade(const ContainerState& state) {
  if (state.host.hierarchies.empty() || !IsMounted(state.host)) return Cgroup(state);
  return NewManager(state.host, state, state.rootless);
}

ContainerStatus Runtime::StatusOf(const ContainerState& state) {
  if (state.pid == 0) {
    // Made now, or a maker that died; the lock of nobody tells which, the age of nothing either.
    return ContainerStatus::kCreating;
  }
  if (!IsAlive(state.pid, state.start_time)) return ContainerStatus::kStopped;
  const absl::StatusOr<std::unique_ptr<CgroupManager>> cgroup = CgroupAsMade(state);
  if (cgroup.ok() && IsFrozen(**cgroup)) return ContainerStatus::kPaused;
  return store_.HasFile(state.id, kFifoName) ? ContainerStatus::kCreated
                                             : ContainerStatus::kRunning;
}

// Reads the byte that the container's process writes when it goes on; it may also be dead.
absl::Status Runtime::WaitForProgram(const std::string& id, const ContainerState& state) {
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd pidfd, OpenProcess(state.pid, state.start_time));
  const std::string path = store_.PathOf(id) + "/" + kFifoName;
  const UniqueFd fifo(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fifo.ok()) return ErrnoError(errno, absl::StrCat("open '", path, "'"));
  while (true) {
    pollfd events[2] = {{.fd = fifo.get(), .events = POLLIN, .revents = 0},
                        {.fd = pidfd.get(), .events = POLLIN, .revents = 0}};
    if (::poll(events, 2, -1) < 0 && errno != EINTR) return ErrnoError(errno, "poll");
    char text[PIPE_BUF];
    const ssize_t size =
        (events[0].revents & POLLIN) != 0 ? ::read(fifo.get(), text, sizeof(text)) : 0;
    if (size > 0 && text[0] == '0') break;
    if (size > 1) return absl::AbortedError(std::string(text + 1, static_cast<size_t>(size) - 1));
    if ((events[1].revents & POLLIN) != 0) {
      return absl::FailedPreconditionError("cannot start an already stopped container");
    }
  }
  return store_.RemoveFile(id, kFifoName);
}

std::string Runtime::NotifyFolderOf(const std::string& id) const {
  return absl::StrCat(store_.PathOf(id), "/", kNotifyFolder);
}

absl::Status Runtime::Start(const std::string& id, const std::string& notify_socket) {
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd lock, store_.Lock(id));
  KEELSON_ASSIGN_OR_RETURN(const ContainerState state, store_.Load(id));
  const ContainerStatus status = StatusOf(state);
  if (status == ContainerStatus::kStopped) {
    return absl::FailedPreconditionError("cannot start a container that has stopped");
  }
  if (status != ContainerStatus::kCreated) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot start a container in the ", StatusName(status), " state"));
  }
  std::optional<NotifyRelay> relay;
  if (!notify_socket.empty() && store_.HasFile(id, kNotifyFolder)) {
    KEELSON_ASSIGN_OR_RETURN(relay, NotifyRelay::Open(NotifyFolderOf(id), notify_socket));
  }
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd pidfd, OpenProcess(state.pid, state.start_time));
  KEELSON_RETURN_IF_ERROR(WaitForProgram(id, state));
  if (relay.has_value()) KEELSON_RETURN_IF_ERROR(relay->AwaitReady(pidfd.get(), state.pid));
  KEELSON_ASSIGN_OR_RETURN(const Spec spec, LoadConfig(id));
  if (spec.hooks.poststart.empty()) return absl::OkStatus();
  absl::Status hooks = RunHooks(spec.hooks.poststart, "poststart",
                                StateJson(state, ContainerStatus::kRunning, state.pid));
  if (!hooks.ok()) (void)DeleteLocked(id, state, /*force=*/true);
  return hooks;
}

absl::Status Runtime::Kill(const std::string& id, int signal, bool all) {
  KEELSON_ASSIGN_OR_RETURN(const ContainerState state, store_.Load(id));
  const bool every = all || (!state.own_pid_namespace && signal == SIGKILL);
  absl::StatusOr<UniqueFd> pidfd = OpenProcess(state.pid, state.start_time);
  if (!pidfd.ok() && !every) return absl::FailedPreconditionError("container not running");
  if (!every) return SendSignal(*pidfd, signal);
  KEELSON_ASSIGN_OR_RETURN(const auto cgroup, Cgroup(state));
  if (!pidfd.ok()) {
    KEELSON_ASSIGN_OR_RETURN(const std::vector<pid_t> pids, cgroup->Pids());
    // `kill --all` of what has ended is no error: engines send it to be sure.
    if (pids.empty()) {
      return all ? absl::OkStatus() : absl::FailedPreconditionError("container not running");
    }
  }
  return cgroup->Signal(signal);
}

absl::Status Runtime::DeleteLocked(const std::string& id, const ContainerState& state, bool force) {
  const ContainerStatus status = StatusOf(state);
  const bool alive = status == ContainerStatus::kRunning || status == ContainerStatus::kPaused;
  if (alive && !force) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot delete container ", id, " that is not stopped: ", StatusName(status)));
  }
  absl::StatusOr<std::unique_ptr<CgroupManager>> cgroup = Cgroup(state);
  if (const auto pidfd = OpenProcess(state.pid, state.start_time); pidfd.ok()) {
    KEELSON_RETURN_IF_ERROR(SendSignal(*pidfd, SIGKILL));
    // A frozen process takes the signal when it is thawed.
    if (cgroup.ok()) (void)(*cgroup)->Thaw();
    pollfd event = {.fd = pidfd->get(), .events = POLLIN, .revents = 0};
    if (::poll(&event, 1, static_cast<int>(absl::ToInt64Milliseconds(kKillLimit))) == 0) {
      return absl::DeadlineExceededError("the container's process did not end");
    }
  }
  KEELSON_RETURN_IF_ERROR(cgroup.status());
  if ((*cgroup)->Exists()) {
    KEELSON_RETURN_IF_ERROR((*cgroup)->Kill(kKillLimit));
    KEELSON_RETURN_IF_ERROR((*cgroup)->Destroy());
  }
  const absl::StatusOr<Spec> spec = LoadConfig(id);
  if (spec.ok()) {
    KEELSON_RETURN_IF_ERROR(RemoveSharedRoot(*spec, state));
    KEELSON_RETURN_IF_ERROR(RemoveShares(*spec, state));
  }
  KEELSON_RETURN_IF_ERROR(store_.Remove(id));
  if (!spec.ok()) return absl::OkStatus();
  // Failures of these are warnings by the specification, and the later ones still run.
  for (const Hook& hook : spec->hooks.poststop) {
    const absl::Status ran =
        RunHooks({hook}, "poststop", StateJson(state, ContainerStatus::kStopped, 0));
    if (!ran.ok() && options_.warn) options_.warn(std::string(ran.message()));
  }
  return absl::OkStatus();
}

absl::Status Runtime::Delete(const std::string& id, bool force) {
  KEELSON_RETURN_IF_ERROR(ValidateId(id));
  const absl::StatusOr<UniqueFd> lock = store_.Lock(id);
  if (absl::IsNotFound(lock.status()) && force) return absl::OkStatus();
  KEELSON_RETURN_IF_ERROR(lock.status());
  const absl::StatusOr<ContainerState> state = store_.Load(id);
  // A claim that was never filled in has made nothing yet.
  if (absl::IsNotFound(state.status())) return store_.Remove(id);
  KEELSON_RETURN_IF_ERROR(state.status());
  return DeleteLocked(id, *state, force);
}

absl::Status Runtime::Pause(const std::string& id) {
  KEELSON_ASSIGN_OR_RETURN(const ContainerState state, store_.Load(id));
  const ContainerStatus status = StatusOf(state);
  if (status != ContainerStatus::kRunning && status != ContainerStatus::kCreated) {
    return absl::FailedPreconditionError(
        absl::StrCat("container not running or created: ", StatusName(status)));
  }
  KEELSON_ASSIGN_OR_RETURN(const auto cgroup, Cgroup(state));
  return cgroup->Freeze(kFreezeLimit);
}

absl::Status Runtime::Resume(const std::string& id) {
  KEELSON_ASSIGN_OR_RETURN(const ContainerState state, store_.Load(id));
  if (StatusOf(state) != ContainerStatus::kPaused) {
    return absl::FailedPreconditionError("container not paused");
  }
  KEELSON_ASSIGN_OR_RETURN(const auto cgroup, Cgroup(state));
  return cgroup->Thaw();
}

absl::Status Runtime::Update(const std::string& id, const Resources& resources) {
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd lock, store_.Lock(id));
  KEELSON_ASSIGN_OR_RETURN(const ContainerState state, store_.Load(id));
  if (StatusOf(state) == ContainerStatus::kStopped) {
    return absl::FailedPreconditionError("container not running");
  }
  KEELSON_ASSIGN_OR_RETURN(const auto cgroup, Cgroup(state));
  return cgroup->Update(resources);
}

absl::Status Runtime::UpdateShares(const std::string& id,
                                   const std::vector<std::string>& schemata) {
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd lock, store_.Lock(id));
  KEELSON_ASSIGN_OR_RETURN(ContainerState state, store_.Load(id));
  if (StatusOf(state) == ContainerStatus::kStopped) {
    return absl::FailedPreconditionError("container not running");
  }
  KEELSON_ASSIGN_OR_RETURN(const Spec spec, LoadConfig(id));
  const std::optional<IntelRdt> config = SharesOf(spec, state);
  KEELSON_ASSIGN_OR_RETURN(ResctrlGroup group, OpenShares(config.value_or(IntelRdt{}), id));
  if (config.has_value()) return group.Update(schemata);
  state.intel_rdt_path = id;
  KEELSON_RETURN_IF_ERROR(store_.Save(state));
  KEELSON_RETURN_IF_ERROR(group.Create());
  KEELSON_RETURN_IF_ERROR(group.Update(schemata));
  KEELSON_ASSIGN_OR_RETURN(const auto cgroup, Cgroup(state));
  KEELSON_ASSIGN_OR_RETURN(const std::vector<pid_t> pids, cgroup->Pids());
  for (const pid_t pid : pids) KEELSON_RETURN_IF_ERROR(group.Join(pid));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<pid_t>> Runtime::Pids(const std::string& id) {
  KEELSON_ASSIGN_OR_RETURN(const ContainerState state, store_.Load(id));
  KEELSON_ASSIGN_OR_RETURN(const auto cgroup, Cgroup(state));
  return cgroup->Pids();
}

}  // namespace keelson::container
