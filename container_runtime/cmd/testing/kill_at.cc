// kill_at CALL PROGRAM [ARGUMENT...]: runs PROGRAM and kills it with SIGKILL when it enters its CALL-th
// system call (from 1, of its first process alone). Status 0: it was killed there; 3: it had ended
// before. A plan's steps are system calls, so every step and every state in between can be reached.
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace {

constexpr int kKilled = 0, kFailed = 2, kEnded = 3;

int Trace(pid_t pid, long call) {
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) return kFailed;
  (void)::ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  long stops = 0;
  int signal = 0;
  while (true) {
    if (::ptrace(PTRACE_SYSCALL, pid, nullptr, signal) != 0) return kFailed;
    if (::waitpid(pid, &status, 0) != pid) return kFailed;
    if (WIFEXITED(status) || WIFSIGNALED(status)) return kEnded;
    signal = WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
    // Every call stops twice; killed where it enters, the call is not made.
    if (signal != 0 || ++stops != 2 * call - 1) continue;
    (void)::kill(pid, SIGKILL);
    (void)::waitpid(pid, &status, 0);
    return kKilled;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    (void)std::fprintf(stderr, "usage: kill_at CALL PROGRAM [ARGUMENT...]\n");
    return kFailed;
  }
  const pid_t pid = ::fork();
  if (pid == 0) {
    (void)::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    (void)::execv(argv[2], argv + 2);
    ::_exit(127);
  }
  return pid < 0 ? kFailed : Trace(pid, std::strtol(argv[1], nullptr, 10));
}
