// etcd's version 2 API over HTTP (kvstore.md section 15): /v2/keys, /v2/auth, /v2/members,
// /v2/machines and /v2/stats.
#ifndef KEELSON_KVSTORE_SERVER_V2_ENDPOINTS_H_
#define KEELSON_KVSTORE_SERVER_V2_ENDPOINTS_H_

#include "base/clock.h"
#include "base/http/router.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {

// Adds the handlers to `router`. `server` and `clock` are borrowed and outlive it.
void AddV2Endpoints(http::Router& router, Server* server, Clock* clock);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_V2_ENDPOINTS_H_
