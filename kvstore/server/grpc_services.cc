#include "kvstore/server/grpc_services.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>

#include "base/rpc/health.h"
#include "base/rpc/reflection.h"
#include "kvstore/auth/rights.h"
#include "kvstore/server/auth_service.h"
#include "kvstore/server/coordination_service.h"
#include "kvstore/server/lease_service.h"
#include "kvstore/server/maintenance_service.h"
#include "kvstore/server/range_stream.h"
#include "kvstore/server/service_support.h"
#include "kvstore/server/watch_service.h"

namespace keelson::kvstore {

rpc::ServerOptions RpcOptions(const GrpcLimits& limits) {
  // What etcd allows above the request itself (kvstore.md 1.4).
  constexpr uint64_t kGrpcOverhead = 512 << 10;
  rpc::ServerOptions options;
  options.max_request_bytes = limits.max_request_bytes + kGrpcOverhead;
  options.max_concurrent_streams = static_cast<uint32_t>(
      std::min<uint64_t>(limits.max_concurrent_streams, std::numeric_limits<uint32_t>::max()));
  options.ping_interval_min = limits.keepalive_min_time;
  options.keepalive_interval = limits.keepalive_interval;
  options.keepalive_timeout = limits.keepalive_timeout;
  return options;
}

void RegisterGrpcServices(rpc::Server* rpc, Server* server, MetricRegistry* metrics) {
  using namespace etcdserverpb;
  rpc::RegisterHealthService(rpc);

  MethodRegistrar kv(rpc, server, metrics, "etcdserverpb.KV");
  kv.Unary("Range", &Server::EncodeRange, ValidateRange);
  kv.ServerStream("RangeStream", [server](const std::shared_ptr<rpc::Call>& call) {
    return StartRangeStream(server, call);
  });
  kv.Unary("Put", &Server::Put, ValidatePut);
  kv.Unary("DeleteRange", &Server::DeleteRange, ValidateDeleteRange);
  kv.Unary("Txn", &Server::Txn, [server](const TxnRequest& request) {
    return ValidateTxn(request, server->options().max_txn_ops);
  });
  kv.Unary("Compact", &Server::Compact);

  MethodRegistrar watch(rpc, server, metrics, "etcdserverpb.Watch");
  watch.Stream("Watch", [server](const std::shared_ptr<rpc::Call>& call) {
    return StartWatch(server, call);
  });

  RegisterLeaseService(rpc, server, metrics);
  RegisterAuthService(rpc, server, metrics);
  RegisterCoordinationServices(rpc, server, metrics);

  MethodRegistrar cluster(rpc, server, metrics, "etcdserverpb.Cluster");
  cluster.Unary("MemberList", &Server::MemberList);
  cluster.Unary("MemberAdd", &Server::MemberAdd);
  cluster.Unary("MemberRemove", &Server::MemberRemove);
  cluster.Unary("MemberUpdate", &Server::MemberUpdate);
  cluster.Unary("MemberPromote", &Server::MemberPromote);

  MethodRegistrar maintenance(rpc, server, metrics, "etcdserverpb.Maintenance");
  maintenance.Unary<StatusRequest, StatusResponse>(
      "Status",
      [](Server* served, const StatusRequest&, StatusResponse* response, const rpc::Done& done) {
        served->GetStatus(response);
        done(absl::OkStatus());
      });

  maintenance.Unary("MoveLeader", &Server::MoveLeader);
  RegisterMaintenance(maintenance, server);

  metrics->SetCallbackCounter(
      "etcd_network_client_grpc_received_bytes_total", "Bytes of messages received from clients.",
      {}, [rpc] { return static_cast<double>(rpc->Stats().received_bytes_total); });
  metrics->SetCallbackCounter("etcd_network_client_grpc_sent_bytes_total",
                              "Bytes of messages sent to clients.", {},
                              [rpc] { return static_cast<double>(rpc->Stats().sent_bytes_total); });
}

void RegisterReflection(rpc::Server* rpc) {
  std::set<std::string> services = {"grpc.health.v1.Health"};
  for (const auth::Rule& rule : auth::Rules()) services.emplace(rule.service);
  rpc::RegisterReflectionService(rpc, {services.begin(), services.end()});
}

}  // namespace keelson::kvstore
