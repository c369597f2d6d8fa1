// etcd's gRPC services over a Server: KV, Watch, Lease, Cluster, Maintenance.
//
//   auto rpc = rpc::Server::Create(RpcOptions({.max_request_bytes = ...}));
//   RegisterGrpcServices(rpc.get(), &server, &metrics);
//   rpc->Start();
//
// What etcd has beyond these answers UNIMPLEMENTED.
#ifndef KEELSON_KVSTORE_SERVER_GRPC_SERVICES_H_
#define KEELSON_KVSTORE_SERVER_GRPC_SERVICES_H_

#include <cstdint>

#include "absl/time/time.h"
#include "base/metrics.h"
#include "base/rpc/server.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {

// As etcd's flags.
struct GrpcLimits {
  uint64_t max_request_bytes = 1572864;
  uint64_t max_concurrent_streams = 4294967295;
  absl::Duration keepalive_min_time = absl::Seconds(5);
  absl::Duration keepalive_interval = absl::Hours(2);  // 0: off
  absl::Duration keepalive_timeout = absl::Seconds(20);
};

// The options of a server for these services; TLS is added by the caller.
rpc::ServerOptions RpcOptions(const GrpcLimits& limits);

// Adds the services, the health service (grpc.health.v1) and metrics of their calls. Everything
// is borrowed; `server` and `metrics` outlive `rpc`.
void RegisterGrpcServices(rpc::Server* rpc, Server* server, MetricRegistry* metrics);

// Tells clients of all that, by gRPC's reflection service. Before it starts.
void RegisterReflection(rpc::Server* rpc);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_GRPC_SERVICES_H_
