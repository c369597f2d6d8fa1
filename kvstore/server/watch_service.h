// etcd's Watch service. For grpc_services.cc.
#ifndef KEELSON_KVSTORE_SERVER_WATCH_SERVICE_H_
#define KEELSON_KVSTORE_SERVER_WATCH_SERVICE_H_

#include <memory>

#include "base/rpc/call.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {

// Serves one stream of watches. `server` is borrowed.
std::shared_ptr<rpc::CallHandler> StartWatch(Server* server,
                                             const std::shared_ptr<rpc::Call>& call);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_WATCH_SERVICE_H_
