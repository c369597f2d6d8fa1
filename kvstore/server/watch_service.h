// etcd's Watch service. For grpc_services.cc.
#ifndef KEELSON_KVSTORE_SERVER_WATCH_SERVICE_H_
#define KEELSON_KVSTORE_SERVER_WATCH_SERVICE_H_

#include "kvstore/api/services.grpc.pb.h"
#include "kvstore/server/rpc_support.h"

namespace keelson::kvstore {

// Requests and responses are handled as bytes: the hub has encoded the latter already.
class WatchService final
    : public etcdserverpb::Watch::WithRawCallbackMethod_Watch<etcdserverpb::Watch::Service> {
 public:
  WatchService(Server* server, MetricRegistry* metrics);

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Watch(
      grpc::CallbackServerContext* context) override;

 private:
  Server* const server_;
  MethodMetrics metrics_;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_WATCH_SERVICE_H_
