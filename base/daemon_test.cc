// What every daemon does at its edges: exit codes, version, notification, signals.
#include <catch2/catch.hpp>

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/exit_code.h"
#include "base/notify.h"
#include "base/signals.h"
#include "base/testing/status_matchers.h"
#include "base/unique_fd.h"
#include "base/version.h"

namespace keelson {
namespace {

TEST_CASE("Exit codes follow the kind of error", "[daemon][exit_code]") {
  CHECK(ExitCodeFor(absl::OkStatus()) == ExitCode::kDone);
  CHECK(ExitCodeFor(absl::InvalidArgumentError("")) == ExitCode::kBadArguments);
  CHECK(ExitCodeFor(absl::PermissionDeniedError("")) == ExitCode::kNoPermission);
  CHECK(ExitCodeFor(absl::FailedPreconditionError("")) == ExitCode::kNotConfigured);
  CHECK(ExitCodeFor(absl::UnavailableError("")) == ExitCode::kFailed);
  CHECK(static_cast<int>(ExitCode::kNotConfigured) == 6);
}

TEST_CASE("The version line names the program, the version and the commit", "[daemon][version]") {
  CHECK(VersionLine("kvstored") ==
        "kvstored " + std::string(Version()) + " (commit " + std::string(Commit()) + ")");
  CHECK_FALSE(Version().empty());
  CHECK_FALSE(Commit().empty());
}

// A datagram socket bound to `name` ('@' first: abstract), as systemd's end.
UniqueFd Listener(const std::string& name) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(name.size() < sizeof(address.sun_path));
  std::memcpy(address.sun_path, name.data(), name.size());
  if (name[0] == '@') address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
  return fd;
}

TEST_CASE("A notification reaches the socket systemd names", "[daemon][notify]") {
  std::string name;
  SECTION("a path") {
    // Short enough for a socket address, whatever TEST_TMPDIR is.
    char folder[] = "/tmp/keelson_notify_XXXXXX";
    REQUIRE(::mkdtemp(folder) != nullptr);
    name = std::string(folder) + "/n";
  }
  SECTION("an abstract name") { name = "@keelson_notify_test_" + std::to_string(::getpid()); }
  const UniqueFd listener = Listener(name);
  REQUIRE(::setenv("NOTIFY_SOCKET", name.c_str(), 1) == 0);

  KEELSON_REQUIRE_OK(Notify("READY=1\nSTATUS=serving"));

  char buffer[64];
  const ssize_t size = ::recv(listener.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
  REQUIRE(size > 0);
  CHECK(std::string(buffer, static_cast<size_t>(size)) == "READY=1\nSTATUS=serving");
  REQUIRE(::unsetenv("NOTIFY_SOCKET") == 0);
  if (name[0] == '/') {
    CHECK(::unlink(name.c_str()) == 0);
    CHECK(::rmdir(name.substr(0, name.size() - 2).c_str()) == 0);
  }
}

TEST_CASE("Without a manager a notification does nothing", "[daemon][notify]") {
  REQUIRE(::unsetenv("NOTIFY_SOCKET") == 0);
  KEELSON_REQUIRE_OK(Notify("READY=1"));
}

TEST_CASE("A notification to nowhere is an error, not a crash", "[daemon][notify]") {
  REQUIRE(::setenv("NOTIFY_SOCKET", "relative", 1) == 0);
  KEELSON_CHECK_ERROR(Notify("READY=1"), absl::StatusCode::kInvalidArgument, "'relative'");
  REQUIRE(::setenv("NOTIFY_SOCKET", std::string(200, '/').c_str(), 1) == 0);
  KEELSON_CHECK_ERROR(Notify("READY=1"), absl::StatusCode::kInvalidArgument, "NOTIFY_SOCKET");
  REQUIRE(::setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1) == 0);
  CHECK_FALSE(Notify("READY=1").ok());
  REQUIRE(::unsetenv("NOTIFY_SOCKET") == 0);
}

TEST_CASE("The watchdog interval is ours only when the manager says so", "[daemon][notify]") {
  REQUIRE(::unsetenv("WATCHDOG_PID") == 0);
  REQUIRE(::unsetenv("WATCHDOG_USEC") == 0);
  CHECK_FALSE(WatchdogInterval().has_value());
  REQUIRE(::setenv("WATCHDOG_USEC", "30000000", 1) == 0);
  CHECK(WatchdogInterval() == absl::Seconds(30));
  REQUIRE(::setenv("WATCHDOG_PID", "1", 1) == 0);
  CHECK_FALSE(WatchdogInterval().has_value());
  REQUIRE(::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1) == 0);
  CHECK(WatchdogInterval() == absl::Seconds(30));
  for (const char* bad : {"0", "-1", "x", "18446744073709551615", ""}) {
    REQUIRE(::setenv("WATCHDOG_USEC", bad, 1) == 0);
    CHECK_FALSE(WatchdogInterval().has_value());
  }
  REQUIRE(::unsetenv("WATCHDOG_USEC") == 0);
  REQUIRE(::unsetenv("WATCHDOG_PID") == 0);
}

TEST_CASE("Signals to any thread reach the waiter, and a wake ends it", "[daemon][signals]") {
  SignalWaiter signals;
  std::thread other([] {
    sigset_t blocked;
    REQUIRE(::pthread_sigmask(SIG_BLOCK, nullptr, &blocked) == 0);
    REQUIRE(sigismember(&blocked, SIGTERM) == 1);
    REQUIRE(::kill(::getpid(), SIGHUP) == 0);
  });
  other.join();

  CHECK(signals.Wait() == SIGHUP);
  REQUIRE(::kill(::getpid(), SIGTERM) == 0);
  CHECK(signals.WaitFor(absl::Seconds(60)) == SIGTERM);
  CHECK_FALSE(signals.WaitFor(absl::ZeroDuration()).has_value());
  signals.Wake();
  CHECK(signals.Wait() == 0);
}

}  // namespace
}  // namespace keelson
