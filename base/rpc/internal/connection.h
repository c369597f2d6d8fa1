// One client's connection: HTTP/2 by nghttp2, and the calls on it.
#ifndef KEELSON_BASE_RPC_INTERNAL_CONNECTION_H_
#define KEELSON_BASE_RPC_INTERNAL_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/rpc/internal/mailbox.h"
#include "base/rpc/internal/socket.h"
#include "base/rpc/internal/stream.h"
#include "base/rpc/server.h"

struct nghttp2_session;

namespace keelson::rpc::internal {

// What the connections of a loop have in common. All borrowed.
struct LoopContext;

// Not thread-safe: of the loop's thread.
//
// Whoever calls OnReadable, OnStream, OnTimer or Drain calls Flush afterwards, and destroys the
// connection once Flush returns false.
class Connection {
 public:
  Connection(LoopContext* loop, std::unique_ptr<Socket> socket);
  ~Connection();  // Ends its calls.
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Reads what has come, and serves it.
  void OnReadable();
  // The handler of a call has something to send, or reads again.
  void OnStream(const std::shared_ptr<Stream>& stream);
  // From time to time.
  void OnTimer(absl::Duration now);
  // No new calls; ends with the last one.
  void Drain();

  // Writes what is due. False when the connection is over.
  [[nodiscard]] bool Flush();

  [[nodiscard]] int fd() const { return socket_->fd(); }
  // For epoll.
  [[nodiscard]] uint32_t WantedEvents() const;

  uint32_t watched_events = 0;  // For the loop.
  bool dirty = false;           // For the loop: Flush is due.

 private:
  struct Callbacks;  // nghttp2's.

  void StartCall(Stream& stream);
  void Deliver(Stream& stream);
  void DeliverMessages(Stream& stream);
  void Consume(Stream& stream);
  void Refuse(Stream& stream, int http_status);
  void Respond(Stream& stream);
  void EndStream(Stream& stream);
  void ForgetDeadline(Stream& stream);
  void OnPing();
  [[nodiscard]] bool WriteRest();
  void MakeRoom();
  [[nodiscard]] bool Clogged() const;

  LoopContext* const loop_;
  // Of the certificate, which does not change.
  const std::string& ClientCommonName() {
    if (!client_common_name_.has_value()) client_common_name_ = socket_->ClientCommonName();
    return *client_common_name_;
  }

  const std::unique_ptr<Socket> socket_;
  std::optional<std::string> client_common_name_;
  nghttp2_session* session_ = nullptr;
  absl::flat_hash_map<int32_t, std::shared_ptr<Stream>> streams_;
  std::vector<std::shared_ptr<Stream>> roomy_;  // Their OnRoom is due.
  std::string output_;                          // Did not fit into the socket.
  size_t output_position_ = 0;
  const absl::Duration opened_;
  absl::Duration last_read_;
  absl::Duration pinged_ = absl::InfiniteDuration();      // Since when an answer is waited for.
  absl::Duration last_ping_ = -absl::InfiniteDuration();  // The client's.
  int ping_strikes_ = 0;
  bool sent_since_ping_ = false;
  bool greeted_ = false;  // The client's SETTINGS have come.
  bool read_any_ = false;
  bool draining_ = false;
  bool close_when_written_ = false;
  bool failed_ = false;
};

}  // namespace keelson::rpc::internal

#endif  // KEELSON_BASE_RPC_INTERNAL_CONNECTION_H_
