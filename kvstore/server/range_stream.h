// etcdserverpb.KV/RangeStream: a range of any size in constant memory.
#ifndef KEELSON_KVSTORE_SERVER_RANGE_STREAM_H_
#define KEELSON_KVSTORE_SERVER_RANGE_STREAM_H_

#include <memory>

#include "base/rpc/call.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {

// Serves a call. `server` is borrowed.
std::shared_ptr<rpc::CallHandler> StartRangeStream(Server* server,
                                                   const std::shared_ptr<rpc::Call>& call);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_RANGE_STREAM_H_
