// etcd's lock and election services. For grpc_services.cc.
#ifndef KEELSON_KVSTORE_SERVER_COORDINATION_SERVICE_H_
#define KEELSON_KVSTORE_SERVER_COORDINATION_SERVICE_H_

#include "base/metrics.h"
#include "base/rpc/server.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {

// v3lockpb.Lock and v3electionpb.Election. All are borrowed and outlive `rpc`.
void RegisterCoordinationServices(rpc::Server* rpc, Server* server, MetricRegistry* metrics);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_COORDINATION_SERVICE_H_
