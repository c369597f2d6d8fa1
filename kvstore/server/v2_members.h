// /v2/members and /v2/machines: the membership in version 2's form, and its changes.
#ifndef KEELSON_KVSTORE_SERVER_V2_MEMBERS_H_
#define KEELSON_KVSTORE_SERVER_V2_MEMBERS_H_

#include <memory>

#include "base/http/router.h"
#include "kvstore/server/server.h"
#include "kvstore/server/v2_access.h"

namespace keelson::kvstore {

// `server` is borrowed and outlives the router's use.
void AddV2Members(http::Router& router, Server* server, const std::shared_ptr<V2Access>& access);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_V2_MEMBERS_H_
