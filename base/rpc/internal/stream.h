// One call, between its handler on any thread and its connection on the loop's.
#ifndef KEELSON_BASE_RPC_INTERNAL_STREAM_H_
#define KEELSON_BASE_RPC_INTERNAL_STREAM_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/rpc/call.h"
#include "base/rpc/internal/mailbox.h"
#include "base/rpc/internal/wire.h"

namespace keelson::rpc::internal {

class Connection;
class Stream;

// When the calls of a loop end by themselves.
using Deadlines = std::multimap<absl::Duration, Stream*>;

class Stream final : public Call, public std::enable_shared_from_this<Stream> {
 public:
  // Of messages that wait to be sent, in bytes: from here on Send returns false, and below the
  // other the handler gets its OnRoom.
  static constexpr size_t kCrowded = 256 << 10;
  static constexpr size_t kRoomy = 64 << 10;

  Stream(std::shared_ptr<Mailbox> mailbox, int32_t stream_id, size_t max_request_bytes)
      : id(stream_id), reader(max_request_bytes), mailbox_(std::move(mailbox)) {}

  // --- Call: for any thread ---
  std::string_view Metadata(std::string_view name) const override;
  std::string_view ClientCommonName() const override { return client_common_name; }
  bool Send(std::string message) override;
  void Finish(const absl::Status& status) override;
  void Answer(std::string message) override;
  void Pause() override;
  void Resume() override;

  // --- For the connection, on its thread ---

  struct Outgoing {
    std::vector<std::string> pieces;  // of messages with their prefixes
    std::optional<absl::Status> end;
  };
  // What the handler has given since the last time.
  Outgoing TakeOutgoing() ABSL_LOCKS_EXCLUDED(mu_);
  // `bytes` of messages went into the connection. True when the handler waits for room and has it.
  [[nodiscard]] bool Sent(size_t bytes) ABSL_LOCKS_EXCLUDED(mu_);
  [[nodiscard]] bool paused() const ABSL_LOCKS_EXCLUDED(mu_);
  // Nothing that the handler does counts from now on. The status that the call ended with.
  absl::Status Close() ABSL_LOCKS_EXCLUDED(mu_);

  const int32_t id;
  Connection* connection = nullptr;  // Null after its end.
  const Method* method = nullptr;    // Null when it was refused before it started.
  std::shared_ptr<CallHandler> handler;

  std::string client_common_name;  // Constant once the call starts.

  // The request.
  std::string path;
  std::string content_type;
  std::string http_method;
  std::string timeout;
  size_t header_bytes = 0;
  std::vector<std::pair<std::string, std::string>> metadata;  // Constant once the call starts.
  MessageReader reader;
  size_t unconsumed_bytes = 0;  // Received, and not given back to flow control yet.
  bool half_closed = false;
  bool half_close_delivered = false;
  bool broken = false;  // What the client sends is no longer looked at.
  std::optional<Deadlines::iterator> deadline;

  // The response.
  std::vector<std::string> pieces;  // To be sent from `piece` on.
  size_t piece = 0;
  size_t piece_position = 0;
  bool responded = false;  // The response's header is on its way.
  bool deferred = false;   // nghttp2 waits for more pieces.
  std::optional<absl::Status> end;

 private:
  void PostLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AddLocked(std::string message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::shared_ptr<Mailbox> mailbox_;
  mutable absl::Mutex mu_;
  Outgoing outgoing_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::StatusCode> ended_ ABSL_GUARDED_BY(mu_);  // What the handler ended with.
  size_t unsent_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool wants_room_ ABSL_GUARDED_BY(mu_) = false;
  bool paused_ ABSL_GUARDED_BY(mu_) = false;
  bool posted_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace keelson::rpc::internal

#endif  // KEELSON_BASE_RPC_INTERNAL_STREAM_H_
