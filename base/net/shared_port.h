// HTTP/1.1 and gRPC on one port, plain or TLS: accepts connections, looks at their first
// bytes without taking them, and hands each to the server of its protocol.
//
//   KEELSON_ASSIGN_OR_RETURN(auto port, SharedPort::Bind({.listen = {"127.0.0.1:2379"}}));
//   GrpcSink grpc_sink(builder, credentials);          // base/net/grpc_acceptor.h, or rpc_sink.h
//   auto grpc_server = builder.BuildAndStart();
//   HttpSink http_sink(*http_server, false);           // base/net/http_sink.h
//   port->Start(http_sink, grpc_sink);
//
// Stop it first, then the two servers.
//
// Threading: thread-safe. One thread watches all connections that have not said yet what
// they are; each may take `sniff_timeout` for it.
#ifndef KEELSON_BASE_NET_SHARED_PORT_H_
#define KEELSON_BASE_NET_SHARED_PORT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/unique_fd.h"

namespace keelson::net {

// Takes connections over.
class ConnectionSink {
 public:
  virtual ~ConnectionSink() = default;

  // Serves or closes a connected, non-blocking stream socket. `already_read` holds bytes that
  // were taken from it, to be served first. Must not block; called on the acceptor's thread.
  virtual void Take(UniqueFd fd, std::string already_read) = 0;
};

struct SharedPortOptions {
  std::vector<std::string> listen = {};  // Forms as in base/net/address.h; at least one.
  bool tls = false;
  // With `tls`: plain text is served too; the first byte tells which it is.
  bool plain_too = false;
  absl::Duration sniff_timeout = absl::Seconds(10);
  size_t sniffing_max = 1'000;  // Connections at once that have not said what they are.
  // A new connection whose descriptor would be this one or higher is closed. Since the system
  // gives the lowest free number, this is a budget for all of the process, whoever
  // holds the connections. 0: the soft limit of descriptors less an eighth, which stays for files.
  int fd_max = 0;
};

struct SharedPortStats {
  uint64_t http_total = 0;      // Handed to the HTTP server.
  uint64_t grpc_total = 0;      // Handed to the gRPC server.
  uint64_t refused_total = 0;   // Closed for sniffing_max or fd_max.
  uint64_t timeouts_total = 0;  // Closed for sniff_timeout.
  uint64_t unknown_total = 0;   // Closed: neither protocol, or gone before it could be told.
  uint64_t accept_errors_total = 0;
  uint64_t sniffing = 0;  // Now.
};

class SharedPort {
 public:
  // Binds and listens, accepts nothing yet: clients wait in the system's queue.
  // Errors as of net::Listen; INVALID_ARGUMENT also for no address or a limit that is not positive.
  static absl::StatusOr<std::unique_ptr<SharedPort>> Bind(const SharedPortOptions& options);

  // Stops.
  virtual ~SharedPort() = default;

  // Where connections of one kind go. Not null.
  struct Sinks {
    ConnectionSink* http;
    ConnectionSink* grpc;
  };
  // Starts to accept; once. The sinks outlive this object or its Stop.
  void Start(ConnectionSink& http, ConnectionSink& grpc) {
    StartBoth({&http, &grpc}, {&http, &grpc});
  }
  // Likewise, with sinks that know whether there is TLS: for plain_too.
  virtual void StartBoth(Sinks plain, Sinks tls) = 0;

  // Closes the listening sockets and the connections that were not handed over yet, and joins the
  // thread. No sink is called afterwards. Idempotent.
  virtual void Stop() = 0;

  // The addresses with their real ports, in the order of the options.
  [[nodiscard]] virtual const std::vector<std::string>& addresses() const = 0;
  // The port of addresses()[0].
  [[nodiscard]] virtual uint16_t port() const = 0;
  [[nodiscard]] virtual SharedPortStats Stats() const = 0;
};

}  // namespace keelson::net

#endif  // KEELSON_BASE_NET_SHARED_PORT_H_
