// A gRPC server (the protocol over HTTP/2) made for answers that come many at once, from other
// threads than the one that read the request: a group commit's.
//
//   auto server = rpc::Server::Create({.max_request_bytes = 2 << 20});
//   server->Register({.path = "/echo.Echo/Say", .start = rpc::Unary<Message, Message>(...)});
//   server->Start();
//   RpcSink sink(*server, false);    // base/net/rpc_sink.h: connections of a shared port
//   ...
//   server->Stop(absl::Seconds(2));
//
// One thread reads a connection, decodes its requests and calls the handlers; answers of any
// thread are collected and leave in one write per connection. nghttp2 speaks the HTTP/2 below.
// gRPC C++ wakes a thread for each answer, and writes each by itself (docs/decisions/0009).
//
// Compressed messages are refused, as etcd does. There is no reflection service.
#ifndef KEELSON_BASE_RPC_SERVER_H_
#define KEELSON_BASE_RPC_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "base/event_loop.h"
#include "base/rpc/call.h"
#include "base/tls.h"
#include "base/unique_fd.h"

namespace keelson::rpc {

struct ServerOptions {
  int threads = 0;  // 0: half the processors, at least one
  // Threads of the caller's instead, each for a part of the connections; they outlive the server.
  std::vector<EventLoop*> loops = {};
  size_t max_request_bytes = 4 << 20;            // of one message
  size_t max_metadata_bytes = 16 << 10;          // of all header fields of a request
  uint32_t max_concurrent_streams = 0xffffffff;  // of one connection
  // A client that pings more often, three times, is told to calm down and disconnected.
  absl::Duration ping_interval_min = absl::Seconds(5);
  // A silent connection is pinged after this, and closed without an answer; zero: never.
  absl::Duration keepalive_interval = absl::Hours(2);
  absl::Duration keepalive_timeout = absl::Seconds(20);
  // For the TLS handshake and the HTTP/2 preface.
  absl::Duration handshake_timeout = absl::Seconds(10);
  // For connections adopted with TLS; made for the protocol "h2".
  std::shared_ptr<const TlsServerContext> tls = nullptr;
};

struct ServerStats {
  uint64_t connections = 0;  // Now.
  uint64_t calls = 0;        // Now.
  uint64_t connections_total = 0;
  uint64_t calls_total = 0;
  uint64_t received_bytes_total = 0;  // Of messages.
  uint64_t sent_bytes_total = 0;      // Of messages.
};

// Thread-safe, once started.
class Server {
 public:
  static std::unique_ptr<Server> Create(const ServerOptions& options);
  // Stops at once.
  virtual ~Server() = default;

  // Before Start.
  virtual void Register(Method method) = 0;
  virtual void Start() = 0;

  // Serves a connected, non-blocking stream socket. Before Start and after Stop it is closed.
  virtual void Adopt(UniqueFd fd, bool tls) = 0;

  // Tells the clients, gives running calls up to `grace` to end, then ends them. No handler is
  // called afterwards. Idempotent. Not on one of its threads.
  virtual void Stop(absl::Duration grace) = 0;

  [[nodiscard]] virtual ServerStats Stats() const = 0;
};

}  // namespace keelson::rpc

#endif  // KEELSON_BASE_RPC_SERVER_H_
