#include "kvstore/server/grpc_services.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <limits>

#include "kvstore/api/services.grpc.pb.h"
#include "kvstore/server/lease_service.h"
#include "kvstore/server/rpc_support.h"
#include "kvstore/server/server.h"
#include "kvstore/server/watch_service.h"

namespace keelson::kvstore {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

class KvService final : public etcdserverpb::KV::CallbackService {
 public:
  KvService(Server* server, MetricRegistry* metrics)
      : server_(server),
        range_(metrics, "unary", "etcdserverpb.KV", "Range"),
        put_(metrics, "unary", "etcdserverpb.KV", "Put"),
        delete_range_(metrics, "unary", "etcdserverpb.KV", "DeleteRange"),
        txn_(metrics, "unary", "etcdserverpb.KV", "Txn"),
        compact_(metrics, "unary", "etcdserverpb.KV", "Compact") {}

  ServerUnaryReactor* Range(CallbackServerContext* context,
                            const etcdserverpb::RangeRequest* request,
                            etcdserverpb::RangeResponse* response) override {
    return ServeUnary(context, *server_, range_,
                      [&](const Server::Done& done) { server_->Range(*request, response, done); });
  }
  ServerUnaryReactor* Put(CallbackServerContext* context, const etcdserverpb::PutRequest* request,
                          etcdserverpb::PutResponse* response) override {
    return ServeUnary(context, *server_, put_,
                      [&](const Server::Done& done) { server_->Put(*request, response, done); });
  }
  ServerUnaryReactor* DeleteRange(CallbackServerContext* context,
                                  const etcdserverpb::DeleteRangeRequest* request,
                                  etcdserverpb::DeleteRangeResponse* response) override {
    return ServeUnary(context, *server_, delete_range_, [&](const Server::Done& done) {
      server_->DeleteRange(*request, response, done);
    });
  }
  ServerUnaryReactor* Txn(CallbackServerContext* context, const etcdserverpb::TxnRequest* request,
                          etcdserverpb::TxnResponse* response) override {
    return ServeUnary(context, *server_, txn_,
                      [&](const Server::Done& done) { server_->Txn(*request, response, done); });
  }
  ServerUnaryReactor* Compact(CallbackServerContext* context,
                              const etcdserverpb::CompactionRequest* request,
                              etcdserverpb::CompactionResponse* response) override {
    return ServeUnary(context, *server_, compact_, [&](const Server::Done& done) {
      server_->Compact(*request, response, done);
    });
  }

 private:
  Server* const server_;
  MethodMetrics range_;
  MethodMetrics put_;
  MethodMetrics delete_range_;
  MethodMetrics txn_;
  MethodMetrics compact_;
};

class ClusterService final : public etcdserverpb::Cluster::CallbackService {
 public:
  ClusterService(Server* server, MetricRegistry* metrics)
      : server_(server), member_list_(metrics, "unary", "etcdserverpb.Cluster", "MemberList") {}

  ServerUnaryReactor* MemberList(CallbackServerContext* context,
                                 const etcdserverpb::MemberListRequest* request,
                                 etcdserverpb::MemberListResponse* response) override {
    return ServeUnary(context, *server_, member_list_, [&](const Server::Done& done) {
      server_->MemberList(*request, response, done);
    });
  }

 private:
  Server* const server_;
  MethodMetrics member_list_;
};

class MaintenanceService final : public etcdserverpb::Maintenance::CallbackService {
 public:
  MaintenanceService(Server* server, MetricRegistry* metrics)
      : server_(server), status_(metrics, "unary", "etcdserverpb.Maintenance", "Status") {}

  ServerUnaryReactor* Status(CallbackServerContext* context, const etcdserverpb::StatusRequest*,
                             etcdserverpb::StatusResponse* response) override {
    return ServeUnary(context, *server_, status_, [&](const Server::Done& done) {
      server_->GetStatus(response);
      done(absl::OkStatus());
    });
  }

 private:
  Server* const server_;
  MethodMetrics status_;
};

int Milliseconds(absl::Duration time) {
  return static_cast<int>(
      std::min<int64_t>(absl::ToInt64Milliseconds(time), std::numeric_limits<int>::max()));
}

}  // namespace

struct GrpcServices::Services {
  Services(Server* server, MetricRegistry* metrics)
      : kv(server, metrics),
        watch(server, metrics),
        lease(server, metrics),
        cluster(server, metrics),
        maintenance(server, metrics) {}

  KvService kv;
  WatchService watch;
  LeaseService lease;
  ClusterService cluster;
  MaintenanceService maintenance;
};

GrpcServices::GrpcServices(Server* server, MetricRegistry* metrics)
    : services_(std::make_unique<Services>(server, metrics)) {}

GrpcServices::~GrpcServices() = default;

void GrpcServices::RegisterOn(grpc::ServerBuilder& builder, const Limits& limits) {
  grpc::EnableDefaultHealthCheckService(true);
  builder.RegisterService(&services_->kv);
  builder.RegisterService(&services_->watch);
  builder.RegisterService(&services_->lease);
  builder.RegisterService(&services_->cluster);
  builder.RegisterService(&services_->maintenance);

  // What etcd allows above the request itself (kvstore.md 1.4).
  constexpr uint64_t kGrpcOverhead = 512 << 10;
  builder.SetMaxReceiveMessageSize(static_cast<int>(limits.max_request_bytes + kGrpcOverhead));
  builder.SetMaxSendMessageSize(std::numeric_limits<int>::max());
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 16 << 10);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             static_cast<int>(std::min<uint64_t>(limits.max_concurrent_streams,
                                                                 std::numeric_limits<int>::max())));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             Milliseconds(limits.keepalive_min_time));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
  if (limits.keepalive_interval > absl::ZeroDuration()) {
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(limits.keepalive_interval));
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                               Milliseconds(limits.keepalive_timeout));
  }
}

}  // namespace keelson::kvstore
