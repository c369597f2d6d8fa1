#include "base/rpc/health.h"

#include <memory>
#include <string_view>
#include <utility>

#include "base/rpc/health.pb.h"
#include "base/rpc/unary.h"

namespace keelson::rpc {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// Says once what will not change, and then stays until the client goes.
class WatchHandler final : public CallHandler {
 public:
  explicit WatchHandler(std::shared_ptr<Call> call) : call_(std::move(call)) {}

  void OnMessage(std::string_view message) override {
    HealthCheckRequest request;
    if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      return call_->Finish(absl::InternalError("the request cannot be decoded"));
    }
    HealthCheckResponse response;
    response.set_status(request.service().empty() ? HealthCheckResponse::SERVING
                                                  : HealthCheckResponse::SERVICE_UNKNOWN);
    (void)call_->Send(response.SerializeAsString());
  }
  void OnHalfClose() override {}

 private:
  const std::shared_ptr<Call> call_;
};

}  // namespace

void RegisterHealthService(Server* server) {
  server->Register({.path = "/grpc.health.v1.Health/Check",
                    .start = Unary<HealthCheckRequest, HealthCheckResponse>(
                        [](const Call&, const HealthCheckRequest& request,
                           HealthCheckResponse* response, const Done& done) {
                          if (!request.service().empty())
                            return done(absl::NotFoundError("unknown service"));
                          response->set_status(HealthCheckResponse::SERVING);
                          done(absl::OkStatus());
                        })});
  server->Register(
      {.path = "/grpc.health.v1.Health/Watch", .start = [](const std::shared_ptr<Call>& call) {
         return std::make_shared<WatchHandler>(call);
       }});
}

}  // namespace keelson::rpc
