// One client's connection: HTTP/2 by nghttp2, and the calls on it.
#ifndef KEELSON_BASE_RPC_INTERNAL_CONNECTION_H_
#define KEELSON_BASE_RPC_INTERNAL_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/rpc/internal/http2.h"
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
  void MakeRoom();
  void ReadPeer();

  LoopContext* const loop_;
  const std::unique_ptr<Socket> socket_;
  nghttp2_session* session_ = nullptr;
  absl::flat_hash_map<int32_t, std::shared_ptr<Stream>> streams_;
  std::vector<std::shared_ptr<Stream>> roomy_;  // Their OnRoom is due.
  std::shared_ptr<const Peer> peer_;            // Null before the first call.
  Output output_;
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
