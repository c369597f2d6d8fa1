// A gRPC client (the protocol over HTTP/2) that lives on an EventLoop: answers are handled on the
// thread that reads them, and what is sent within one step of the loop leaves in one write.
//
//   EventLoop loop("rpc");
//   auto channel = rpc::Channel::Create(loop, {.address = "10.0.0.2:2380"});
//   auto call = channel->Start({.path = "/echo.Echo/Talk"}, handler);   // a ResponseHandler
//   (void)call->Send(request.SerializeAsString());
//   ...
//   channel->Close();
//
// base/rpc/client_unary.h has calls of one message each way.
//
// A channel is at most one connection that takes new calls. It is made when a call needs it; a call
// that finds none and gets none fails with UNAVAILABLE, and the text names the address. A connection
// that the server is giving up (GOAWAY) ends with its last call, while new calls use another.
#ifndef KEELSON_BASE_RPC_CLIENT_H_
#define KEELSON_BASE_RPC_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/event_loop.h"
#include "base/net/resolver.h"
#include "base/rpc/call.h"
#include "base/tls.h"

namespace keelson::rpc {

struct ChannelOptions {
  std::string address;  // "host:port" or "unix:/path".
  // Null: plain text. Made for the protocol "h2".
  std::shared_ptr<const TlsClientContext> tls = nullptr;
  std::string server_name = {};  // Expected in the certificate; empty: the address's host.
  // Looks host names up; outlives the channel. Null: only numbers are addresses.
  net::Resolver* resolver = nullptr;

  size_t max_response_bytes = 4 << 20;   // of one message
  size_t max_metadata_bytes = 16 << 10;  // of the header fields of a response
  // From the start of connecting until the server has greeted, TLS included.
  absl::Duration connect_timeout = absl::Seconds(5);
  // With calls under way, a silent connection is pinged after this, and given up without an
  // answer. Zero: never.
  absl::Duration keepalive_interval = absl::ZeroDuration();
  absl::Duration keepalive_timeout = absl::Seconds(20);
  // After an attempt to connect has failed, calls fail at once for so long, doubling up to the
  // second and changed by up to a fifth by chance. Zero: every call tries.
  absl::Duration backoff_initial = absl::ZeroDuration();
  absl::Duration backoff_max = absl::Seconds(5);
};

struct CallOptions {
  std::string path;  // "/etcdserverpb.KV/Range"
  rpc::Metadata metadata = {};
  // The call ends with DEADLINE_EXCEEDED then; the server is told.
  absl::Duration timeout = absl::InfiniteDuration();
};

// Whether a call that ended with `status` certainly never reached a server: no connection came about,
// or the server gave up the connection before it looked at the call. To make it again, here or
// elsewhere, does no harm. False says nothing.
[[nodiscard]] bool WasNeverSent(const absl::Status& status);

// Hears of a call, on the loop. May use the call and start others, and must not block.
class ResponseHandler {
 public:
  virtual ~ResponseHandler() = default;

  // The server has accepted the call. Not before a refusal without any message.
  virtual void OnAccepted(const Metadata& /*fields*/) {}
  // The bytes are valid during the call only.
  virtual void OnMessage(std::string_view message) = 0;
  // After a Send that returned false: there is room again.
  virtual void OnRoom() {}
  // The last; comes once for every call that was started before Channel::Close.
  virtual void OnDone(const absl::Status& status) = 0;
};

// Thread-safe. After the end of the call everything here does nothing.
class ClientCall {
 public:
  virtual ~ClientCall() = default;

  // Sends a message (protobuf's bytes). Never blocks: what does not leave yet is kept. False when
  // that is much already: then send no more before OnRoom.
  virtual bool Send(std::string message) = 0;
  // No more messages.
  virtual void HalfClose() = 0;
  // Ends the call with CANCELLED; the server is told.
  virtual void Cancel() = 0;
  // No OnMessage until Resume; the server is stopped by flow control. Pause is for OnMessage itself.
  virtual void Pause() = 0;
  virtual void Resume() = 0;
};

// Thread-safe.
class Channel {
 public:
  // `loop` outlives the channel's Close.
  static std::unique_ptr<Channel> Create(EventLoop& loop, ChannelOptions options);
  // Closes.
  virtual ~Channel() = default;

  // Never fails here; ResponseHandler::OnDone tells. Not null.
  virtual std::shared_ptr<ClientCall> Start(CallOptions call,
                                            std::shared_ptr<ResponseHandler> handler) = 0;

  // Ends all calls with CANCELLED, and the connections. When it returns no handler is called any
  // more. Idempotent. Not within a call of a handler.
  virtual void Close() = 0;
};

}  // namespace keelson::rpc

#endif  // KEELSON_BASE_RPC_CLIENT_H_
