// What a member serves over HTTP/1.1 beside gRPC: /health, /livez, /readyz, /version,
// /metrics and /debug/vars (kvstore.md section 13), with etcd's paths, bodies and status codes.
#ifndef KEELSON_KVSTORE_SERVER_HTTP_ENDPOINTS_H_
#define KEELSON_KVSTORE_SERVER_HTTP_ENDPOINTS_H_

#include <string>

#include "base/http/router.h"
#include "base/metrics.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {

// Adds the handlers to `router`. `server` and `metrics` are borrowed and outlive it.
void AddHttpEndpoints(http::Router& router, Server* server, MetricRegistry* metrics);

// The version of a cluster whose members all say `version`: "3.6.0" for "3.6.4".
std::string ClusterVersionOf(const std::string& version);

// Registers etcd's metric names (kvstore.md 13.7), read from `server` when asked for.
void RegisterServerMetrics(MetricRegistry& metrics, Server* server);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_HTTP_ENDPOINTS_H_
