// Methods with one protobuf message each way.
//
//   server->Register({.path = "/etcdserverpb.KV/Put",
//                     .start = rpc::Unary<PutRequest, PutResponse>(
//                         [](const rpc::Call&, const PutRequest& request, PutResponse* response,
//                            rpc::Done done) { ...; done(absl::OkStatus()); })});
#ifndef KEELSON_BASE_RPC_UNARY_H_
#define KEELSON_BASE_RPC_UNARY_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/rpc/call.h"

namespace keelson::rpc {

// Ends a unary call: with the response when it is OK. Call it once, on any thread, also later.
using Done = std::function<void(const absl::Status&)>;

// Request and response live until `done` has been called and let go.
template <typename Request, typename Response>
using ServeUnary = std::function<void(const Call&, const Request&, Response*, Done)>;

template <typename Request, typename Response>
class UnaryHandler final : public CallHandler,
                           public std::enable_shared_from_this<UnaryHandler<Request, Response>> {
 public:
  using Serve = ServeUnary<Request, Response>;

  UnaryHandler(std::shared_ptr<Call> call, std::shared_ptr<const Serve> serve)
      : call_(std::move(call)), serve_(std::move(serve)) {}

  void OnMessage(std::string_view message) override {
    if (state_ != State::kEmpty) return Refuse("a unary call has one message");
    if (!request_.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      return Refuse("the request cannot be decoded");
    }
    state_ = State::kReceived;
  }

  void OnHalfClose() override {
    if (state_ == State::kEmpty) return Refuse("a unary call has one message");
    if (state_ != State::kReceived) return;
    (*serve_)(*call_, request_, &response_,
              [self = this->shared_from_this()](const absl::Status& status) {
                if (!status.ok()) return self->call_->Finish(status);
                self->call_->Answer(self->response_.SerializeAsString());
              });
  }

 private:
  enum class State { kEmpty, kReceived, kRefused };

  void Refuse(std::string_view why) {
    state_ = State::kRefused;
    call_->Finish(absl::InternalError(std::string(why)));
  }

  const std::shared_ptr<Call> call_;
  const std::shared_ptr<const Serve> serve_;
  State state_ = State::kEmpty;
  Request request_;
  Response response_;
};

template <typename Request, typename Response>
std::function<std::shared_ptr<CallHandler>(const std::shared_ptr<Call>&)> Unary(
    ServeUnary<Request, Response> serve) {
  using Handler = UnaryHandler<Request, Response>;
  auto shared = std::make_shared<const ServeUnary<Request, Response>>(std::move(serve));
  return [shared](const std::shared_ptr<Call>& call) {
    return std::make_shared<Handler>(call, shared);
  };
}

}  // namespace keelson::rpc

#endif  // KEELSON_BASE_RPC_UNARY_H_
