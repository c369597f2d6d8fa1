// The part of etcd's Maintenance service that works on the whole store. For grpc_services.cc.
#ifndef KEELSON_KVSTORE_SERVER_MAINTENANCE_SERVICE_H_
#define KEELSON_KVSTORE_SERVER_MAINTENANCE_SERVICE_H_

#include "kvstore/server/service_support.h"

namespace keelson::kvstore {

// Alarm, Hash, HashKV, Downgrade and Snapshot. `server` is borrowed.
void RegisterMaintenance(MethodRegistrar& maintenance, Server* server);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_MAINTENANCE_SERVICE_H_
