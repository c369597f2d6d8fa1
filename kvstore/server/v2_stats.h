// /v2/stats of etcd's version 2 API.
#ifndef KEELSON_KVSTORE_SERVER_V2_STATS_H_
#define KEELSON_KVSTORE_SERVER_V2_STATS_H_

#include "base/clock.h"
#include "base/http/router.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {

// Adds the handlers to `router`. `server` and `clock` are borrowed and outlive it.
void AddV2Stats(http::Router& router, Server* server, Clock* clock);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_V2_STATS_H_
