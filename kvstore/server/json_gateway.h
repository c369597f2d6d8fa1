// etcd's JSON gateway: the calls of the gRPC API as HTTP POSTs with JSON bodies, under /v3,
// /v3beta and /v3alpha.
//
//   curl http://127.0.0.1:2379/v3/kv/range -d '{"key": "Zm9v"}'
//
// A call comes to the same handler whether it is made by gRPC or here, and so has the same
// checks, rights (the token is in the field Authorization) and errors.
//
// Source: reference kvstore.md section 14; protobuf's JSON mapping.
#ifndef KEELSON_KVSTORE_SERVER_JSON_GATEWAY_H_
#define KEELSON_KVSTORE_SERVER_JSON_GATEWAY_H_

#include "base/executor.h"
#include "base/http/router.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {

// Adds the paths of what `server` serves. Handlers of calls run on `executor`, one at a time, and
// never block it. Both are borrowed and outlive `router`. At most `max_calls` run at the same time,
// the others wait.
void AddJsonGateway(http::Router& router, Server* server, Executor* executor, uint64_t max_calls);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_JSON_GATEWAY_H_
