// One call of a client, between its user on any thread and its connection on the loop's.
#ifndef KEELSON_BASE_RPC_INTERNAL_CLIENT_STREAM_H_
#define KEELSON_BASE_RPC_INTERNAL_CLIENT_STREAM_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/rpc/client.h"
#include "base/rpc/internal/mailbox.h"
#include "base/rpc/internal/outgoing.h"
#include "base/rpc/internal/wire.h"

namespace keelson::rpc::internal {

class ClientConnection;
class ClientStream;

// When the calls of a channel end by themselves.
using ClientDeadlines = std::multimap<absl::Duration, ClientStream*>;

// Makes rpc::WasNeverSent true.
absl::Status NeverSent(absl::Status status);

class ClientStream final : public ClientCall, public std::enable_shared_from_this<ClientStream> {
 public:
  ClientStream(std::shared_ptr<Mailbox<ClientStream>> mailbox, CallOptions call,
               std::shared_ptr<ResponseHandler> response_handler, size_t max_response_bytes)
      : options(std::move(call)),
        handler(std::move(response_handler)),
        reader(max_response_bytes),
        mailbox_(std::move(mailbox)) {}

  // --- ClientCall: for any thread ---
  bool Send(std::string message) override;
  void HalfClose() override;
  void Cancel() override;
  void Pause() override;
  void Resume() override;
  // Tells the channel that there is a new call.
  void Begin() ABSL_LOCKS_EXCLUDED(mu_);

  // --- For the channel and the connection, on the loop ---

  struct Outgoing {
    Pieces pieces;
    bool half_closed = false;
    bool cancelled = false;
  };
  // What the user has given since the last time.
  Outgoing TakeOutgoing() ABSL_LOCKS_EXCLUDED(mu_);
  // `bytes` of messages went into the connection. True when the user waits for room and has it.
  [[nodiscard]] bool Sent(size_t bytes) ABSL_LOCKS_EXCLUDED(mu_);
  [[nodiscard]] bool paused() const ABSL_LOCKS_EXCLUDED(mu_);
  // Ends the call for its user, the first time. Nothing that the user does counts from then on.
  void End(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  const CallOptions options;
  std::shared_ptr<ResponseHandler> handler;  // Null after the end.
  ClientConnection* connection = nullptr;    // Null before and after.
  int32_t id = 0;                            // Of the HTTP/2 stream.
  std::optional<ClientDeadlines::iterator> deadline;
  bool begun = false;  // The channel knows of it.

  // The request.
  OutgoingBytes bytes;
  bool half_closed = false;
  bool deferred = false;  // nghttp2 waits for more.

  // The response.
  rpc::Metadata fields;  // Of the header or the trailers that are coming in.
  size_t field_bytes = 0;
  std::string http_status;
  std::string content_type;
  std::optional<int> grpc_status;
  std::string grpc_message;
  bool accepted = false;
  bool remote_closed = false;       // The server has sent all.
  bool closed = false;              // HTTP/2 has forgotten it.
  std::optional<absl::Status> end;  // Comes when all messages have been delivered.
  MessageReader reader;
  size_t unconsumed_bytes = 0;  // Received, and not given back to flow control yet.

 private:
  void PostLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::shared_ptr<Mailbox<ClientStream>> mailbox_;
  mutable absl::Mutex mu_;
  Outgoing outgoing_ ABSL_GUARDED_BY(mu_);
  size_t unsent_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool wants_room_ ABSL_GUARDED_BY(mu_) = false;
  bool paused_ ABSL_GUARDED_BY(mu_) = false;
  bool posted_ ABSL_GUARDED_BY(mu_) = false;
  bool half_closed_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace keelson::rpc::internal

#endif  // KEELSON_BASE_RPC_INTERNAL_CLIENT_STREAM_H_
