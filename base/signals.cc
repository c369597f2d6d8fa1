#include "base/signals.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>

#include "base/check.h"
#include "base/clock.h"

namespace keelson {

SignalWaiter::SignalWaiter() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  KEELSON_CHECK(::pthread_sigmask(SIG_BLOCK, &signals, nullptr) == 0);
  (void)std::signal(SIGPIPE, SIG_IGN);  // Cannot fail for a valid signal.
  signal_fd_.Reset(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  KEELSON_CHECK(signal_fd_.ok()) << "signalfd errno=" << errno;
  wake_fd_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE));
  KEELSON_CHECK(wake_fd_.ok()) << "eventfd errno=" << errno;
}

std::optional<int> SignalWaiter::WaitFor(absl::Duration timeout) {
  const absl::Duration deadline = RealClock().Monotonic() + timeout;
  while (true) {
    pollfd fds[] = {{.fd = signal_fd_.get(), .events = POLLIN, .revents = 0},
                    {.fd = wake_fd_.get(), .events = POLLIN, .revents = 0}};
    timespec left{};
    if (timeout != absl::InfiniteDuration()) {
      left = absl::ToTimespec(std::max(deadline - RealClock().Monotonic(), absl::ZeroDuration()));
    }
    const int ready =
        ::ppoll(fds, 2, timeout == absl::InfiniteDuration() ? nullptr : &left, nullptr);
    if (ready == 0) return std::nullopt;
    KEELSON_CHECK(ready > 0 || errno == EINTR) << "ppoll errno=" << errno;
    signalfd_siginfo info{};
    if (::read(signal_fd_.get(), &info, sizeof(info)) == sizeof(info)) {
      return static_cast<int>(info.ssi_signo);
    }
    uint64_t count = 0;
    if (::read(wake_fd_.get(), &count, sizeof(count)) == sizeof(count)) return 0;
  }
}

int SignalWaiter::Wait() { return WaitFor(absl::InfiniteDuration()).value_or(0); }

void SignalWaiter::Wake() {
  const uint64_t one = 1;
  (void)!::write(wake_fd_.get(), &one, sizeof(one));  // Fails only when it would wake anyway.
}

}  // namespace keelson
