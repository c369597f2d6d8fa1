// etcd's Auth service. For grpc_services.cc.
#ifndef KEELSON_KVSTORE_SERVER_AUTH_SERVICE_H_
#define KEELSON_KVSTORE_SERVER_AUTH_SERVICE_H_

#include "base/metrics.h"
#include "base/rpc/server.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {

// All are borrowed; `server` and `metrics` outlive `rpc`.
void RegisterAuthService(rpc::Server* rpc, Server* server, MetricRegistry* metrics);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_AUTH_SERVICE_H_
