// Addresses as text, and listening sockets.
//
// The forms: "127.0.0.1:2379", "[::1]:2379", "localhost:0", ":2379" (every address of this
// machine) and "unix:/run/x.sock".
#ifndef KEELSON_BASE_NET_ADDRESS_H_
#define KEELSON_BASE_NET_ADDRESS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

struct sockaddr;

namespace keelson::net {

struct HostPort {
  std::string host;  // Without brackets; empty in ":2379".
  uint16_t port = 0;
};

// INVALID_ARGUMENT for what is not "host:port": no port, a port above 65535, an IPv6
// address without brackets, spaces.
absl::StatusOr<HostPort> ParseHostPort(std::string_view text);

// "host:port", with brackets where `host` holds a colon.
std::string JoinHostPort(std::string_view host, uint16_t port);

// The address in numbers: "127.0.0.1:80", "[::1]:80", "unix:/path", or "unix" for a socket without a name.
// `size` is the length that the system returned with it.
std::string AddressText(const sockaddr* address, unsigned size);

struct Listener {
  UniqueFd fd;          // Non-blocking, close-on-exec.
  std::string address;  // With the real port.
  uint16_t port = 0;    // 0 for a unix socket.
};

// Binds and listens. A host name is looked up (which may block) and its first address taken; an empty host
// is every address, of both families where the machine has IPv6. A socket file that nobody listens on
// any more is replaced.
//
// Errors:
//   INVALID_ARGUMENT  the text, or a host that has no address.
//   ALREADY_EXISTS    the address is in use.
//   any other         from the system, such as PERMISSION_DENIED for a low port.
absl::StatusOr<Listener> Listen(std::string_view address);

}  // namespace keelson::net

#endif  // KEELSON_BASE_NET_ADDRESS_H_
