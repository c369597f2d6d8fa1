#include "container_runtime/runtime/notify_relay.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::container {
namespace {

constexpr size_t kMessageMax = 4096;

// Errors: INVALID_ARGUMENT where `path` does not fit.
absl::StatusOr<socklen_t> Address(const std::string& path, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("'", path, "' is no name of a socket"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  if (path[0] == '@') address.sun_path[0] = '\0';
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
}

absl::StatusOr<UniqueFd> NewSocket() {
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.ok()) return ErrnoError(errno, "socket");
  return socket;
}

absl::Status Send(const std::string& manager, std::string_view text) {
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd socket, NewSocket());
  sockaddr_un address;
  KEELSON_ASSIGN_OR_RETURN(const socklen_t size, Address(manager, address));
  if (::sendto(socket.get(), text.data(), text.size(), MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&address), size) < 0) {
    return ErrnoError(errno, absl::StrCat("notify '", manager, "'"));
  }
  return absl::OkStatus();
}

}  // namespace

bool SaysReady(std::string_view message) {
  while (!message.empty()) {
    const size_t end = std::min(message.find('\n'), message.size());
    if (message.substr(0, end) == "READY=1") return true;
    message.remove_prefix(std::min(end + 1, message.size()));
  }
  return false;
}

absl::StatusOr<NotifyRelay> NotifyRelay::Open(const std::string& folder, std::string manager) {
  const std::string path = absl::StrCat(folder, "/", kNotifyFolder);
  KEELSON_ASSIGN_OR_RETURN(UniqueFd socket, NewSocket());
  // Names of sockets are short, folders of states may be long.
  const UniqueFd at(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!at.ok()) return ErrnoError(errno, absl::StrCat("open '", folder, "'"));
  (void)::unlinkat(at.get(), kNotifyFolder, 0);  // Missing most often; else bind tells.
  sockaddr_un address;
  KEELSON_ASSIGN_OR_RETURN(
      const socklen_t size,
      Address(absl::StrCat("/proc/self/fd/", at.get(), "/", kNotifyFolder), address));
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    return ErrnoError(errno, absl::StrCat("bind '", path, "'"));
  }
  // The container's user is any user here.
  if (::fchmodat(at.get(), kNotifyFolder, 0777, 0) != 0) {
    return ErrnoError(errno, absl::StrCat("chmod '", path, "'"));
  }
  return NotifyRelay(std::move(socket), std::move(manager));
}

bool NotifyRelay::Take(pid_t main_pid) {
  bool ready = false;
  char message[kMessageMax];
  while (true) {
    const ssize_t size = ::recv(socket_.get(), message, sizeof(message), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) break;
    if (ready || !SaysReady({message, static_cast<size_t>(size)})) continue;
    (void)Send(manager_, absl::StrCat("READY=1\nMAINPID=", main_pid));
    ready = true;
  }
  return ready;
}

absl::Status NotifyRelay::AwaitReady(int pidfd, pid_t main_pid) {
  while (true) {
    pollfd events[2] = {{.fd = fd(), .events = POLLIN, .revents = 0},
                        {.fd = pidfd, .events = POLLIN, .revents = 0}};
    if (::poll(events, 2, -1) < 0 && errno != EINTR) return ErrnoError(errno, "poll");
    if (Take(main_pid) || (events[1].revents & POLLIN) != 0) return absl::OkStatus();
  }
}

}  // namespace keelson::container
