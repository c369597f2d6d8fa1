#include "kvstore/server/lease_service.h"

#include <memory>
#include <utility>

#include "kvstore/errors.h"

namespace keelson::kvstore {
namespace {

using etcdserverpb::LeaseKeepAliveRequest;
using etcdserverpb::LeaseKeepAliveResponse;

constexpr char kService[] = "etcdserverpb.Lease";

// One client's stream: read a request, serve it, write its answer, read the next. Owns itself
// from Start until OnDone.
class KeepAliveReactor final
    : public grpc::ServerBidiReactor<LeaseKeepAliveRequest, LeaseKeepAliveResponse>,
      public std::enable_shared_from_this<KeepAliveReactor> {
 public:
  KeepAliveReactor(Server* server, grpc::CallbackServerContext* context, MethodMetrics* metrics)
      : server_(server), context_(context), metrics_(metrics) {}

  void Start() {
    metrics_->Started();
    self_ = shared_from_this();
    if (RequiresLeader(*context_)) {
      monitor_id_ = server_->leader_monitor().Add([weak = weak_from_this()] {
        if (const auto self = weak.lock()) {
          self->FinishWith(self->end_.End(ToGrpc(errors::NoLeader())));
        }
      });
      if (!server_->HasLeader()) return FinishWith(end_.End(ToGrpc(errors::NoLeader())));
    }
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return FinishWith(end_.End(grpc::Status::OK));
    if (!end_.Begin()) return;
    response_.Clear();
    server_->LeaseKeepAlive(request_, false, &response_, [this](const absl::Status& status) {
      if (status.ok()) return StartWrite(&response_);
      // Only once the work is over may the stream end.
      FinishAfterWork(end_.End(ToGrpc(status)));
    });
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return FinishAfterWork(end_.End(grpc::Status::CANCELLED));
    if (std::optional<grpc::Status> status = end_.Idle()) return FinishWith(std::move(status));
    StartRead(&request_);
  }

  void OnCancel() override { FinishWith(end_.End(grpc::Status::CANCELLED)); }

  void OnDone() override {
    if (monitor_id_ != 0) server_->leader_monitor().Remove(monitor_id_);
    self_.reset();
  }

 private:
  void FinishAfterWork(std::optional<grpc::Status> now) {
    FinishWith(now.has_value() ? std::move(now) : end_.Idle());
  }
  void FinishWith(std::optional<grpc::Status> status) {
    if (!status.has_value()) return;
    metrics_->Handled(status->error_code());
    Finish(*status);
  }

  Server* const server_;
  grpc::CallbackServerContext* const context_;
  MethodMetrics* const metrics_;
  std::shared_ptr<KeepAliveReactor> self_;
  uint64_t monitor_id_ = 0;
  StreamEnd end_;
  LeaseKeepAliveRequest request_;
  LeaseKeepAliveResponse response_;
};

}  // namespace

LeaseService::LeaseService(Server* server, MetricRegistry* metrics)
    : server_(server),
      grant_(metrics, "unary", kService, "LeaseGrant"),
      revoke_(metrics, "unary", kService, "LeaseRevoke"),
      time_to_live_(metrics, "unary", kService, "LeaseTimeToLive"),
      leases_(metrics, "unary", kService, "LeaseLeases"),
      keep_alive_(metrics, "bidi_stream", kService, "LeaseKeepAlive") {}

grpc::ServerUnaryReactor* LeaseService::LeaseGrant(grpc::CallbackServerContext* context,
                                                   const etcdserverpb::LeaseGrantRequest* request,
                                                   etcdserverpb::LeaseGrantResponse* response) {
  return ServeUnary(context, *server_, grant_, [&](const Server::Done& done) {
    server_->LeaseGrant(*request, response, done);
  });
}

grpc::ServerUnaryReactor* LeaseService::LeaseRevoke(grpc::CallbackServerContext* context,
                                                    const etcdserverpb::LeaseRevokeRequest* request,
                                                    etcdserverpb::LeaseRevokeResponse* response) {
  return ServeUnary(context, *server_, revoke_, [&](const Server::Done& done) {
    server_->LeaseRevoke(*request, response, done);
  });
}

grpc::ServerUnaryReactor* LeaseService::LeaseTimeToLive(
    grpc::CallbackServerContext* context, const etcdserverpb::LeaseTimeToLiveRequest* request,
    etcdserverpb::LeaseTimeToLiveResponse* response) {
  return ServeUnary(context, *server_, time_to_live_, [&](const Server::Done& done) {
    server_->LeaseTimeToLive(*request, false, response, done);
  });
}

grpc::ServerUnaryReactor* LeaseService::LeaseLeases(grpc::CallbackServerContext* context,
                                                    const etcdserverpb::LeaseLeasesRequest*,
                                                    etcdserverpb::LeaseLeasesResponse* response) {
  return ServeUnary(context, *server_, leases_, [&](const Server::Done& done) {
    server_->LeaseLeases(response);
    done(absl::OkStatus());
  });
}

grpc::ServerBidiReactor<LeaseKeepAliveRequest, LeaseKeepAliveResponse>*
LeaseService::LeaseKeepAlive(grpc::CallbackServerContext* context) {
  const auto reactor = std::make_shared<KeepAliveReactor>(server_, context, &keep_alive_);
  reactor->Start();
  return reactor.get();
}

}  // namespace keelson::kvstore
