#include "container_runtime/runtime/spawn.h"
#include "container_runtime/runtime/failure.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "container_runtime/path/calls.h"
#include "container_runtime/path/kernel.h"
#include "container_runtime/plan/interpreter.h"
#include "container_runtime/runtime/id_maps.h"
#include "container_runtime/runtime/trampoline.h"

namespace keelson::container {
namespace {

// What the bridge process tells the one that made it; in memory that both see.
struct Shared {
  pid_t pid;
  int pidfd;
};

// A page for Shared, unmapped at the end.
class SharedPage {
 public:
  SharedPage()
      : page_(::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                     -1, 0)) {}
  ~SharedPage() {
    if (ok()) (void)::munmap(page_, sizeof(Shared));
  }
  SharedPage(const SharedPage&) = delete;
  SharedPage& operator=(const SharedPage&) = delete;
  [[nodiscard]] bool ok() const { return page_ != MAP_FAILED; }
  [[nodiscard]] volatile Shared* get() const { return static_cast<Shared*>(page_); }

 private:
  void* page_;
};

long Clone(uint64_t flags, int* pidfd, int clone_into) {
  clone_args args = {};
  args.flags = flags | CLONE_CLEAR_SIGHAND;
  args.exit_signal = (flags & CLONE_PARENT) != 0 ? 0 : SIGCHLD;
  if (pidfd != nullptr) {
    args.flags |= CLONE_PIDFD;
    args.pidfd = reinterpret_cast<uint64_t>(pidfd);
  }
  if (clone_into >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(clone_into);
  }
  return RealKernel().Call(SYS_clone3, calls::Pointer(&args), sizeof(args));
}

// While it lives, children of this thread are born in the PID namespace of another process, and not
// dumpable, as the container sees them from their first moment on (CVE-2016-9962).
class PidNamespaceOf {
 public:
  explicit PidNamespaceOf(int process) : process_(process) {}
  ~PidNamespaceOf() { (void)Leave(); }
  PidNamespaceOf(const PidNamespaceOf&) = delete;
  PidNamespaceOf& operator=(const PidNamespaceOf&) = delete;

  absl::Status Enter() {
    // The first thread's is that of the process, whose folder the kernel has at hand.
    const bool first = ::gettid() == ::getpid();
    home_.Reset(
        ::open(first ? "/proc/self/ns/pid_for_children" : "/proc/thread-self/ns/pid_for_children",
               O_RDONLY | O_CLOEXEC));
    if (!home_.ok()) return ErrnoError(errno, "open the PID namespace");
    dumpable_ = ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    if (dumpable_ == 1) (void)::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (::setns(process_, CLONE_NEWPID) == 0) return absl::OkStatus();
    return ErrnoError(errno, "join the container's namespaces: setns");
  }
  // False: this thread's children will be born in the wrong namespace.
  bool Leave() {
    if (!home_.ok()) return true;
    if (dumpable_ == 1) (void)::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    const bool left = ::setns(home_.get(), CLONE_NEWPID) == 0;
    home_.Reset();
    return left;
  }

 private:
  const int process_;
  // Two threads that note and restore the same setting would leave it wrong.
  static std::mutex mutex_;
  const std::lock_guard<std::mutex> lock_{mutex_};
  UniqueFd home_;
  int dumpable_ = 0;
};

std::mutex PidNamespaceOf::mutex_;

// Handlers were reset by the clone; what is ignored stays ignored, even past execve.
void ResetSignals(Kernel& kernel) {
  constexpr int kSignals = 64;
  const uint64_t none = 0;
  const uint64_t default_action[4] = {};
  for (int signal = 1; signal <= kSignals; ++signal) {
    (void)kernel.Call(SYS_rt_sigaction, signal, calls::Pointer(default_action), 0, sizeof(none));
  }
  (void)kernel.Call(SYS_rt_sigprocmask, SIG_SETMASK, calls::Pointer(&none), 0, sizeof(none));
}

// In the child: everything from here on is async-signal-safe.
[[noreturn]] void BecomeChild(Machine& machine, std::span<const Step> steps, int parents_end) {
  ResetSignals(machine.kernel);
  // The socket must end when the parent does, so nobody else may hold its end.
  (void)calls::Close(machine.kernel, parents_end);
  RunChild(machine, steps);
}

std::string Describe(const Step& step, std::string_view call, int error, std::string_view detail) {
  std::string text = step.what != nullptr ? step.what : std::string(OpName(step.op));
  if (!call.empty()) absl::StrAppend(&text, ": ", std::string(call));
  absl::StrAppend(&text, ": ", detail.empty() ? ErrnoText(error) : std::string(detail));
  return text;
}

absl::Status StepError(const Step& step, std::string_view call, int error,
                       std::string_view detail) {
  // Scripts look for these words (podman: exit codes 126 and 127).
  if (step.op == Op::kFindProgram && call == "stat") call = {};
  // The path of a new mount is that of what may take its place.
  const char* object = step.path != nullptr && step.op != Op::kNewMount ? step.path : step.what;
  return WithFailure(
      absl::Status(absl::ErrnoToStatusCode(error), Describe(step, call, error, detail)),
      {.phase = std::string(OpName(step.op)),
       .syscall = std::string(call),
       .error = error,
       .object = object == nullptr ? "" : object});
}

class Spawner {
 public:
  Spawner(Plan& plan, const SpawnRequest& request)
      : plan_(plan), request_(request), registers_(static_cast<size_t>(plan.registers), -1) {}
  ~Spawner() {
    // Copies that the plan opened here; those of the request belong to the caller.
    for (size_t i = 0; i < registers_.size(); ++i) {
      const bool lent = i == kProc || i == kSync || i == kTrampoline || IsLent(i);
      if (!lent && registers_[i] >= 0) (void)::close(registers_[i]);
    }
  }
  Spawner(const Spawner&) = delete;
  Spawner& operator=(const Spawner&) = delete;

  absl::StatusOr<Child> Run() {
    KEELSON_RETURN_IF_ERROR(Prepare());
    Machine machine = {.kernel = RealKernel(),
                       .registers = registers_.data(),
                       .cgroup_tasks = request_.cgroup_tasks};
    const Outcome outcome = RunSteps(machine, plan_.outside);
    if (outcome.index >= 0) {
      return StepError(plan_.outside[static_cast<size_t>(outcome.index)], machine.call,
                       outcome.error, machine.detail);
    }
    Child child;
    KEELSON_RETURN_IF_ERROR(plan_.bridge.empty() ? Direct(machine, child)
                                                 : ThroughBridge(machine, child));
    child_end_.Reset();
    const absl::Status status = Serve(machine, child);
    if (status.ok()) return child;
    Kill(child);
    return status;
  }

 private:
  [[nodiscard]] bool IsLent(size_t reg) const {
    for (const auto& [lent, fd] : request_.registers) {
      if (static_cast<size_t>(lent) == reg) return true;
    }
    return false;
  }

  absl::Status Prepare() {
    KEELSON_ASSIGN_OR_RETURN(proc_, OpenProc());
    KEELSON_ASSIGN_OR_RETURN(trampoline_, OpenTrampoline());
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
      return ErrnoError(errno, "socketpair");
    }
    our_end_.Reset(ends[0]);
    child_end_.Reset(ends[1]);
    registers_[kProc] = proc_.get();
    registers_[kTrampoline] = trampoline_.get();
    registers_[kSync] = child_end_.get();
    for (const auto& [reg, fd] : request_.registers) registers_[static_cast<size_t>(reg)] = fd;
    for (const Plan::IdMap& map : plan_.id_maps) {
      KEELSON_ASSIGN_OR_RETURN(UniqueFd space, MakeUserNamespace(map.uids, map.gids));
      registers_[static_cast<size_t>(map.out)] = space.Release();
    }
    return absl::OkStatus();
  }

  absl::Status Direct(Machine& machine, Child& child) {
    if (plan_.pid_namespace_of == kNone) return Born(machine, child);
    PidNamespaceOf foreign(registers_[static_cast<size_t>(plan_.pid_namespace_of)]);
    KEELSON_RETURN_IF_ERROR(foreign.Enter());
    KEELSON_RETURN_IF_ERROR(Born(machine, child));
    if (foreign.Leave()) return absl::OkStatus();
    Kill(child);
    return absl::InternalError("the caller's PID namespace could not be entered again");
  }

  absl::Status Born(Machine& machine, Child& child) {
    int pidfd = -1;
    const long pid = Clone(plan_.clone_flags, &pidfd, request_.clone_into);
    if (pid == 0) BecomeChild(machine, plan_.child, our_end_.get());
    if (pid < 0) return ErrnoError(static_cast<int>(-pid), "clone the container's process");
    child.pid = static_cast<pid_t>(pid);
    child.pidfd.Reset(pidfd);
    return absl::OkStatus();
  }

  // The bridge joins namespaces and makes the child as its sibling. It shares the table of
  // descriptors with us, so that the child's pidfd arrives here.
  absl::Status ThroughBridge(Machine& machine, Child& child) {
    const SharedPage shared;
    if (!shared.ok()) return ErrnoError(errno, "mmap");
    volatile Shared* result = shared.get();
    result->pidfd = -1;
    const long pid = Clone(CLONE_FILES, nullptr, request_.clone_into);
    if (pid == 0) BecomeBridge(machine, result);
    if (pid < 0) return ErrnoError(static_cast<int>(-pid), "clone");
    int status = 0;
    while (::waitpid(static_cast<pid_t>(pid), &status, 0) < 0 && errno == EINTR) {
    }
    if (result->pid > 0) {
      child.pid = result->pid;
      child.pidfd.Reset(result->pidfd);
      return absl::OkStatus();
    }
    Report report;
    if (::recv(our_end_.get(), &report, sizeof(report), MSG_DONTWAIT) != sizeof(report)) {
      return absl::InternalError(absl::StrCat("joining namespaces ended with status ", status));
    }
    if (report.value < 0) return ErrnoError(report.error, "clone the container's process");
    return StepError(plan_.bridge[static_cast<size_t>(report.value)], report.call, report.error,
                     report.detail);
  }

  [[noreturn]] void BecomeBridge(Machine& machine, volatile Shared* result) {
    ResetSignals(machine.kernel);
    const Outcome outcome = RunSteps(machine, plan_.bridge);
    if (outcome.index >= 0) {
      machine.registers[kSync] = child_end_.get();
      ReportFailure(machine, outcome);
    }
    int pidfd = -1;
    const long pid = Clone(plan_.clone_flags | CLONE_PARENT, &pidfd, -1);
    if (pid == 0) BecomeChild(machine, plan_.child, our_end_.get());
    if (pid < 0) ReportFailure(machine, {.index = -1, .error = static_cast<int>(-pid)});
    result->pidfd = pidfd;
    result->pid = static_cast<pid_t>(pid);
    while (true) (void)machine.kernel.Call(SYS_exit, 0);
  }

  // Answers the child until it may go.
  absl::Status Serve(Machine& machine, const Child& child) {
    machine.child = child.pid;
    while (true) {
      Report report;
      const ssize_t size = ::recv(our_end_.get(), &report, sizeof(report), 0);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) return ErrnoError(errno, "await the container's process");
      if (size == 0) {
        return absl::InternalError("the container's process ended while it was being set up");
      }
      if (report.kind == Report::kFailed) {
        return StepError(plan_.child[static_cast<size_t>(report.value)], report.call, report.error,
                         report.detail);
      }
      if (report.kind == Report::kSeccompListener) {
        KEELSON_RETURN_IF_ERROR(TakeListener(child, report.value));
      } else {
        KEELSON_RETURN_IF_ERROR(Reached(machine, static_cast<SyncPoint>(report.value), child));
      }
      const Step& last = LastSync();
      const bool done =
          report.kind == Report::kReached && report.value == static_cast<int32_t>(last.value);
      if (done && (last.flags & kNoAnswer) != 0) return absl::OkStatus();
      if (::send(our_end_.get(), "g", 1, MSG_NOSIGNAL) < 0) {
        return ErrnoError(errno, "answer the container's process");
      }
      if (done) return absl::OkStatus();
    }
  }

  // Every plan's child has one.
  [[nodiscard]] const Step& LastSync() const {
    const auto is_sync = [](const Step& step) { return step.op == Op::kSync; };
    return *std::find_if(plan_.child.rbegin(), plan_.child.rend(), is_sync);
  }

  absl::Status Reached(Machine& machine, SyncPoint point, const Child& child) {
    if (point != SyncPoint::kReady && point != SyncPoint::kNetwork) {
      return request_.reached(point, child);
    }
    const std::vector<Step>& list = point == SyncPoint::kReady ? plan_.ready : plan_.network;
    const Outcome outcome = RunSteps(machine, list);
    if (outcome.index < 0) return absl::OkStatus();
    return StepError(list[static_cast<size_t>(outcome.index)], machine.call, outcome.error,
                     machine.detail);
  }

  absl::Status TakeListener(const Child& child, int their_fd) {
    const long fd = RealKernel().Call(SYS_pidfd_getfd, child.pidfd.get(), their_fd, 0);
    if (fd < 0) return ErrnoError(static_cast<int>(-fd), "take the seccomp listener");
    if (request_.listener == nullptr) {
      (void)::close(static_cast<int>(fd));
      return absl::InvalidArgumentError("linux.seccomp.listenerPath: is missing");
    }
    return request_.listener(child, UniqueFd(static_cast<int>(fd)));
  }

  static void Kill(const Child& child) {
    (void)RealKernel().Call(SYS_pidfd_send_signal, child.pidfd.get(), SIGKILL, 0, 0);
    siginfo_t info = {};
    while (::waitid(P_PIDFD, static_cast<id_t>(child.pidfd.get()), &info, WEXITED) < 0 &&
           errno == EINTR) {
    }
  }

  Plan& plan_;
  const SpawnRequest& request_;
  std::vector<int> registers_;
  UniqueFd proc_, trampoline_, our_end_, child_end_;
};

}  // namespace

std::string ErrnoText(int error) {
  std::string text = std::strerror(error);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

absl::StatusOr<UniqueFd> OpenProc() {
  constexpr long kProcMagic = 0x9fa0;
  constexpr ino_t kProcRoot = 1;
  UniqueFd proc(::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc.ok()) return ErrnoError(errno, "open '/proc'");
  struct statfs fs = {};
  struct stat status = {};
  if (::fstatfs(proc.get(), &fs) != 0 || ::fstat(proc.get(), &status) != 0) {
    return ErrnoError(errno, "stat '/proc'");
  }
  if (fs.f_type != kProcMagic || status.st_ino != kProcRoot) {
    return absl::FailedPreconditionError("'/proc' is not the root of a procfs");
  }
  return proc;
}

absl::StatusOr<Child> Spawn(Plan& plan, const SpawnRequest& request) {
  return Spawner(plan, request).Run();
}

}  // namespace keelson::container
