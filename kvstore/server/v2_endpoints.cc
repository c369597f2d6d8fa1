#include "kvstore/server/v2_endpoints.h"

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "kvstore/errors.h"
#include "kvstore/json_string.h"
#include "kvstore/server/v2_access.h"
#include "kvstore/server/v2_auth.h"
#include "kvstore/server/v2_members.h"
#include "kvstore/server/v2_stats.h"
#include "kvstore/v2/key_store.h"
#include "kvstore/v2/keys_request.h"

namespace keelson::kvstore {
namespace {

using v2::Error;
using v2::ErrorCode;
using v2::Event;
using v2::KeysRequest;
using v2::KeyStore;
using Writer = std::shared_ptr<http::ResponseWriter>;

std::string IdText(uint64_t id) { return absl::StrCat(absl::Hex(id)); }

http::Headers ClusterHeaders(const Server& server) {
  http::Headers headers;
  headers.Add("Content-Type", "application/json");
  headers.Add("X-Etcd-Cluster-Id", IdText(server.options().cluster_id));
  return headers;
}

// Serves /v2/keys. Copies are cheap and all alike.
class KeysHandler {
 public:
  KeysHandler(Server* server, Clock* clock, std::shared_ptr<V2Access> access)
      : server_(server), clock_(clock), access_(std::move(access)) {}

  void operator()(const http::Request& request, const Writer& writer) const {
    if (request.method != "GET" && request.method != "HEAD" && request.method != "PUT" &&
        request.method != "POST" && request.method != "DELETE") {
      http::Response refused = http::TextResponse(405, "Method Not Allowed\n");
      refused.headers.Set("Allow", "HEAD,GET,PUT,POST,DELETE");
      refused.headers.Set("X-Content-Type-Options", "nosniff");
      return writer->Send(std::move(refused));
    }
    if (std::string clean = CleanTarget(request); !clean.empty()) {
      return SendMoved(request, writer, std::move(clean));
    }
    std::variant<KeysRequest, Error> parsed = v2::ParseKeysRequest(request, Now());
    if (const Error* error = std::get_if<Error>(&parsed)) return SendError(writer, *error);
    auto keys = std::get<KeysRequest>(std::move(parsed));
    // As it was asked for: "/a/" is open to who may do what is below "/a".
    std::string key = http::PercentDecode(request.Path()).value_or("");
    key.erase(0, v2::kKeysPrefix.size());
    const bool recursive = keys.recursive;
    access_->CheckKey(request, std::move(key), recursive,
                      [self = *this, keys = std::move(keys), writer](const absl::Status& allowed) {
                        if (allowed.ok()) return self.Serve(keys, writer);
                        if (absl::IsResourceExhausted(allowed)) {
                          return SendV2Refusal(writer, allowed);
                        }
                        self.SendError(writer, {.code = ErrorCode::kUnauthorized,
                                                .cause = "Insufficient credentials"});
                      });
  }

 private:
  // Where a path with empty, "." or ".." elements should have led to, as Go's server has it; empty
  // for a clean one.
  static std::string CleanTarget(const http::Request& request) {
    const std::string path(request.Path());
    std::string clean = v2::CleanPath(path);
    if (path.ends_with('/') && clean != "/") clean += '/';
    if (clean == path) return "";
    return request.Query().empty() ? clean : absl::StrCat(clean, "?", std::string(request.Query()));
  }

  static void SendMoved(const http::Request& request, const Writer& writer, std::string target) {
    http::Response moved;
    moved.status = 301;
    if (request.method == "GET") {
      moved.headers.Add("Content-Type", "text/html; charset=utf-8");
      // A path is sent percent-encoded, without quotes and angles.
      moved.body = absl::StrCat("<a href=\"", absl::StrReplaceAll(target, {{"&", "&amp;"}}),
                                "\">Moved Permanently</a>.\n\n");
    }
    moved.headers.Add("Location", std::move(target));
    writer->Send(std::move(moved));
  }

  void Serve(KeysRequest request, const Writer& writer) const {
    switch (request.kind) {
      case KeysRequest::Kind::kWatch:
        return Watch(request, writer);
      case KeysRequest::Kind::kWrite:
        return server_->ProposeV2(request.write,
                                  [self = *this, writer, action_only = request.action_only](
                                      const absl::Status& status, const v2::Outcome* outcome) {
                                    if (outcome == nullptr) return self.SendStatus(writer, status);
                                    self.SendOutcome(writer, *outcome, action_only);
                                  });
      case KeysRequest::Kind::kGet:
        break;
    }
    if (!request.quorum) return Get(request, writer);
    server_->CheckRead(/*serializable=*/false, [self = *this, request = std::move(request),
                                                writer](const absl::Status& status) {
      if (!status.ok()) return self.SendStatus(writer, status);
      self.Get(request, writer);
    });
  }

  void Get(const KeysRequest& request, const Writer& writer) const {
    SendOutcome(writer, server_->store().V2()->Get(request.path, request.recursive, Now()), false);
  }

  void Watch(const KeysRequest& request, const Writer& writer) const {
    // The header goes out before any event, whatever thread brings that; so events that come
    // while the watch is being started wait here.
    struct Stream {
      absl::Mutex mu;
      bool started ABSL_GUARDED_BY(mu) = false;
      bool over ABSL_GUARDED_BY(mu) = false;
      std::string early ABSL_GUARDED_BY(mu);
    };
    auto stream = std::make_shared<Stream>();
    const std::shared_ptr<KeyStore> store = server_->store().V2();
    const bool many = request.stream;
    const auto on_event = [stream, writer, many](const std::string* line) {
      absl::MutexLock lock(&stream->mu);
      stream->over = line == nullptr || !many;
      if (!stream->started) {
        if (line != nullptr) stream->early += *line;
        return;
      }
      if (line != nullptr) (void)writer->Write(*line);
      if (stream->over) writer->Finish();
    };
    const auto result = store->StartWatch({.path = request.path,
                                           .recursive = request.recursive,
                                           .stream = many,
                                           .since = request.since},
                                          on_event);
    if (const Error* error = std::get_if<Error>(&result)) return SendError(writer, *error);
    const auto& watch = std::get<KeyStore::Watch>(result);
    if (watch.id != 0) {
      writer->OnDisconnect([weak = std::weak_ptr(store), id = watch.id] {
        if (const auto alive = weak.lock()) alive->EndWatch(id);
      });
    }
    absl::MutexLock lock(&stream->mu);
    writer->Start(200, Headers(watch.index));
    if (!stream->early.empty()) (void)writer->Write(std::move(stream->early));
    stream->started = true;
    if (stream->over) {
      writer->Finish();
    } else if (watch.id == 0) {
      // As in etcd, a stream that began in the past hears nothing after that event, and stays
      // open until the client goes: the callback keeps the writer.
      writer->OnDisconnect([writer] {});
    }
  }

  [[nodiscard]] http::Headers Headers(uint64_t index) const {
    const raft::Node::Snapshot peek = server_->Peek();
    http::Headers headers = ClusterHeaders(*server_);
    headers.Add("X-Etcd-Index", absl::StrCat(index));
    headers.Add("X-Raft-Index", absl::StrCat(peek.commit));
    headers.Add("X-Raft-Term", absl::StrCat(peek.term));
    return headers;
  }

  void SendOutcome(const Writer& writer, const v2::Outcome& outcome, bool action_only) const {
    if (const Error* error = std::get_if<Error>(&outcome)) return SendError(writer, *error);
    const Event& event = std::get<Event>(outcome);
    const bool only = action_only && (event.action == "set" || event.action == "create" ||
                                      event.action == "update" || event.action == "compareAndSwap");
    writer->Send({.status = event.Created() ? 201 : 200,
                  .headers = Headers(event.etcd_index),
                  .body = v2::EventJson(event, only)});
  }

  void SendError(const Writer& writer, const Error& error) const {
    http::Headers headers = ClusterHeaders(*server_);
    headers.Add("X-Etcd-Index", absl::StrCat(error.index));
    writer->Send({.status = v2::HttpStatusOf(error.code),
                  .headers = std::move(headers),
                  .body = v2::ErrorJson(error)});
  }

  void SendStatus(const Writer& writer, const absl::Status& status) const {
    const bool no_leader = status == errors::NoLeader();
    SendError(writer, {.code = no_leader ? ErrorCode::kLeaderElection : ErrorCode::kRaftInternal,
                       .cause = std::string(status.message())});
  }

  [[nodiscard]] int64_t Now() const { return absl::ToUnixNanos(clock_->Now()); }

  Server* server_;
  Clock* clock_;
  std::shared_ptr<V2Access> access_;
};

}  // namespace

void AddV2Endpoints(http::Router& router, Server* server, Clock* clock) {
  const auto access = std::make_shared<V2Access>(server);
  router.Handle("*", absl::StrCat(std::string(v2::kKeysPrefix), "/*"),
                KeysHandler(server, clock, access));
  AddV2Members(router, server, access);
  AddV2Auth(router, server, clock, access);
  AddV2Stats(router, server, clock);
}

}  // namespace keelson::kvstore
