// One call of a gRPC client, as the code that serves it sees it.
#ifndef KEELSON_BASE_RPC_CALL_H_
#define KEELSON_BASE_RPC_CALL_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace keelson::rpc {

// The way back to the client. Thread-safe. After the end of the call everything here does nothing.
class Call {
 public:
  virtual ~Call() = default;

  // The value of a header field of the request, by its lower-case name; "" when it has none.
  [[nodiscard]] virtual std::string_view Metadata(std::string_view name) const = 0;

  // The common name in the client's certificate, which has been verified; "" without one.
  [[nodiscard]] virtual std::string_view ClientCommonName() const { return ""; }

  // Sends a message (protobuf's bytes). Never blocks: what the client does not take yet is kept.
  // False when that is much already: then send no more before CallHandler::OnRoom.
  virtual bool Send(std::string message) = 0;

  // Ends the call after all messages. The first end counts.
  virtual void Finish(const absl::Status& status) = 0;
  // Send and Finish of an answer that is one message.
  virtual void Answer(std::string message) = 0;

  // No OnMessage until Resume. What the client sends meanwhile is kept, until flow control
  // stops it. Pause is for OnMessage itself; Resume for any thread.
  virtual void Pause() = 0;
  virtual void Resume() = 0;
};

// Serves one call. All of it runs on the thread of the call's connection, one at a time, and must
// not block.
class CallHandler {
 public:
  virtual ~CallHandler() = default;

  // The bytes are valid during the call only.
  virtual void OnMessage(std::string_view message) = 0;
  // The client has sent all.
  virtual void OnHalfClose() = 0;
  // After a Send that returned false: there is room again.
  virtual void OnRoom() {}
  // The call is over, whoever ended it. Nothing comes after this; the server lets go of the handler.
  virtual void OnDone() {}
};

// How a method is served.
struct Method {
  std::string path = {};  // "/etcdserverpb.KV/Range"
  // Makes the handler of a call. Null is not allowed.
  std::function<std::shared_ptr<CallHandler>(const std::shared_ptr<Call>&)> start = {};
  // May be null. The status is what the client was told, or would have been: CANCELLED when it went.
  std::function<void()> on_start = {};
  std::function<void(const absl::Status&)> on_end = {};
};

}  // namespace keelson::rpc

#endif  // KEELSON_BASE_RPC_CALL_H_
