#include "kvstore/client/internal/core.h"

#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "base/status.h"
#include "kvstore/api/auth.pb.h"
#include "kvstore/api/cluster.pb.h"
#include "kvstore/client/internal/server_errors.h"
#include "kvstore/client/internal/unary_call.h"

namespace keelson::kvstore::client_internal {
namespace {

// By code and text: what comes over the wire carries nothing else.
bool Is(const absl::Status& status, const absl::Status& error) {
  return status.code() == error.code() && status.message() == error.message();
}

}  // namespace

bool IsRefusedByMember(const absl::Status& status) {
  return Is(status, NoLeader()) ||
         Is(status, NotSupportedForLearner(absl::StatusCode::kFailedPrecondition)) ||
         Is(status, NotSupportedForLearner(absl::StatusCode::kUnavailable));
}

bool IsBadToken(const absl::Status& status) {
  return Is(status, InvalidAuthToken()) || Is(status, AuthOldRevision()) ||
         // There was no token, since authentication was off when we asked.
         Is(status, UserEmpty());
}

absl::StatusOr<std::shared_ptr<ClientCore>> ClientCore::Make(
    std::unique_ptr<Runtime> runtime, const std::vector<std::string>& endpoints,
    const CoreOptions& options) {
  const std::shared_ptr<ClientCore> core(new ClientCore(std::move(runtime), options));
  absl::Status status;
  core->runtime_->RunOnLoop([&] { status = core->pool_.Set(endpoints); });
  KEELSON_RETURN_IF_ERROR(status);
  if (options.sync_interval > absl::ZeroDuration()) core->SyncLater(core);
  return core;
}

ClientCore::~ClientCore() {
  runtime_->RunOnLoop([this] {
    closed_ = true;
    while (!calls_.empty()) {
      const std::shared_ptr<UnaryCall> call = *calls_.begin();
      call->Finish(absl::CancelledError("the client was closed"));
    }
    pool_.Close();
  });
  runtime_->Stop();
}

absl::StatusOr<std::string> ClientCore::Call(UnaryRequest request) {
  struct Answer {
    absl::Mutex mu;
    bool came ABSL_GUARDED_BY(mu) = false;
    absl::StatusOr<std::string> result ABSL_GUARDED_BY(mu);
  };
  const auto answer = std::make_shared<Answer>();
  runtime_->loop().Post([this, answer, request = std::move(request)]() mutable {
    Start(std::move(request), [answer](absl::StatusOr<std::string> result) {
      absl::MutexLock lock(&answer->mu);
      answer->result = std::move(result);
      answer->came = true;
    });
  });
  absl::MutexLock lock(&answer->mu);
  // The call itself keeps the time.
  if (!runtime_->Await(&answer->mu, absl::Condition(&answer->came), absl::InfiniteDuration())) {
    return absl::InternalError("the simulation has come to its end");
  }
  return std::move(answer->result);
}

void ClientCore::Start(UnaryRequest request, UnaryDone done) {
  if (closed_) return done(absl::CancelledError("the client was closed"));
  const auto call = std::make_shared<UnaryCall>(this, std::move(request), std::move(done));
  calls_.insert(call);
  call->Start();
}

void ClientCore::WithToken(std::function<void(absl::StatusOr<std::string>)> ready) {
  if (options_.user.empty() || needs_no_token_) return ready(std::string());
  if (!token_.empty()) return ready(token_);
  wait_for_token_.push_back(std::move(ready));
  if (wait_for_token_.size() > 1) return;  // It is being asked for.
  etcdserverpb::AuthenticateRequest request;
  request.set_name(options_.user);
  request.set_password(options_.password);
  Start({.path = "/etcdserverpb.Auth/Authenticate",
         .bytes = request.SerializeAsString(),
         .repeat = Repeat::kAlways,
         .wants_token = false,
         .timeout = options_.command_timeout},
        [this](absl::StatusOr<std::string> answer) { OnToken(std::move(answer)); });
}

void ClientCore::OnToken(absl::StatusOr<std::string> answer) {
  absl::StatusOr<std::string> token = std::string();
  if (answer.ok()) {
    etcdserverpb::AuthenticateResponse response;
    if (response.ParseFromString(*answer)) {
      token_ = response.token();
      token = token_;
    } else {
      token = absl::InternalError("the token cannot be decoded");
    }
  } else if (Is(answer.status(), AuthNotEnabled())) {
    // As etcd's clients do: whoever has a password may also talk to a cluster that wants none.
    needs_no_token_ = true;
  } else {
    token = answer.status();
  }
  for (const auto& ready : std::exchange(wait_for_token_, {})) ready(token);
}

void ClientCore::DropToken(std::string_view token) {
  if (token != token_) return;
  token_.clear();
  needs_no_token_ = false;
}

void ClientCore::Sync(std::function<void(absl::Status)> done) {
  etcdserverpb::MemberListRequest request;
  request.set_linearizable(true);
  Start({.path = "/etcdserverpb.Cluster/MemberList",
         .bytes = request.SerializeAsString(),
         .repeat = Repeat::kAlways,
         .timeout = options_.command_timeout},
        [this, done = std::move(done)](const absl::StatusOr<std::string>& answer) {
          if (!answer.ok()) return done(answer.status());
          etcdserverpb::MemberListResponse members;
          if (!members.ParseFromString(*answer)) {
            return done(absl::InternalError("the member list cannot be decoded"));
          }
          std::vector<std::string> urls;
          for (const etcdserverpb::Member& member : members.members()) {
            // A member that has not started has no URLs; a learner serves almost nothing.
            if (member.name().empty() || member.islearner()) continue;
            urls.insert(urls.end(), member.clienturls().begin(), member.clienturls().end());
          }
          done(urls.empty() ? absl::OkStatus() : pool_.Set(urls));
        });
}

void ClientCore::SyncLater(std::weak_ptr<ClientCore> weak) {
  runtime_->loop().PostAfter(options_.sync_interval, [this, weak = std::move(weak)] {
    // Alive while it is not closed, and it is closed on this loop.
    if (weak.expired()) return;
    // A list that cannot be had or used now will be there the next time.
    Sync([this, weak](const absl::Status&) {
      if (!closed_) SyncLater(weak);
    });
  });
}

}  // namespace keelson::kvstore::client_internal
