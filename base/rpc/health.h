// gRPC's standard health service: a server that answers is serving.
#ifndef KEELSON_BASE_RPC_HEALTH_H_
#define KEELSON_BASE_RPC_HEALTH_H_

#include "base/rpc/server.h"

namespace keelson::rpc {

// Registers grpc.health.v1.Health. It knows the server as a whole ("") and no single services.
void RegisterHealthService(Server* server);

}  // namespace keelson::rpc

#endif  // KEELSON_BASE_RPC_HEALTH_H_
