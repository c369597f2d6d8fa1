#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "container_runtime/path/calls.h"
#include "container_runtime/plan/internal/steps.h"

namespace keelson::container::steps {
namespace {

constexpr unsigned kAllDescriptors = ~0U;
constexpr unsigned kCloseOnExec = 4;   // CLOSE_RANGE_CLOEXEC
constexpr unsigned kMemfdCloexec = 1;  // MFD_CLOEXEC

void ProcName(char* out, const char* folder, int fd) {
  const size_t size = std::strlen(folder);
  std::memcpy(out, folder, size);
  out += size;
  char digits[12];
  int count = 0;
  for (int n = fd; n > 0 || count == 0; n /= 10) digits[count++] = static_cast<char>('0' + n % 10);
  while (count > 0) *out++ = digits[--count];
  *out = '\0';
}

// 0 when `path` is a file this process may execute.
int CheckProgram(Machine& machine, const char* path) {
  Kernel& kernel = machine.kernel;
  const int fd = calls::Openat(kernel, AT_FDCWD, path, O_PATH | O_CLOEXEC);
  if (fd < 0) return fd;
  struct stat status = {};
  int result = calls::Fstat(kernel, fd, &status);
  if (result >= 0 && S_ISDIR(status.st_mode)) result = -EISDIR;
  (void)calls::Close(kernel, fd);
  if (result < 0) return result;
  // By the effective user and capabilities, as execve will look.
  const auto access = static_cast<int>(
      kernel.Call(SYS_faccessat2, AT_FDCWD, calls::Pointer(path), X_OK, AT_EACCESS));
  if (access != -ENOSYS && access != -EPERM) return access;
  return static_cast<int>(kernel.Call(SYS_faccessat, AT_FDCWD, calls::Pointer(path), X_OK));
}

int SearchPath(Machine& machine, const char* name, const char* path) {
  const size_t name_size = std::strlen(name);
  int denied = 0;
  while (true) {
    const size_t size = std::strcspn(path, ":");
    if (size + 1 + name_size + 1 <= sizeof(machine.program)) {
      char* out = machine.program;
      std::memcpy(out, path, size);
      out += size;
      if (size > 0) *out++ = '/';
      std::memcpy(out, name, name_size + 1);
      const int result = CheckProgram(machine, machine.program);
      if (result == 0) return 0;
      if (result == -EACCES) denied = result;
    }
    if (path[size] == '\0') break;
    path += size + 1;
  }
  if (denied != 0) return denied;
  SetDetail(machine, "executable file not found in $PATH");
  return -ENOENT;
}

// `output` takes what the hook says, for the error if it fails; -1: it has our streams.
[[noreturn]] void BecomeHook(Machine& machine, const HookCall& hook, int input, int output) {
  Kernel& kernel = machine.kernel;
  (void)kernel.Call(SYS_dup3, input, 0, 0);
  for (int fd = 1; fd <= 2 && output >= 0; ++fd) (void)kernel.Call(SYS_dup3, output, fd, 0);
  (void)kernel.Call(SYS_close_range, 3, kAllDescriptors, kCloseOnExec);
  (void)kernel.Call(SYS_execve, calls::Pointer(hook.argv[0]), calls::Pointer(hook.argv + 1),
                    calls::Pointer(hook.envp));
  while (true) (void)kernel.Call(SYS_exit_group, 127);
}

void WriteState(Machine& machine, const HookCall& hook, int fd) {
  Kernel& kernel = machine.kernel;
  char pid[16];
  ProcName(pid, "", static_cast<int>(kernel.Call(SYS_getpid)));
  for (const char* part : {hook.state_head, static_cast<const char*>(pid), hook.state_tail}) {
    if (calls::Write(kernel, fd, part, std::strlen(part)) < 0) return;
  }
}

// Adds `text` to the detail, as far as it fits.
void AddDetail(Machine& machine, std::string_view text) {
  const size_t used = std::strlen(machine.detail);
  const size_t size = std::min(text.size(), sizeof(machine.detail) - 1 - used);
  std::memcpy(machine.detail + used, text.data(), size);
  machine.detail[used + size] = '\0';
}

// How the hook ended and, at the end of a line that programs read, what it said.
void TellHook(Machine& machine, int status, int output) {
  if (WIFSIGNALED(status)) {
    // A table of constants; its words start with a capital letter.
    constexpr std::string_view kStart = "signal: ";
    const char* name = ::sigdescr_np(WTERMSIG(status));
    SetDetail(machine, kStart);
    AddDetail(machine, name == nullptr ? "unknown" : name);
    char& first = machine.detail[kStart.size()];
    if (first >= 'A' && first <= 'Z') first = static_cast<char>(first - 'A' + 'a');
  } else {
    char number[16];
    ProcName(number, "", WEXITSTATUS(status));
    SetDetail(machine, "exit status ");
    AddDetail(machine, number);
  }
  if (output < 0) return;
  AddDetail(machine, ", stdout and stderr: ");
  char said[256];
  const long end = machine.kernel.Call(SYS_lseek, output, 0, SEEK_END);
  const long start = std::max(0L, end - static_cast<long>(sizeof(said)));
  const long size =
      machine.kernel.Call(SYS_pread64, output, calls::Pointer(said), sizeof(said), start);
  if (size <= 0) return;
  std::string_view text(said, static_cast<size_t>(size));
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  AddDetail(machine, text);
}

int AwaitHook(Machine& machine, const HookCall& hook, int pid, int pidfd, int output) {
  Kernel& kernel = machine.kernel;
  pollfd event = {.fd = pidfd, .events = POLLIN, .revents = 0};
  timespec limit = {.tv_sec = hook.timeout_ms / 1000, .tv_nsec = 0};
  const long ended = kernel.Call(SYS_ppoll, calls::Pointer(&event), 1,
                                 hook.timeout_ms < 0 ? 0 : calls::Pointer(&limit), 0, 8);
  if (ended == 0) (void)kernel.Call(SYS_pidfd_send_signal, pidfd, SIGKILL, 0, 0);
  int status = 0;
  const long result = kernel.Call(SYS_wait4, pid, calls::Pointer(&status), 0, 0);
  if (ended == 0) {
    SetDetail(machine, "the hook did not end in time");
    return -ETIMEDOUT;
  }
  if (result < 0) return Named(machine, "wait4", result);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
  machine.call = "";
  TellHook(machine, status, output);
  return -ECHILD;
}

[[noreturn]] void EndBySignal(int signal) {
  while (true) (void)RealKernel().Call(SYS_exit_group, 128 + signal);
}

// The first process of a PID namespace gets no signal that it has no handler for, so a container that
// waits could not be ended by SIGTERM. execve puts the defaults back.
void ObeySignals(Kernel& kernel) {
  constexpr unsigned long kRestorer = 0x04000000;  // SA_RESTORER, which x86-64 insists on.
  struct {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(int);
    uint64_t mask;
  } action = {EndBySignal, kRestorer, EndBySignal, 0};
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM}) {
    (void)kernel.Call(SYS_rt_sigaction, signal, calls::Pointer(&action), 0, sizeof(action.mask));
  }
}

}  // namespace

int Sync(Machine& machine, const Step& step) {
  Report report;
  report.kind = Report::kReached;
  report.value = static_cast<int32_t>(step.value);
  const int fd = machine.registers[kSync];
  int result = Named(machine, "report", calls::Write(machine.kernel, fd, &report, sizeof(report)));
  if (result < 0) return result;
  if ((step.flags & kNoAnswer) != 0) return 0;
  char answer = 0;
  result = Named(machine, "await the runtime", calls::Read(machine.kernel, fd, &answer, 1));
  if (result < 0) return result;
  return result == 1 ? 0 : -EPIPE;  // The runtime is gone, and so is the reason to go on.
}

int InstallSeccomp(Machine& machine, const Step& step) {
  struct {
    uint16_t count;
    const void* filter;
  } program = {static_cast<uint16_t>(step.count), step.data};
  const long result = machine.kernel.Call(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                          static_cast<long>(step.flags), calls::Pointer(&program));
  if (result < 0) return Named(machine, "seccomp", result);
  if ((step.flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) == 0) return 0;
  Report report;
  report.kind = Report::kSeccompListener;
  report.value = static_cast<int32_t>(result);
  const int fd = machine.registers[kSync];
  int sent = Named(machine, "report", calls::Write(machine.kernel, fd, &report, sizeof(report)));
  char answer = 0;
  if (sent >= 0) sent = Named(machine, "read", calls::Read(machine.kernel, fd, &answer, 1));
  (void)calls::Close(machine.kernel, static_cast<int>(result));
  if (sent < 0) return sent;
  return sent == 1 ? 0 : -EPIPE;
}

int RunHook(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  const auto& hook = *static_cast<const HookCall*>(step.data);
  // A file and not a pipe: a hook that does not read then neither blocks nor kills us.
  const int input = Named(machine, "memfd_create",
                          kernel.Call(SYS_memfd_create, calls::Pointer("state"), kMemfdCloexec));
  if (input < 0) return input;
  WriteState(machine, hook, input);
  (void)kernel.Call(SYS_lseek, input, 0, SEEK_SET);
  const auto output =
      static_cast<int>(kernel.Call(SYS_memfd_create, calls::Pointer("hook"), kMemfdCloexec));
  const int pid = Named(machine, "clone", kernel.Call(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  if (pid == 0) BecomeHook(machine, hook, input, output);
  (void)calls::Close(kernel, input);
  if (pid < 0) {
    (void)calls::Close(kernel, output);
    return pid;
  }
  const auto pidfd = static_cast<int>(kernel.Call(SYS_pidfd_open, pid, 0));
  const int result = AwaitHook(machine, hook, pid, pidfd, output);
  (void)calls::Close(kernel, pidfd);
  if (output >= 0) (void)calls::Close(kernel, output);
  return result;
}

int FindProgram(Machine& machine, const Step& step) {
  const auto& call = *static_cast<const ProgramCall*>(step.data);
  const char* name = call.argv[2];
  const size_t size = std::strlen(name) + 1;
  int result = 0;
  if (std::strchr(name, '/') == nullptr) {
    result = SearchPath(machine, name, call.search_path);
  } else if (size > sizeof(machine.program)) {
    result = -ENAMETOOLONG;
  } else {
    std::memcpy(machine.program, name, size);
    result = CheckProgram(machine, name);
    if (result == -ENOENT) machine.call = "stat";
  }
  call.argv[1] = machine.program;
  return result;
}

int WaitStart(Machine& machine, const Step&) {
  Kernel& kernel = machine.kernel;
  ObeySignals(kernel);
  char name[48];
  ProcName(name, "thread-self/fd/", machine.registers[kFifo]);
  // Opening a pipe for writing waits for its reader, which is `start`.
  int fd = -EINTR;
  while (fd == -EINTR) {
    fd = Named(machine, "open exec fifo",
               calls::Openat(kernel, machine.registers[kProc], name, O_WRONLY | O_CLOEXEC));
  }
  if (fd < 0) return fd;
  (void)calls::Close(kernel, machine.registers[kFifo]);
  machine.registers[kFifo] = fd;
  machine.start_waits = true;
  return 0;
}

int SayStarted(Machine& machine, const Step&) {
  const int fd = machine.registers[kFifo];
  machine.start_waits = false;
  const int result = Named(machine, "write exec fifo", calls::Write(machine.kernel, fd, "0", 1));
  (void)calls::Close(machine.kernel, fd);
  return result < 0 ? result : 0;
}

void TellStart(Machine& machine, const Step& step) {
  if (!machine.start_waits) return;
  char text[PIPE_BUF] = "1";
  size_t size = 1;
  for (const char* part : {step.what == nullptr ? "start" : step.what, ": ", machine.call, ": ",
                           static_cast<const char*>(machine.detail)}) {
    const size_t more = std::min(std::strlen(part), sizeof(text) - size);
    std::copy_n(part, more, text + size);
    size += more;
  }
  (void)calls::Write(machine.kernel, machine.registers[kFifo], text, size);
}

// Other descriptors than those that are asked for and the few that the last steps need. A filter may
// deny what this takes, and a container that waits for `start` holds nothing of the host's.
int CloseUnneeded(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  int keep[] = {machine.registers[kSync], machine.registers[kProc], machine.registers[kTrampoline],
                machine.registers[kFifo]};
  constexpr int kCount = sizeof(keep) / sizeof(keep[0]);
  for (int i = 1; i < kCount; ++i) {
    for (int j = i; j > 0 && keep[j - 1] > keep[j]; --j) std::swap(keep[j - 1], keep[j]);
  }
  auto next = static_cast<long>(step.value);
  int result = 0;
  for (const int fd : keep) {
    if (fd < next) continue;
    if (fd > next) {
      result = Named(machine, "close_range", kernel.Call(SYS_close_range, next, fd - 1, 0));
    }
    if (result < 0) return result;
    next = long{fd} + 1;
  }
  result = Named(machine, "close_range", kernel.Call(SYS_close_range, next, kAllDescriptors, 0));
  if (result < 0) return result;
  return Named(
      machine, "close_range",
      kernel.Call(SYS_close_range, static_cast<long>(step.value), kAllDescriptors, kCloseOnExec));
}

int Execute(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  const auto& call = *static_cast<const ProgramCall*>(step.data);
  if ((step.flags & kDirect) != 0) {
    return Named(machine, "execve",
                 kernel.Call(SYS_execve, calls::Pointer(call.argv[1]),
                             calls::Pointer(call.argv + 2), calls::Pointer(call.envp)));
  }
  if ((step.flags & kByPath) != 0) {
    char name[48];
    ProcName(name, "/proc/self/fd/", machine.registers[kTrampoline]);
    return Named(machine, "execve",
                 kernel.Call(SYS_execve, calls::Pointer(name), calls::Pointer(call.argv),
                             calls::Pointer(call.envp)));
  }
  return Named(machine, "execveat",
               kernel.Call(SYS_execveat, machine.registers[kTrampoline], calls::Pointer(""),
                           calls::Pointer(call.argv), calls::Pointer(call.envp), AT_EMPTY_PATH));
}

}  // namespace keelson::container::steps
