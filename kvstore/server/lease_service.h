// etcd's Lease service. For grpc_services.cc.
#ifndef KEELSON_KVSTORE_SERVER_LEASE_SERVICE_H_
#define KEELSON_KVSTORE_SERVER_LEASE_SERVICE_H_

#include "base/metrics.h"
#include "base/rpc/server.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {

// As GrpcServices::RegisterOn.
void RegisterLeaseService(rpc::Server* rpc, Server* server, MetricRegistry* metrics);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_LEASE_SERVICE_H_
