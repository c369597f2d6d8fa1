#include "kvstore/server/v2_members.h"

#include <google/protobuf/util/json_util.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kvstore/config/identity.h"
#include "kvstore/errors.h"
#include "kvstore/json_string.h"
#include "kvstore/server/v2_auth.h"

namespace keelson::kvstore {
namespace {

using Writer = std::shared_ptr<http::ResponseWriter>;
using Urls = google::protobuf::RepeatedPtrField<std::string>;

constexpr std::string_view kMembers = "/v2/members";

http::Headers ClusterHeaders(const Server& server) {
  http::Headers headers;
  headers.Add("Content-Type", "application/json");
  headers.Add("X-Etcd-Cluster-Id", FormatId(server.options().cluster_id));
  return headers;
}

void SendError(const Server& server, const Writer& writer, int status, std::string_view message) {
  writer->Send({.status = status,
                .headers = ClusterHeaders(server),
                .body = absl::StrCat("{\"message\":", JsonString(message), "}")});
}

std::string UrlsJson(const Urls& urls) {
  const auto quote = [](std::string* out, const std::string& url) { out->append(JsonString(url)); };
  return absl::StrCat("[", absl::StrJoin(urls, ",", quote), "]");
}

std::string MemberJson(const etcdserverpb::Member& member) {
  return absl::StrCat("{\"id\":\"", FormatId(member.id()),
                      "\",\"name\":", JsonString(member.name()),
                      ",\"peerURLs\":", UrlsJson(member.peerurls()),
                      ",\"clientURLs\":", UrlsJson(member.clienturls()), "}");
}

// Calls `use` with the members as this one knows them.
template <typename Use>
void WithMembers(Server* server, Use use) {
  auto response = std::make_shared<etcdserverpb::MemberListResponse>();
  server->MemberList({}, response.get(), [response, use](const absl::Status&) { use(*response); });
}

void ServeList(Server* server, const Writer& writer) {
  WithMembers(server, [server, writer](const etcdserverpb::MemberListResponse& members) {
    const std::string list = absl::StrJoin(
        members.members(), ",",
        [](std::string* out, const auto& member) { out->append(MemberJson(member)); });
    writer->Send(
        {.headers = ClusterHeaders(*server), .body = absl::StrCat("{\"members\":[", list, "]}\n")});
  });
}

void ServeLeader(Server* server, const Writer& writer) {
  WithMembers(server, [server, writer](const etcdserverpb::MemberListResponse& members) {
    for (const etcdserverpb::Member& member : members.members()) {
      if (member.id() != server->leader()) continue;
      return writer->Send({.headers = ClusterHeaders(*server), .body = MemberJson(member) + "\n"});
    }
    SendError(*server, writer, 503, "During election");
  });
}

void ServeMachines(Server* server, const Writer& writer) {
  WithMembers(server, [writer](const etcdserverpb::MemberListResponse& members) {
    std::vector<std::string> urls;
    for (const etcdserverpb::Member& member : members.members()) {
      urls.insert(urls.end(), member.clienturls().begin(), member.clienturls().end());
    }
    writer->Send(http::TextResponse(200, absl::StrJoin(urls, ", ")));
  });
}

// --- Changes ---

// The peer URLs of {"peerURLs":[...]}; false when the answer has been sent.
bool ReadUrls(const Server& server, const http::Request& request, const Writer& writer,
              Urls* urls) {
  const std::string type(request.headers.Find("Content-Type").value_or(""));
  if (type != "application/json") {
    SendError(server, writer, 415,
              absl::StrCat("Bad Content-Type ", type, ", accept application/json"));
    return false;
  }
  etcdserverpb::MemberAddRequest parsed;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto status = google::protobuf::util::JsonStringToMessage(request.body, &parsed, options);
  if (!status.ok()) {
    SendError(server, writer, 400, std::string(status.message()));
    return false;
  }
  urls->Swap(parsed.mutable_peerurls());
  return true;
}

// What etcd's version 2 makes of the errors of changes.
void SendChangeError(const Server& server, const Writer& writer, const std::string& id,
                     const absl::Status& status) {
  if (status == errors::MemberNotFound()) {
    uint64_t number = 0;
    const bool removed =
        absl::SimpleHexAtoi(id, &number) && IsRemoved(server.store().Members(), number);
    return removed
               ? SendError(server, writer, 410, absl::StrCat("Member permanently removed: ", id))
               : SendError(server, writer, 404, absl::StrCat("No such member: ", id));
  }
  if (status == errors::MemberExists() || status == errors::PeerUrlExists()) {
    return SendError(server, writer, 409, std::string(status.message()));
  }
  if (status == errors::MemberBadUrls()) {
    return SendError(server, writer, 400, std::string(status.message()));
  }
  if (absl::IsPermissionDenied(status) || status == errors::UserEmpty()) {
    return SendError(server, writer, 401, "Insufficient credentials");
  }
  SendError(server, writer, 500, "Internal Server Error");
}

template <typename Response>
auto AnswerOf(Server* server, const Writer& writer, const std::string& id,
              const std::shared_ptr<Response>& response, int status_when_done) {
  return [server, writer, id, response, status_when_done](const absl::Status& status) {
    if (!status.ok()) return SendChangeError(*server, writer, id, status);
    std::string body;
    if constexpr (std::is_same_v<Response, etcdserverpb::MemberAddResponse>) {
      body = MemberJson(response->member()) + "\n";
    }
    writer->Send({.status = status_when_done, .headers = ClusterHeaders(*server), .body = body});
  };
}

void ServeAdd(Server* server, const http::Request& request, const Writer& writer) {
  etcdserverpb::MemberAddRequest add;
  if (!ReadUrls(*server, request, writer, add.mutable_peerurls())) return;
  const auto response = std::make_shared<etcdserverpb::MemberAddResponse>();
  server->MemberAdd(add, response.get(), AnswerOf(server, writer, "", response, 201), {});
}

void ServeUpdate(Server* server, uint64_t id, const http::Request& request, const Writer& writer) {
  etcdserverpb::MemberUpdateRequest update;
  update.set_id(id);
  if (!ReadUrls(*server, request, writer, update.mutable_peerurls())) return;
  const auto response = std::make_shared<etcdserverpb::MemberUpdateResponse>();
  server->MemberUpdate(update, response.get(),
                       AnswerOf(server, writer, FormatId(id), response, 204), {});
}

void ServeRemove(Server* server, uint64_t id, const Writer& writer) {
  etcdserverpb::MemberRemoveRequest remove;
  remove.set_id(id);
  const auto response = std::make_shared<etcdserverpb::MemberRemoveResponse>();
  server->MemberRemove(remove, response.get(),
                       AnswerOf(server, writer, FormatId(id), response, 204), {});
}

void ServeMembers(Server* server, const http::Request& request, const Writer& writer) {
  std::string_view rest = request.Path();
  rest.remove_prefix(kMembers.size());
  if (rest.starts_with('/')) rest.remove_prefix(1);
  const std::string id(rest);
  if (request.method == "GET" || request.method == "HEAD") {
    if (id.empty()) return ServeList(server, writer);
    if (id == "leader") return ServeLeader(server, writer);
    return SendError(*server, writer, 404, "Not found");
  }
  if (request.method == "POST") return ServeAdd(server, request, writer);
  if (request.method != "PUT" && request.method != "DELETE") {
    http::Response refused = http::TextResponse(405, "Method Not Allowed\n");
    refused.headers.Set("Allow", "GET,POST,DELETE,PUT");
    return writer->Send(std::move(refused));
  }
  uint64_t number = 0;
  if (id.empty()) return SendError(*server, writer, 405, "Method Not Allowed");
  if (!absl::SimpleHexAtoi(id, &number)) {
    return SendError(*server, writer, 404, absl::StrCat("No such member: ", id));
  }
  if (request.method == "PUT") return ServeUpdate(server, number, request, writer);
  ServeRemove(server, number, writer);
}

}  // namespace

void AddV2Members(http::Router& router, Server* server, const std::shared_ptr<V2Access>& access) {
  router.Handle("*", absl::StrCat(std::string(kMembers), "/*"),
                [server, access](const http::Request& request, const Writer& writer) {
                  if (request.method == "GET" || request.method == "HEAD") {
                    return ServeMembers(server, request, writer);
                  }
                  access->CheckRoot(request,
                                    [server, request, writer](const absl::Status& allowed) {
                                      if (!allowed.ok()) return SendV2Refusal(writer, allowed);
                                      ServeMembers(server, request, writer);
                                    });
                });
  router.Handle("GET", "/v2/machines", [server](const http::Request&, const Writer& writer) {
    ServeMachines(server, writer);
  });
}

}  // namespace keelson::kvstore
