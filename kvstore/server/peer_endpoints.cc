#include "kvstore/server/peer_endpoints.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kvstore/config/identity.h"
#include "kvstore/json_string.h"
#include "kvstore/server/http_endpoints.h"

namespace keelson::kvstore {
namespace {

std::string ListJson(const std::vector<std::string>& texts) {
  const auto quote = [](std::string* out, const std::string& text) {
    out->append(JsonString(text));
  };
  return absl::StrCat("[", absl::StrJoin(texts, ",", quote), "]");
}

// What is empty is left out, but for the peer URLs.
std::string MemberJson(const Store::MemberAttributes& member) {
  std::string json =
      absl::StrCat("{\"id\":", member.id, ",\"peerURLs\":", ListJson(member.peer_urls));
  if (member.is_learner) json += ",\"isLearner\":true";
  if (!member.name.empty()) absl::StrAppend(&json, ",\"name\":", JsonString(member.name));
  if (!member.client_urls.empty()) {
    absl::StrAppend(&json, ",\"clientURLs\":", ListJson(member.client_urls));
  }
  return json + "}";
}

http::Response Json(const Server& server, std::string body) {
  http::Response response = http::JsonResponse(200, std::move(body));
  response.headers.Set("X-Etcd-Cluster-ID", FormatId(server.options().cluster_id));
  return response;
}

}  // namespace

void AddPeerEndpoints(http::Router& router, Server* server) {
  router.Handle(
      "GET", "/members",
      [server](const http::Request&, const std::shared_ptr<http::ResponseWriter>& writer) {
        std::vector<std::string> members;
        for (const Store::MemberAttributes& member : server->store().Members()) {
          if (!member.removed) members.push_back(MemberJson(member));
        }
        writer->Send(Json(*server, absl::StrCat("[", absl::StrJoin(members, ","), "]\n")));
      });
  router.Handle(
      "GET", "/version",
      [server](const http::Request&, const std::shared_ptr<http::ResponseWriter>& writer) {
        const std::string& version = server->options().version;
        writer->Send(
            Json(*server, absl::StrCat("{\"etcdserver\":\"", version, "\",\"etcdcluster\":\"",
                                       ClusterVersionOf(version), "\"}")));
      });
}

}  // namespace keelson::kvstore
