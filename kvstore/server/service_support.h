// What etcd's services share. For grpc_services.cc and its parts.
#ifndef KEELSON_KVSTORE_SERVER_SERVICE_SUPPORT_H_
#define KEELSON_KVSTORE_SERVER_SERVICE_SUPPORT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/metrics.h"
#include "base/rpc/call.h"
#include "base/rpc/server.h"
#include "base/rpc/unary.h"
#include "kvstore/errors.h"
#include "kvstore/server/method_metrics.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {

// The client refuses to be served by a member without a leader (kvstore.md 1.6).
inline bool RequiresLeader(const rpc::Call& call) { return call.Metadata("hasleader") == "true"; }

// Ends a stream when the member has been without a leader for a while, if the client wants that.
class LeaderRequirement {
 public:
  // Ends the call at once when there is no leader now.
  LeaderRequirement(Server* server, const std::shared_ptr<rpc::Call>& call) : server_(server) {
    if (!RequiresLeader(*call)) return;
    monitor_id_ = server->leader_monitor().Add([call] { call->Finish(errors::NoLeader()); });
    if (!server->HasLeader()) call->Finish(errors::NoLeader());
  }
  ~LeaderRequirement() {
    if (monitor_id_ != 0) server_->leader_monitor().Remove(monitor_id_);
  }
  LeaderRequirement(const LeaderRequirement&) = delete;
  LeaderRequirement& operator=(const LeaderRequirement&) = delete;

 private:
  Server* const server_;
  uint64_t monitor_id_ = 0;
};

// The name in the client's certificate; empty without a verified one.
inline std::string_view CommonNameOf(const rpc::Peer& peer) {
  return peer.certificate == nullptr ? std::string_view() : peer.certificate->common_name;
}

// Who makes the call, if they have the right that it asks for (kvstore.md 1.6, 11.6).
inline absl::StatusOr<Origin> IdentifyCaller(Server* server, const rpc::Call& call,
                                             auth::Right right) {
  const std::string_view address = call.peer().address;
  if (right == auth::Right::kAnyone) {  // also with a token that is too old
    absl::Status allowed = server->CheckRate({}, address);
    return allowed.ok() ? absl::StatusOr<Origin>(Origin()) : std::move(allowed);
  }
  std::string_view token = call.Metadata("token");
  if (token.empty()) token = call.Metadata("authorization");
  absl::StatusOr<Origin> who = token.empty()
                                   ? server->IdentifyByCertificate(CommonNameOf(call.peer()))
                                   : server->Identify(token);
  if (!who.ok()) return who;
  if (absl::Status allowed = server->CheckRate(*who, address); !allowed.ok()) return allowed;
  if (absl::Status allowed = server->CheckRight(right, *who); !allowed.ok()) return allowed;
  return who;
}

// What a learner answers: its state may be far behind (kvstore.md 1.7).
template <typename Request>
bool LearnerAnswers(const Request& request) {
  if constexpr (std::is_same_v<Request, etcdserverpb::RangeRequest>) return request.serializable();
  return std::is_same_v<Request, etcdserverpb::StatusRequest>;
}

// What it says to all else. By the code, clients of etcd 3.6 and later go on to another member.
inline absl::Status RefusalOfLearner(const Server& server) {
  const absl::Status refusal = errors::NotSupportedForLearner();
  const std::string& version = server.options().version;
  const bool old = version.starts_with("3.4.") || version.starts_with("3.5.");
  return old ? refusal : absl::FailedPreconditionError(refusal.message());
}

// Serves a call that was refused, so it is over: what the client still says is nobody's.
class RefusedCall final : public rpc::CallHandler {
 public:
  void OnMessage(std::string_view /*message*/) override {}
  void OnHalfClose() override {}
};

// Registers etcd's methods, each with its metrics.
class MethodRegistrar {
 public:
  // All are borrowed; `server` and `metrics` outlive `rpc`.
  MethodRegistrar(rpc::Server* rpc, Server* server, MetricRegistry* metrics, std::string service)
      : rpc_(rpc), server_(server), metrics_(metrics), service_(std::move(service)) {}

  template <typename Request>
  using Validate = std::function<absl::Status(const Request&)>;

  // A stream in both directions, whose handlers `start` makes.
  void Stream(const std::string& name, decltype(rpc::Method::start) start) {
    AddStream("bidi_stream", name, std::move(start));
  }
  // The same, of one request.
  void ServerStream(const std::string& name, decltype(rpc::Method::start) start) {
    AddStream("server_stream", name, std::move(start));
  }

  // A method that Server has as `serve`.
  template <typename Request, typename Response>
  void Unary(const std::string& name,
             void (Server::*serve)(const Request&, Response*, Server::Done)) {
    Unary<Request, Response>(
        name, [serve](Server* server, const Request& request, Response* response,
                      Server::Done done) { (server->*serve)(request, response, std::move(done)); });
  }
  // A method that looks at who asks. `validate`, if given, says what is wrong with the request;
  // who asks badly hears that even with a bad token.
  template <typename Request, typename Response>
  void Unary(const std::string& name,
             void (Server::*serve)(const Request&, Response*, Server::Done, const Origin&),
             std::type_identity_t<Validate<Request>> validate = nullptr) {
    Unary<Request, Response>(
        name,
        [serve](Server* server, const Origin& who, const Request& request, Response* response,
                Server::Done done) { (server->*serve)(request, response, std::move(done), who); },
        std::move(validate));
  }
  // `serve` takes the server, if it likes who asks, the request, the response and Done.
  template <typename Request, typename Response, typename Serve>
  void Unary(const std::string& name, const Serve& serve,
             std::type_identity_t<Validate<Request>> validate = nullptr) {
    const auth::Right right = auth::RightOf(service_, name);
    Add("unary", name,
        rpc::Unary<Request, Response>(
            [server = server_, serve, right, validate = std::move(validate)](
                const rpc::Call& call, const Request& request, Response* response, rpc::Done done) {
              if (server->IsLearner() && !LearnerAnswers(request)) {
                return done(RefusalOfLearner(*server));
              }
              if (RequiresLeader(call) && !server->HasLeader()) return done(errors::NoLeader());
              const absl::StatusOr<Origin> who = IdentifyCaller(server, call, right);
              if (!who.ok()) {
                const absl::Status valid = validate ? validate(request) : absl::OkStatus();
                return done(valid.ok() ? who.status() : valid);
              }
              if constexpr (std::is_invocable_v<Serve, Server*, const Origin&, const Request&,
                                                Response*, rpc::Done>) {
                serve(server, *who, request, response, std::move(done));
              } else {
                serve(server, request, response, std::move(done));
              }
            }));
  }

 private:
  void AddStream(const std::string& type, const std::string& name,
                 decltype(rpc::Method::start) start) {
    Add(type, name,
        [server = server_, start = std::move(start), always = name == "Snapshot"](
            const std::shared_ptr<rpc::Call>& call) -> std::shared_ptr<rpc::CallHandler> {
          if (!server->IsLearner() || always) return start(call);
          call->Finish(RefusalOfLearner(*server));
          return std::make_shared<RefusedCall>();
        });
  }

  void Add(const std::string& type, const std::string& name, decltype(rpc::Method::start) start) {
    const auto metrics = std::make_shared<MethodMetrics>(metrics_, type, service_, name);
    const auto counted = [metrics,
                          start = std::move(start)](const std::shared_ptr<rpc::Call>& call) {
      metrics->Requested(call->Metadata("client-api-version"));
      return start(call);
    };
    rpc_->Register({.path = absl::StrCat("/", service_, "/", name),
                    .start = counted,
                    .on_start = [metrics] { metrics->Started(); },
                    .on_end = [metrics](const absl::Status& s) { metrics->Handled(s.code()); }});
  }

  rpc::Server* const rpc_;
  Server* const server_;
  MetricRegistry* const metrics_;
  const std::string service_;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_SERVICE_SUPPORT_H_
