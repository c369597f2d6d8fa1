// gRPC's standard reflection service, by which tools such as grpcurl learn a server's methods and
// messages from the server.
#ifndef KEELSON_BASE_RPC_REFLECTION_H_
#define KEELSON_BASE_RPC_REFLECTION_H_

#include <string>
#include <vector>

#include "base/rpc/server.h"

namespace keelson::rpc {

// Registers grpc.reflection.v1.ServerReflection and its v1alpha. `services` are the full names that are
// listed; their descriptors, as those of messages, are found among the protobuf code that is linked in.
void RegisterReflectionService(Server* server, std::vector<std::string> services);

}  // namespace keelson::rpc

#endif  // KEELSON_BASE_RPC_REFLECTION_H_
