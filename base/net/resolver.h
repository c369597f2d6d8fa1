// Turns "host:port" into addresses that a socket can connect to, without blocking.
#ifndef KEELSON_BASE_NET_RESOLVER_H_
#define KEELSON_BASE_NET_RESOLVER_H_

#include <sys/socket.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace keelson::net {

struct SocketAddress {
  sockaddr_storage bytes;
  socklen_t size;
};

// "10.0.0.1:80", "[::1]:80" and "unix:/path", which nobody has to be asked for. NOT_FOUND for
// a host name, INVALID_ARGUMENT for what is no address.
absl::StatusOr<SocketAddress> ParseSocketAddress(std::string_view text);

// Asks the system for host names, on a thread that starts with the first of them and looks one
// after the other up. Thread-safe.
class Resolver {
 public:
  // At least one address, or INVALID_ARGUMENT or UNAVAILABLE with the name.
  using Done = std::function<void(absl::StatusOr<std::vector<SocketAddress>>)>;

  Resolver();
  // What is being looked up is not waited for, and never told.
  ~Resolver();

  // `done` runs on the resolver's thread, or never.
  void Resolve(const std::string& address, Done done);

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

}  // namespace keelson::net

#endif  // KEELSON_BASE_NET_RESOLVER_H_
