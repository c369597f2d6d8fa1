// etcd's gRPC services over a Server: KV, Watch, Lease, Cluster, Maintenance.
//
//   GrpcServices services(&server, &metrics);
//   grpc::ServerBuilder builder;
//   services.RegisterOn(builder, {.max_request_bytes = ...});
//
// What etcd has beyond these answers UNIMPLEMENTED, as gRPC does by itself.
#ifndef KEELSON_KVSTORE_SERVER_GRPC_SERVICES_H_
#define KEELSON_KVSTORE_SERVER_GRPC_SERVICES_H_

#include <cstdint>
#include <memory>

#include "absl/time/time.h"

namespace grpc {
class ServerBuilder;
}
namespace keelson {
class MetricRegistry;
}

namespace keelson::kvstore {

class Server;

class GrpcServices {
 public:
  struct Limits {
    uint64_t max_request_bytes = 1572864;
    uint64_t max_concurrent_streams = 4294967295;
    absl::Duration keepalive_min_time = absl::Seconds(5);
    absl::Duration keepalive_interval = absl::Hours(2);  // 0: off
    absl::Duration keepalive_timeout = absl::Seconds(20);
  };

  // Both are borrowed and outlive the gRPC server.
  GrpcServices(Server* server, MetricRegistry* metrics);
  ~GrpcServices();

  // Adds the services, the health service (grpc.health.v1) and the limits.
  void RegisterOn(grpc::ServerBuilder& builder, const Limits& limits);

 private:
  struct Services;
  const std::unique_ptr<Services> services_;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_GRPC_SERVICES_H_
