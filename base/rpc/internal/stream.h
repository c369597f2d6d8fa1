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
#include "base/rpc/internal/outgoing.h"
#include "base/rpc/internal/wire.h"

namespace keelson::rpc::internal {

class Connection;
class Stream;

// When the calls of a loop end by themselves.
using Deadlines = std::multimap<absl::Duration, Stream*>;

class Stream final : public Call, public std::enable_shared_from_this<Stream> {
 public:
  Stream(std::shared_ptr<Mailbox<Stream>> mailbox, int32_t stream_id, size_t max_request_bytes)
      : id(stream_id), reader(max_request_bytes), mailbox_(std::move(mailbox)) {}

  // --- Call: for any thread ---
  std::string_view Metadata(std::string_view name) const override;
  const rpc::Metadata& AllMetadata() const override { return metadata; }
  const Peer& peer() const override { return *from; }
  void Accept(rpc::Metadata fields) override;
  bool Send(std::string message) override;
  void Finish(const absl::Status& status) override;
  void Answer(std::string message) override;
  void Pause() override;
  void Resume() override;

  // --- For the connection, on its thread ---

  struct Outgoing {
    std::optional<rpc::Metadata> header;
    Pieces pieces;
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

  // The request.
  std::string path;
  std::string content_type;
  std::string http_method;
  std::string timeout;
  size_t header_bytes = 0;
  rpc::Metadata metadata;            // Constant once the call starts.
  std::shared_ptr<const Peer> from;  // The same.
  MessageReader reader;
  size_t unconsumed_bytes = 0;  // Received, and not given back to flow control yet.
  bool half_closed = false;
  bool half_close_delivered = false;
  bool broken = false;  // What the client sends is no longer looked at.
  std::optional<Deadlines::iterator> deadline;

  // The response.
  std::optional<rpc::Metadata> header;
  OutgoingBytes bytes;
  bool responded = false;  // The response's header is on its way.
  bool deferred = false;   // nghttp2 waits for more pieces.
  std::optional<absl::Status> end;

 private:
  void PostLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AddLocked(std::string message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::shared_ptr<Mailbox<Stream>> mailbox_;
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
