#include "container_runtime/runtime/foreground.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/status.h"

namespace keelson::container {
namespace {

constexpr size_t kChunkBytes = 16384;

// Our own terminal in raw mode; put back at the end.
class RawTerminal {
 public:
  RawTerminal() {
    if (::tcgetattr(0, &saved_) != 0) return;
    termios raw = saved_;
    ::cfmakeraw(&raw);
    raw.c_oflag |=
        OPOST;  // Here lines get their carriage returns, not in the container (step.h, kPlainNewlines).
    changed_ = ::tcsetattr(0, TCSANOW, &raw) == 0;
  }
  ~RawTerminal() {
    if (changed_) (void)::tcsetattr(0, TCSANOW, &saved_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios saved_ = {};
  bool changed_ = false;
};

// False at the end of the stream.
bool Copy(int from, int to) {
  char buffer[kChunkBytes];
  const ssize_t size = ::read(from, buffer, sizeof(buffer));
  if (size < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (size <= 0) return false;  // EIO: the terminal's last user is gone.
  for (ssize_t done = 0; done < size;) {
    const ssize_t written = ::write(to, buffer + done, static_cast<size_t>(size - done));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    done += written;
  }
  return true;
}

void CopySize(int master) {
  winsize size = {};
  if (::ioctl(0, TIOCGWINSZ, &size) == 0) (void)::ioctl(master, TIOCSWINSZ, &size);
}

int ExitOf(const siginfo_t& info) {
  return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

}  // namespace

Foreground::Foreground() {
  sigset_t all;
  ::sigfillset(&all);
  // Faults are ours; SIGURG is a Go runtime's own business; job control stays as it is.
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGURG,
                           SIGTTIN, SIGTTOU, SIGPIPE}) {
    ::sigdelset(&all, signal);
  }
  (void)::sigprocmask(SIG_BLOCK, &all, nullptr);
  signals_.Reset(::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
}

Foreground::~Foreground() = default;

void Foreground::BecomeSubreaper() { (void)::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

absl::StatusOr<int> Foreground::TakeSignal(const Child& child, int master, bool* ended) {
  signalfd_siginfo info = {};
  while (::read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    const auto signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGWINCH && master >= 0) {
      CopySize(master);
    } else if (signal != SIGCHLD) {
      (void)::syscall(SYS_pidfd_send_signal, child.pidfd.get(), signal, nullptr, 0);
    }
    while (signal == SIGCHLD) {
      siginfo_t child_info = {};
      if (::waitid(P_ALL, 0, &child_info, WEXITED | WNOHANG) != 0 || child_info.si_pid == 0) break;
      if (child_info.si_pid != child.pid) continue;
      *ended = true;
      return ExitOf(child_info);
    }
  }
  return 0;
}

absl::StatusOr<int> Foreground::Await(const Child& child, UniqueFd master, int watch,
                                      const std::function<void()>& watched) {
  std::unique_ptr<RawTerminal> raw;
  if (master.ok()) {
    raw = std::make_unique<RawTerminal>();
    CopySize(master.get());
  }
  bool input = master.ok();
  bool output = master.ok();
  while (true) {
    bool ended = false;
    KEELSON_ASSIGN_OR_RETURN(const int status, TakeSignal(child, master.get(), &ended));
    if (ended) {
      // What the program wrote last is still in the terminal.
      while (output) {
        pollfd rest = {.fd = master.get(), .events = POLLIN, .revents = 0};
        output = ::poll(&rest, 1, 0) > 0 && (rest.revents & POLLIN) != 0 && Copy(master.get(), 1);
      }
      return status;
    }
    pollfd events[4] = {{.fd = signals_.get(), .events = POLLIN, .revents = 0},
                        {.fd = output ? master.get() : -1, .events = POLLIN, .revents = 0},
                        {.fd = input ? 0 : -1, .events = POLLIN, .revents = 0},
                        {.fd = watch, .events = POLLIN, .revents = 0}};
    if (::poll(events, 4, -1) < 0 && errno != EINTR) return ErrnoError(errno, "poll");
    if (events[1].revents != 0) output = Copy(master.get(), 1);
    if (events[2].revents != 0) input = Copy(0, master.get());
    if (events[3].revents != 0) watched();
  }
}

}  // namespace keelson::container
