// /v2/auth: users, roles, and turning authentication on, as etcd 3.4 has them (kvstore.md 15.16).
#ifndef KEELSON_KVSTORE_SERVER_V2_AUTH_H_
#define KEELSON_KVSTORE_SERVER_V2_AUTH_H_

#include <memory>

#include "base/clock.h"
#include "base/http/router.h"
#include "kvstore/server/server.h"
#include "kvstore/server/v2_access.h"

namespace keelson::kvstore {

// `server` and `clock` are borrowed and outlive `router`.
void AddV2Auth(http::Router& router, Server* server, Clock* clock,
               const std::shared_ptr<V2Access>& access);

// What V2Access said against a request, {"message":"Insufficient credentials"} say: with 401, or 429 for
// too many.
void SendV2Refusal(const std::shared_ptr<http::ResponseWriter>& writer, const absl::Status& why);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_V2_AUTH_H_
