#include "base/net/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <memory>

#include "base/status.h"

namespace keelson::net {
namespace {

constexpr int kBacklog = 4096;  // The kernel lowers it to net.core.somaxconn.

absl::Status BadAddress(std::string_view text, std::string_view why) {
  return absl::InvalidArgumentError("address '" + std::string(text) + "': " + std::string(why));
}

absl::StatusOr<Listener> Bound(int family, const sockaddr* address, socklen_t size,
                               const std::string& text) {
  Listener listener;
  listener.fd.Reset(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int fd = listener.fd.get();
  if (fd < 0) return ErrnoError(errno, "socket for '" + text + "'");
  const int on = 1;
  const int off = 0;
  if (family != AF_UNIX) {
    (void)::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));  // Restart without a wait.
  }
  if (family == AF_INET6) {
    (void)::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));  // Else IPv6 only.
  }
  if (::bind(fd, address, size) != 0 || ::listen(fd, kBacklog) != 0) {
    const int error = errno;
    if (error == EADDRINUSE) return absl::AlreadyExistsError("address '" + text + "' is in use");
    return ErrnoError(error, "listen on '" + text + "'");
  }
  sockaddr_storage bound{};
  socklen_t bound_size = sizeof(bound);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &bound_size) != 0) {
    return ErrnoError(errno, "getsockname of '" + text + "'");
  }
  listener.address = AddressText(reinterpret_cast<sockaddr*>(&bound), bound_size);
  if (bound.ss_family == AF_INET) {
    listener.port = ntohs(reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  } else if (bound.ss_family == AF_INET6) {
    listener.port = ntohs(reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port);
  }
  return listener;
}

absl::StatusOr<Listener> ListenUnix(const std::string& path, const std::string& text) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return BadAddress(text, "a socket path has 1 to 107 bytes");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  // A file left by a process that died refuses connections; one that is served does not.
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(probe.get(), generic, sizeof(address)) != 0 && errno == ECONNREFUSED) {
    (void)::unlink(path.c_str());  // bind reports what is still there.
  }
  return Bound(AF_UNIX, generic, sizeof(address), text);
}

}  // namespace

absl::StatusOr<HostPort> ParseHostPort(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return BadAddress(text, "no port");
  const std::string_view port = text.substr(colon + 1);
  std::string_view host = text.substr(0, colon);
  HostPort result;
  const auto parsed = std::from_chars(port.data(), port.data() + port.size(), result.port);
  if (port.empty() || parsed.ec != std::errc() || parsed.ptr != port.data() + port.size()) {
    return BadAddress(text, "the port is not a number from 0 to 65535");
  }
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host.find_first_of("[]/@") != std::string_view::npos ||
      std::any_of(host.begin(), host.end(), [](char c) { return c <= ' ' || c == 0x7F; })) {
    return BadAddress(text, "not a host");
  }
  if (bracketed == (host.find(':') == std::string_view::npos)) {
    return BadAddress(text, "an IPv6 address, and only that, stands in brackets");
  }
  result.host = host;
  return result;
}

std::string JoinHostPort(std::string_view host, uint16_t port) {
  const bool brackets = host.find(':') != std::string_view::npos;
  return (brackets ? "[" : "") + std::string(host) + (brackets ? "]:" : ":") + std::to_string(port);
}

std::string AddressText(const sockaddr* address, unsigned size) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address->sa_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(address);
    if (::inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text)) == nullptr) return "unknown";
    return JoinHostPort(text, ntohs(in->sin_port));
  }
  if (address->sa_family == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(address);
    if (::inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text)) == nullptr) return "unknown";
    return JoinHostPort(text, ntohs(in6->sin6_port));
  }
  if (address->sa_family != AF_UNIX) return "unknown";
  const auto* un = reinterpret_cast<const sockaddr_un*>(address);
  const size_t length = size > offsetof(sockaddr_un, sun_path)
                            ? ::strnlen(un->sun_path, size - offsetof(sockaddr_un, sun_path))
                            : 0;
  return length == 0 ? "unix" : "unix:" + std::string(un->sun_path, length);
}

absl::StatusOr<Listener> Listen(std::string_view address) {
  const std::string text(address);
  if (text.starts_with("unix:")) return ListenUnix(text.substr(5), text);
  KEELSON_ASSIGN_OR_RETURN(const HostPort parsed, ParseHostPort(address));

  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(parsed.host.empty() ? nullptr : parsed.host.c_str(),
                                  std::to_string(parsed.port).c_str(), &hints, &found);
  if (error != 0) return BadAddress(text, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  const addrinfo* chosen = found;
  // For "every address" the IPv6 wildcard serves IPv4 as well.
  if (parsed.host.empty()) {
    for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
      if (each->ai_family == AF_INET6) chosen = each;
    }
  }
  absl::StatusOr<Listener> listener =
      Bound(chosen->ai_family, chosen->ai_addr, chosen->ai_addrlen, text);
  if (!listener.ok() && !absl::IsAlreadyExists(listener.status()) && parsed.host.empty() &&
      chosen != found) {
    return Bound(found->ai_family, found->ai_addr, found->ai_addrlen, text);  // No IPv6 here.
  }
  return listener;
}

}  // namespace keelson::net
