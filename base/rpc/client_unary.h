// Calls with one protobuf message each way.
//
//   rpc::CallUnary<EchoMessage>(*channel, {.path = "/echo.Echo/Say", .timeout = absl::Seconds(1)},
//                               request, [](absl::StatusOr<EchoMessage> answer) { ... });
#ifndef KEELSON_BASE_RPC_CLIENT_UNARY_H_
#define KEELSON_BASE_RPC_CLIENT_UNARY_H_

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/rpc/client.h"

namespace keelson::rpc {

template <typename Response>
class UnaryResponse final : public ResponseHandler {
 public:
  using Done = std::function<void(absl::StatusOr<Response>)>;
  explicit UnaryResponse(Done done) : done_(std::move(done)) {}

  void OnMessage(std::string_view message) override {
    if (response_.has_value() || !error_.ok()) {
      error_ = absl::InternalError("more than one message in a unary response");
      return;
    }
    response_.emplace();
    if (!response_->ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      error_ = absl::InternalError("the response cannot be decoded");
    }
  }
  void OnDone(const absl::Status& status) override {
    if (!status.ok()) return done_(status);
    if (!error_.ok()) return done_(error_);
    if (!response_.has_value()) return done_(absl::InternalError("no message in the response"));
    done_(*std::move(response_));
  }

 private:
  const Done done_;
  std::optional<Response> response_;
  absl::Status error_;
};

// `done` runs once, on the channel's loop.
template <typename Response, typename Request>
std::shared_ptr<ClientCall> CallUnary(Channel& channel, const CallOptions& options,
                                      const Request& request,
                                      typename UnaryResponse<Response>::Done done) {
  auto call = channel.Start(options, std::make_shared<UnaryResponse<Response>>(std::move(done)));
  (void)call->Send(request.SerializeAsString());
  call->HalfClose();
  return call;
}

}  // namespace keelson::rpc

#endif  // KEELSON_BASE_RPC_CLIENT_UNARY_H_
