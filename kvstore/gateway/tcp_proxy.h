// A TCP proxy over several endpoints: `kvstored gateway start`, as `etcd gateway`. Clients connect to
// one address of their own machine and reach whichever member answers.
//
//   EventLoop loop("gateway");
//   KEELSON_ASSIGN_OR_RETURN(auto proxy, TcpProxy::Start(loop, {.listen = "127.0.0.1:23790",
//                                                               .endpoints = {"10.0.0.1:2379"}}));
//   ... proxy->address() ...
//
// A connection goes to the next endpoint in turn. One that cannot be reached is left out until it is
// tried again after `retry_delay`, or until none is left; a connection that is made is never moved.
// Bytes are passed on as they are, TLS included.
#ifndef KEELSON_KVSTORE_GATEWAY_TCP_PROXY_H_
#define KEELSON_KVSTORE_GATEWAY_TCP_PROXY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/event_loop.h"

namespace keelson::kvstore {

struct TcpProxyOptions {
  std::string listen;                  // forms as in base/net/address.h
  std::vector<std::string> endpoints;  // "host:port" or "unix:path"; at least one
  absl::Duration retry_delay = absl::Minutes(1);
  absl::Duration connect_timeout = absl::Seconds(5);
  // On the loop: an endpoint cannot be reached. May be null.
  std::function<void(const std::string& endpoint, const absl::Status& why)> on_unreachable = {};
};

class TcpProxy {
 public:
  // Listens and serves. Errors as of net::Listen; INVALID_ARGUMENT without endpoints.
  static absl::StatusOr<std::unique_ptr<TcpProxy>> Start(EventLoop& loop, TcpProxyOptions options);
  // Closes everything. Not on the loop.
  virtual ~TcpProxy() = default;

  // What is listened on, with the real port.
  [[nodiscard]] virtual const std::string& address() const = 0;

  struct Stats {
    uint64_t open = 0;  // connections, now
    uint64_t accepted_total = 0;
    uint64_t failed_total = 0;  // clients for whom no endpoint answered
  };
  [[nodiscard]] virtual Stats GetStats() const = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_GATEWAY_TCP_PROXY_H_
