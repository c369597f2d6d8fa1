#include "kvstore/server/lease_service.h"

#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "kvstore/server/service_support.h"

namespace keelson::kvstore {
namespace {

using etcdserverpb::LeaseKeepAliveRequest;
using etcdserverpb::LeaseKeepAliveResponse;

// One client's stream: serves a request and sends its answer before it looks at the next.
class KeepAliveHandler final : public rpc::CallHandler,
                               public std::enable_shared_from_this<KeepAliveHandler> {
 public:
  KeepAliveHandler(Server* server, std::shared_ptr<rpc::Call> call)
      : server_(server), call_(std::move(call)) {}

  void Start() { leader_requirement_.emplace(server_, call_); }

  void OnMessage(std::string_view message) override {
    if (!request_.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      return call_->Finish(absl::InternalError("a keep-alive request cannot be decoded"));
    }
    const absl::StatusOr<Origin> who = IdentifyCaller(server_, *call_, auth::Right::kUser);
    if (!who.ok()) return call_->Finish(who.status());
    const absl::Status allowed = server_->CheckLeaseKeys(request_.id(), *who, auth::Access::kWrite);
    if (!allowed.ok()) return call_->Finish(allowed);
    call_->Pause();
    response_.Clear();
    server_->LeaseKeepAlive(
        request_, false, &response_,
        [self = shared_from_this()](const absl::Status& status) { self->OnServed(status); });
  }

  void OnHalfClose() override { call_->Finish(absl::OkStatus()); }
  void OnRoom() override { call_->Resume(); }

  void OnDone() override { leader_requirement_.reset(); }

 private:
  void OnServed(const absl::Status& status) {
    if (!status.ok()) return call_->Finish(status);
    if (call_->Send(response_.SerializeAsString())) call_->Resume();
  }

  Server* const server_;
  const std::shared_ptr<rpc::Call> call_;
  std::optional<LeaderRequirement> leader_requirement_;  // until OnDone
  LeaseKeepAliveRequest request_;                        // of the request that is being served
  LeaseKeepAliveResponse response_;                      // as above
};

}  // namespace

void RegisterLeaseService(rpc::Server* rpc, Server* server, MetricRegistry* metrics) {
  using namespace etcdserverpb;
  MethodRegistrar lease(rpc, server, metrics, "etcdserverpb.Lease");
  lease.Unary("LeaseGrant", &Server::LeaseGrant);
  lease.Unary("LeaseRevoke", &Server::LeaseRevoke);
  lease.Unary<LeaseTimeToLiveRequest, LeaseTimeToLiveResponse>(
      "LeaseTimeToLive",
      [](Server* served, const Origin& who, const LeaseTimeToLiveRequest& request,
         LeaseTimeToLiveResponse* response, rpc::Done done) {
        absl::Status allowed = served->CheckRight(auth::Right::kUser, who);
        if (allowed.ok() && request.keys()) {
          allowed = served->CheckLeaseKeys(request.id(), who, auth::Access::kRead);
        }
        if (!allowed.ok()) return done(allowed);
        served->LeaseTimeToLive(request, false, response, std::move(done));
      });
  lease.Unary<LeaseLeasesRequest, LeaseLeasesResponse>(
      "LeaseLeases", [](Server* served, const Origin& who, const LeaseLeasesRequest&,
                        LeaseLeasesResponse* response,
                        const rpc::Done& done) { done(served->LeaseLeases(who, response)); });
  lease.Stream("LeaseKeepAlive", [server](const std::shared_ptr<rpc::Call>& call) {
    auto handler = std::make_shared<KeepAliveHandler>(server, call);
    handler->Start();
    return handler;
  });
}

}  // namespace keelson::kvstore
