#include "base/notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/strings/numbers.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace keelson {

absl::Status Notify(std::string_view state) {
  const char* variable = std::getenv("NOTIFY_SOCKET");
  if (variable == nullptr || *variable == '\0') return absl::OkStatus();
  const std::string name = variable;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if ((name[0] != '/' && name[0] != '@') || name.size() < 2 ||
      name.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError("NOTIFY_SOCKET '" + name + "' is not a socket address");
  }
  std::memcpy(address.sun_path, name.data(), name.size());
  if (name[0] == '@') address.sun_path[0] = '\0';  // The abstract namespace, unix(7).

  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.ok()) return ErrnoError(errno, "notify: socket");
  // An abstract name ends with the address's length, so no byte may be counted too many.
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  if (::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&address), size) < 0) {
    return ErrnoError(errno, "notify '" + name + "'");
  }
  return absl::OkStatus();
}

std::optional<absl::Duration> WatchdogInterval() {
  const char* usec = std::getenv("WATCHDOG_USEC");
  const char* pid = std::getenv("WATCHDOG_PID");
  uint64_t value = 0;
  if (usec == nullptr || !absl::SimpleAtoi(usec, &value) || value == 0) return std::nullopt;
  if (value > static_cast<uint64_t>(absl::ToInt64Microseconds(absl::Hours(24 * 365)))) {
    return std::nullopt;
  }
  if (pid != nullptr && pid != std::to_string(::getpid())) return std::nullopt;
  return absl::Microseconds(static_cast<int64_t>(value));
}

}  // namespace keelson
