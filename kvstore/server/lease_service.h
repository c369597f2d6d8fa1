// etcd's Lease service. For grpc_services.cc.
#ifndef KEELSON_KVSTORE_SERVER_LEASE_SERVICE_H_
#define KEELSON_KVSTORE_SERVER_LEASE_SERVICE_H_

#include "kvstore/api/services.grpc.pb.h"
#include "kvstore/server/rpc_support.h"

namespace keelson::kvstore {

class LeaseService final : public etcdserverpb::Lease::CallbackService {
 public:
  LeaseService(Server* server, MetricRegistry* metrics);

  grpc::ServerUnaryReactor* LeaseGrant(grpc::CallbackServerContext* context,
                                       const etcdserverpb::LeaseGrantRequest* request,
                                       etcdserverpb::LeaseGrantResponse* response) override;
  grpc::ServerUnaryReactor* LeaseRevoke(grpc::CallbackServerContext* context,
                                        const etcdserverpb::LeaseRevokeRequest* request,
                                        etcdserverpb::LeaseRevokeResponse* response) override;
  grpc::ServerUnaryReactor* LeaseTimeToLive(
      grpc::CallbackServerContext* context, const etcdserverpb::LeaseTimeToLiveRequest* request,
      etcdserverpb::LeaseTimeToLiveResponse* response) override;
  grpc::ServerUnaryReactor* LeaseLeases(grpc::CallbackServerContext* context,
                                        const etcdserverpb::LeaseLeasesRequest* request,
                                        etcdserverpb::LeaseLeasesResponse* response) override;
  grpc::ServerBidiReactor<etcdserverpb::LeaseKeepAliveRequest,
                          etcdserverpb::LeaseKeepAliveResponse>*
  LeaseKeepAlive(grpc::CallbackServerContext* context) override;

 private:
  Server* const server_;
  MethodMetrics grant_;
  MethodMetrics revoke_;
  MethodMetrics time_to_live_;
  MethodMetrics leases_;
  MethodMetrics keep_alive_;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_LEASE_SERVICE_H_
