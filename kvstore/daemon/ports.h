// The listening sockets of a member: bound early, so that a taken port is known before
// anything is touched, and served when everything else runs.
#ifndef KEELSON_KVSTORE_DAEMON_PORTS_H_
#define KEELSON_KVSTORE_DAEMON_PORTS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/http/server.h"
#include "base/net/shared_port.h"
#include "kvstore/config/url.h"
#include "kvstore/daemon/member_tls.h"

namespace keelson::rpc {
class Server;
}  // namespace keelson::rpc

namespace keelson::kvstore {

// Some URLs, http and https mixed, also on one address, on which gRPC and HTTP/1.1 are served together.
//
//   KEELSON_ASSIGN_OR_RETURN(auto ports, Ports::Bind(urls, tls));
//   KEELSON_RETURN_IF_ERROR(ports->Serve({.rpc = ..., .http = router}));
//   ports->Stop(absl::Seconds(2));
class Ports {
 public:
  // Binds and listens; accepts nothing yet. `tls` is for the https URLs.
  // Errors as net::Listen, naming the address; ALREADY_EXISTS when it is in use.
  static absl::StatusOr<std::unique_ptr<Ports>> Bind(const std::vector<Url>& urls,
                                                     const ListenerTls& tls);
  // Stops at once.
  ~Ports();

  // What speaks on the ports. Connections of a protocol for which there is nothing are closed.
  struct Protocols {
    std::unique_ptr<rpc::Server> rpc = nullptr;  // gRPC; started by Serve.
    http::Handler http = nullptr;
  };
  absl::Status Serve(Protocols protocols);

  // Stops accepting and gives running calls up to `grace` to end. Idempotent.
  void Stop(absl::Duration grace);

  // "host:port" with real ports, http URLs first.
  [[nodiscard]] std::vector<std::string> addresses() const;

 private:
  struct Port;
  Ports();
  void ServeRpc(std::unique_ptr<rpc::Server> server);
  absl::Status ServeHttp(http::Handler handler);

  std::vector<std::unique_ptr<Port>> ports_;  // at most three: plain, TLS, both
  ListenerTls tls_;
  std::unique_ptr<rpc::Server> rpc_server_;
  std::unique_ptr<http::Server> http_server_;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_DAEMON_PORTS_H_
