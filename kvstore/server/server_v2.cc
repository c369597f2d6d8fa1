// The version 2 keys: what a member proposes for them.
#include <utility>

#include "kvstore/errors.h"
#include "kvstore/server/command_codec.h"
#include "kvstore/server/server.h"
#include "kvstore/v2/key_store.h"

namespace keelson::kvstore {

void Server::ProposeV2(const V2Request& request,
                       std::function<void(const absl::Status&, const v2::Outcome*)> done) {
  if (const absl::Status status = CheckProposal(); !status.ok()) return done(status, nullptr);
  const auto finish = [this, done = std::move(done)](const CommandResult& result) {
    if (result.status.code() == absl::StatusCode::kUnavailable) {
      counters_.proposals_failed.fetch_add(1);
    }
    done(result.status, std::get_if<v2::Outcome>(&result.response));
  };
  const uint64_t id = pending_.Add(env_.clock->Monotonic() + request_timeout_, finish);
  Submit(id, EncodeCommand(id, request));
}

void Server::ExpireV2() {
  if (!IsLeader()) return;
  const std::optional<int64_t> next = store_->V2()->NextExpiration();
  const int64_t now = absl::ToUnixNanos(env_.clock->Now());
  if (!next.has_value() || *next > now || expiring_v2_.exchange(true)) return;
  V2Request request;
  request.set_operation(V2Request::EXPIRE);
  request.set_time(now);
  ProposeV2(request, [this](const absl::Status&, const v2::Outcome*) { expiring_v2_ = false; });
}

}  // namespace keelson::kvstore
