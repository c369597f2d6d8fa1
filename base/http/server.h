// An HTTP/1.1 server for REST, long polls, event streams and dashboards.
//
//   KEELSON_ASSIGN_OR_RETURN(auto server, Server::Start(
//       {.listen = {"127.0.0.1:0"}},
//       [](Request request, std::shared_ptr<ResponseWriter> writer) {
//         writer->Send(TextResponse(200, "hello\n"));
//       }));
//   std::cout << server->addresses()[0];  // "127.0.0.1:40123"
//
// A handler is called on an I/O thread and must not block: it answers at once, or it keeps
// the writer and answers later from any thread. A request that waits costs some kilobytes
// and no thread. Requests of one connection are handled one after the other, also when
// they were sent in one go (pipelined).
//
// What a peer sends is limited in size and in time; what breaks HTTP's grammar gets a
// 400 and the connection is closed.
//
// Threading: a Server and a ResponseWriter are thread-safe. Several servers may run in one process.
#ifndef KEELSON_BASE_HTTP_SERVER_H_
#define KEELSON_BASE_HTTP_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/http/message.h"
#include "base/tls.h"
#include "base/unique_fd.h"

namespace keelson::http {

// Answers one request, once: either Send, or Start, any number of Writes, and Finish.
// A writer that is destroyed without an answer sends 500; one that is destroyed
// between Start and Finish cuts the connection, so that the client sees the answer is incomplete.
//
// Calls that are out of order are errors of the program and abort. After the client has gone
// all calls are allowed and do nothing.
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;

  // The whole answer. Content-Length, Date and Connection are added. A status of 1xx is not allowed;
  // with 204, 304 and for HEAD the body is not sent.
  virtual void Send(Response response) = 0;

  // Begins an answer in pieces and sends its header fields at once. With a Content-Length field
  // the pieces must come to that many bytes, or the connection is cut; without one they are
  // sent with chunked coding.
  virtual void Start(int status, Headers headers) = 0;

  // Queues a piece of the body; never blocks. False when the client has gone and nothing will
  // be sent. Look at BufferedBytes: a client that reads slower than the handler writes is cut
  // when ServerLimits::buffered_bytes_max is passed.
  virtual bool Write(std::string piece) = 0;

  // Ends the answer that Start began.
  virtual void Finish() = 0;

  // Bytes given to Send, Start and Write that the system has not taken yet.
  [[nodiscard]] virtual size_t BufferedBytes() const = 0;

  // Calls `callback` once, on an I/O thread: when all bytes written before this call have been
  // taken by the system, or the client has gone. For the next pieces of a long body.
  virtual void OnDrained(std::function<void()> callback) = 0;

  // Calls `callback` once, on an I/O thread, if the client goes away before the answer is
  // finished; also when it is gone already. Replaces the callback set before. The callback is
  // dropped, uncalled, when the answer is finished. A callback that owns the writer
  // keeps it, and the connection, alive until then: capture a weak_ptr or a key.
  //
  // A client that closed only its sending direction counts as gone too, though what is sent
  // may still reach it.
  virtual void OnDisconnect(std::function<void()> callback) = 0;

  // False once OnDisconnect's condition holds.
  [[nodiscard]] virtual bool IsConnected() const = 0;
};

using Handler = std::function<void(Request request, std::shared_ptr<ResponseWriter> writer)>;

struct ServerLimits {
  size_t header_bytes_max = 16 * 1024;           // Request line and header fields; beyond: 431.
  uint64_t body_bytes_max = 2 * 1024 * 1024;     // Beyond: 413.
  size_t buffered_bytes_max = 64 * 1024 * 1024;  // Of one answer, not yet taken by the system.
  size_t connections_max = 10'000;               // Beyond: 503 and close; with TLS close.
  absl::Duration handshake_timeout = absl::Seconds(10);
  absl::Duration header_timeout = absl::Seconds(10);  // From a request's first byte; beyond: 408.
  absl::Duration body_timeout = absl::Seconds(60);    // From the end of the header; beyond: 408.
  absl::Duration idle_timeout = absl::Minutes(2);     // Between two requests; then close.
  absl::Duration write_timeout = absl::Seconds(30);   // Without any progress; then close.
};

struct ServerOptions {
  // "host:port", "[ipv6]:port", ":port" (all addresses) or "unix:/path". May be empty: then
  // connections come by AdoptConnection only.
  std::vector<std::string> listen = {};
  // For the addresses of `listen` and for adopted TLS connections; null: plain text only.
  std::shared_ptr<const TlsServerContext> tls = {};
  ServerLimits limits = {};
  int io_threads = 1;
};

struct ServerStats {
  uint64_t connections_total = 0;
  uint64_t connections_open = 0;
  uint64_t connections_refused_total = 0;  // Beyond connections_max.
  uint64_t requests_total = 0;             // Given to the handler.
  uint64_t malformed_total = 0;            // Answered with 4xx or 5xx by the server itself.
  uint64_t timeouts_total = 0;             // Too slow: handshake, request, or taking the answer.
};

class Server {
 public:
  // Binds, listens and serves. `handler` lives until the server and all its writers are gone.
  //
  // Errors:
  //   INVALID_ARGUMENT  an address that cannot be read; a limit that is not positive.
  //   ALREADY_EXISTS    an address is in use; the message names it.
  //   any other         from the system.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       Handler handler);

  // Closes what is open and joins the threads. Writers that are still held do nothing then.
  // Must not be called from a handler or callback.
  virtual ~Server() = default;

  // The addresses that are listened on, with the real ports, in the order of the options.
  [[nodiscard]] virtual const std::vector<std::string>& addresses() const = 0;
  // The port of addresses()[0]; 0 when there is none.
  [[nodiscard]] virtual uint16_t port() const = 0;

  struct Adopted {
    std::string already_read = {};  // Bytes that were taken from the socket; served first.
    bool tls = false;  // Handshake first. The connection is closed if the server has no TLS.
  };
  // Serves a connected stream socket that came from elsewhere. Counts like an accepted one.
  virtual void AdoptConnection(UniqueFd fd, Adopted adopted) = 0;

  // Uses `tls` for connections from now on (certificates were renewed). Not null, and only for a server
  // that has TLS.
  virtual void SetTls(std::shared_ptr<const TlsServerContext> tls) = 0;

  // Stops accepting, closes idle connections and lets running requests finish, each with
  // `Connection: close`. Waits up to `timeout`, then closes what is left. True when nothing was
  // cut. The server serves nothing afterwards. Not from a handler or callback.
  virtual bool Drain(absl::Duration timeout) = 0;

  [[nodiscard]] virtual ServerStats Stats() const = 0;
};

}  // namespace keelson::http

#endif  // KEELSON_BASE_HTTP_SERVER_H_
