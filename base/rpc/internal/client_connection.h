// A client's connection: HTTP/2 by nghttp2, and the calls on it.
#ifndef KEELSON_BASE_RPC_INTERNAL_CLIENT_CONNECTION_H_
#define KEELSON_BASE_RPC_INTERNAL_CLIENT_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/rpc/client.h"
#include "base/rpc/internal/client_stream.h"
#include "base/rpc/internal/http2.h"
#include "base/rpc/internal/socket.h"

struct nghttp2_session;

namespace keelson::rpc::internal {

// What the connections of a channel have in common.
struct ClientContext {
  ChannelOptions options;
  std::shared_ptr<Mailbox<ClientStream>> mailbox;
  ClientDeadlines deadlines;
  absl::Duration now;  // Monotonic; as of the last wake.
  std::string input;   // For one read at a time.
  std::string output;  // For one write at a time.

  // Ends a call, wherever it is.
  void End(ClientStream& stream, const absl::Status& status);
};

// Not thread-safe: of the loop's thread.
//
// Whoever calls anything that is not const calls Flush afterwards, and destroys the connection
// once Flush returns false.
class ClientConnection {
 public:
  // `give_up_at`: when the server must have greeted.
  ClientConnection(ClientContext* context, std::unique_ptr<Socket> socket,
                   absl::Duration give_up_at);
  ~ClientConnection();  // Ends its calls, saying why.
  ClientConnection(const ClientConnection&) = delete;
  ClientConnection& operator=(const ClientConnection&) = delete;

  // A new call. Not when draining.
  void Begin(const std::shared_ptr<ClientStream>& stream);
  // The user of a call of this connection has something to send, or reads again.
  void OnStream(const std::shared_ptr<ClientStream>& stream, ClientStream::Outgoing outgoing);
  // Ends all calls, without telling the server.
  void EndAll(const absl::Status& status);
  // The call is over for its user; the server is told.
  void Abandon(ClientStream& stream);
  void OnReadable();
  void OnTimer(absl::Duration now);

  // Writes what is due. False when the connection is over.
  [[nodiscard]] bool Flush();

  [[nodiscard]] int fd() const { return socket_->fd(); }
  [[nodiscard]] uint32_t WantedEvents() const;  // For epoll.
  // The server has greeted.
  [[nodiscard]] bool greeted() const { return greeted_; }
  // It takes no new calls.
  [[nodiscard]] bool draining() const { return draining_; }
  // UNAVAILABLE, with the address and the reason, once Flush has returned false.
  [[nodiscard]] absl::Status Failure() const;

 private:
  struct Callbacks;  // nghttp2's.

  void OnHeaders(ClientStream& stream, bool ends);
  void OnEnd(ClientStream& stream);
  void Deliver(ClientStream& stream);
  void Consume(ClientStream& stream);
  // Ends the call, and the stream too if it still runs.
  void Conclude(ClientStream& stream, const absl::Status& status);
  void Fail(std::string why);

  ClientContext* const context_;
  const std::unique_ptr<Socket> socket_;
  const absl::Duration give_up_at_;
  nghttp2_session* session_ = nullptr;
  absl::flat_hash_map<int32_t, std::shared_ptr<ClientStream>> streams_;
  std::vector<std::shared_ptr<ClientStream>> roomy_;  // Their OnRoom is due.
  std::vector<std::shared_ptr<ClientStream>> kept_;   // Over, but nghttp2 may still look at them.
  Output output_;
  absl::Duration last_read_;
  absl::Duration pinged_ = absl::InfiniteDuration();  // Since when an answer is waited for.
  bool greeted_ = false;
  bool draining_ = false;
  bool begun_ = false;  // The socket has perhaps taken something.
  std::string goaway_;  // What the server said with it.
  bool failed_ = false;
  std::string why_;
};

}  // namespace keelson::rpc::internal

#endif  // KEELSON_BASE_RPC_INTERNAL_CLIENT_CONNECTION_H_
