// What a member answers over HTTP on the peer port, as etcd does there (kvstore.md section 21).
#ifndef KEELSON_KVSTORE_SERVER_PEER_ENDPOINTS_H_
#define KEELSON_KVSTORE_SERVER_PEER_ENDPOINTS_H_

#include "base/http/router.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {

// GET /members and /version. `server` is borrowed and outlives the router's use.
void AddPeerEndpoints(http::Router& router, Server* server);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_PEER_ENDPOINTS_H_
