// One connection of the server: reads requests, calls the handler, writes answers.
//
//   handshake -> reading -> handling -> reading ... -> lingering -> closed
//
// Everything here runs on the connection's I/O thread; answers of handlers come through an
// Exchange, which brings them there.
#ifndef KEELSON_BASE_HTTP_INTERNAL_CONNECTION_H_
#define KEELSON_BASE_HTTP_INTERNAL_CONNECTION_H_

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/http/internal/io.h"
#include "base/http/internal/parser.h"
#include "base/http/server.h"

namespace keelson::http::internal {

class Connection;
class Exchange;

// What all connections of one server share.
struct ServerCore {
  ServerCore(const ServerLimits& server_limits, Handler server_handler)
      : limits(server_limits), handler(std::move(server_handler)) {}

  const ServerLimits limits;
  const Handler handler;
  std::atomic<bool> draining{false};
  std::atomic<uint64_t> connections_total{0};
  std::atomic<uint64_t> connections_refused_total{0};
  std::atomic<uint64_t> requests_total{0};
  std::atomic<uint64_t> malformed_total{0};
  std::atomic<uint64_t> timeouts_total{0};
  std::atomic<uint64_t> refusals_open{0};  // Connections that are being told 503.

  absl::Mutex mu;
  uint64_t connections_open ABSL_GUARDED_BY(mu) = 0;
};

// An I/O thread and the connections on it.
struct Worker {
  explicit Worker(const std::string& name) : thread(name) {}
  IoThread thread;
  std::unordered_set<Connection*> connections;  // Touched on the thread only.
};

class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  // The caller has counted it in core->connections_open.
  Connection(std::shared_ptr<Worker> worker, std::shared_ptr<ServerCore> core,
             std::unique_ptr<Transport> transport, std::string peer_address);
  ~Connection();

  // Begins to serve. `already_read` comes before the socket's bytes.
  void Start(std::string already_read);
  // Begins to say 503 and close instead.
  void Refuse();
  // The server drains: closes now if nothing is under way.
  void OnDraining();
  // Closes now, whatever is under way. Idempotent.
  void Close();

  // Called by the exchange, which ignores them once it is not the current one.
  void Send(Exchange& exchange, Response response);
  void StartStream(Exchange& exchange, int status, const Headers& headers);
  void WritePiece(Exchange& exchange, std::string piece);
  void Finish(Exchange& exchange);
  void Abandon(Exchange& exchange);
  void OnDrained(Exchange& exchange, std::function<void()> callback);

  [[nodiscard]] IoThread& thread() { return worker_->thread; }

 private:
  enum class Phase { kHandshake, kReading, kHandling, kLingering, kClosed };

  void BeginReading();
  void Advance();
  void Dispatch();
  void ReadMore();
  void OnRead(error_code error, size_t bytes);
  void OnPeerClosed();
  void Queue(std::string bytes);
  void Pump();
  void OnWritten(error_code error, size_t bytes);
  void RunDrained();
  void EndExchange();
  void Fail(const Response& response);
  void CloseGracefully();
  void SetDeadline(absl::Duration timeout);
  void UpdateTimer();
  void OnDeadline();
  // The client has closed its direction, and all that it sent before has been handled.
  [[nodiscard]] bool NothingFollows() const;
  std::string Head(Exchange& exchange, int status, const Headers& headers,
                   std::optional<uint64_t> content_length);

  const std::shared_ptr<Worker> worker_;  // First member, so that its io_context goes last.
  const std::shared_ptr<ServerCore> core_;
  const std::unique_ptr<Transport> transport_;
  const std::string peer_address_;
  std::shared_ptr<const PeerCertificate> peer_certificate_;
  DeadlineTimer timer_;
  RequestParser parser_;

  Phase phase_ = Phase::kHandshake;
  RequestParser::State deadline_state_ = RequestParser::State::kDone;  // State the deadline is for.
  SteadyTime read_deadline_ = SteadyTime::max();
  SteadyTime write_deadline_ = SteadyTime::max();

  std::string read_buffer_;
  std::string already_read_;  // Kept for the handshake that reads it.
  bool reading_ = false;
  bool read_closed_ = false;
  size_t discarded_bytes_ = 0;

  std::deque<std::string> out_;  // The front one may be in the hands of the transport.
  size_t out_offset_ = 0;        // Of the front one, already written.
  bool writing_ = false;
  bool close_after_write_ = false;
  size_t uncounted_bytes_ = 0;  // At the front of `out_`, of no exchange.
  uint64_t queued_total_ = 0;
  uint64_t written_total_ = 0;
  std::vector<std::pair<uint64_t, std::function<void()>>> drained_;  // By written_total_.

  std::shared_ptr<Exchange> current_;  // While phase_ is kHandling.
  bool refusing_ = false;
};

}  // namespace keelson::http::internal

#endif  // KEELSON_BASE_HTTP_INTERNAL_CONNECTION_H_
