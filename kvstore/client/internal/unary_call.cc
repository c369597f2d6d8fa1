#include "kvstore/client/internal/unary_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kvstore/client/internal/fate.h"

namespace keelson::kvstore::client_internal {
namespace {

constexpr absl::Duration kBackoffMin = absl::Milliseconds(20);
constexpr absl::Duration kBackoffMax = absl::Milliseconds(300);
// A read leaves a member that does not answer after a part of its time, but not before this.
constexpr absl::Duration kPatience = absl::Milliseconds(500);

}  // namespace

// Hears of one attempt; what comes after the call has gone on is dropped.
class UnaryCall::Attempt final : public rpc::ResponseHandler {
 public:
  Attempt(std::weak_ptr<UnaryCall> call, uint64_t number)
      : call_(std::move(call)), number_(number) {}
  void OnMessage(std::string_view message) override {
    if (const auto call = call_.lock()) call->OnMessage(number_, message);
  }
  void OnDone(const absl::Status& status) override {
    if (const auto call = call_.lock()) call->OnDone(number_, status);
  }

 private:
  const std::weak_ptr<UnaryCall> call_;
  const uint64_t number_;
};

void UnaryCall::Start() {
  const absl::Duration now = core_->runtime().Monotonic();
  deadline_ = now + request_.timeout;
  connect_by_ = now + core_->options().dial_timeout;
  backoff_ = kBackoffMin;
  Try();
}

void UnaryCall::Finish(absl::StatusOr<std::string> result) {
  if (!done_) return;
  const auto self = shared_from_this();
  const UnaryDone done = std::exchange(done_, nullptr);
  ++attempt_;  // Whatever still comes is not for us.
  if (call_ != nullptr) call_->Cancel();
  call_.reset();
  endpoint_.reset();
  core_->calls_.erase(self);
  done(std::move(result));
}

void UnaryCall::Try() {
  if (!done_) return;
  if (!request_.wants_token) return Send("");
  core_->WithToken([weak = weak_from_this()](const absl::StatusOr<std::string>& token) {
    const auto self = weak.lock();
    if (self == nullptr || !self->done_) return;
    if (!token.ok()) return self->Finish(token.status());
    self->Send(*token);
  });
}

absl::Duration UnaryCall::AttemptTimeout(absl::Duration now) const {
  const absl::Duration left = deadline_ - now;
  const size_t endpoints = core_->pool_.size();
  if (request_.repeat == Repeat::kIfNotDone || endpoints < 2) return left;
  const auto parts = static_cast<int64_t>(std::min<size_t>(endpoints, 3));
  return std::min(left, std::max(request_.timeout / parts, kPatience));
}

void UnaryCall::Send(const std::string& token) {
  const absl::Duration now = core_->runtime().Monotonic();
  token_ = token;
  answer_.reset();
  endpoint_ = core_->pool_.Pick(now);
  rpc::CallOptions options{.path = request_.path, .timeout = AttemptTimeout(now)};
  if (request_.wants_leader) options.metadata.emplace_back("hasleader", "true");
  if (!token.empty()) options.metadata.emplace_back("token", token);
  const uint64_t attempt = ++attempt_;
  call_ = endpoint_->channel->Start(std::move(options),
                                    std::make_shared<Attempt>(weak_from_this(), attempt));
  (void)call_->Send(request_.bytes);
  // Who half-closes a stream may end it before the answer comes.
  if (!request_.is_stream) call_->HalfClose();
}

void UnaryCall::OnMessage(uint64_t attempt, std::string_view message) {
  if (attempt != attempt_ || answer_.has_value()) return;
  answer_.emplace(message);
  if (!request_.is_stream) return;
  core_->pool_.NoteGood(*endpoint_);
  Finish(*std::move(answer_));
}

void UnaryCall::OnDone(uint64_t attempt, const absl::Status& status) {
  if (attempt != attempt_) return;
  const auto self = shared_from_this();
  call_.reset();
  const absl::Duration now = core_->runtime().Monotonic();
  const bool outage =
      absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) || absl::IsCancelled(status);
  if (!outage) core_->pool_.NoteGood(*endpoint_);
  if (status.ok()) {
    if (answer_.has_value()) return Finish(*std::move(answer_));
    if (!request_.is_stream) return Finish(absl::InternalError("the member sent no answer"));
    return Again(absl::UnavailableError("the member closed the stream"));
  }
  if (core_->closed_) return Finish(Describe(status));
  if (IsBadToken(status) && request_.wants_token && !core_->options().user.empty() &&
      !std::exchange(retried_token_, true)) {
    core_->DropToken(token_);
    return Try();
  }
  if (!outage) return Finish(status);
  core_->pool_.NoteBad(*endpoint_, now);
  if (!rpc::WasNeverSent(status)) connect_by_ = now + core_->options().dial_timeout;
  const bool harmless =
      request_.repeat == Repeat::kAlways || rpc::WasNeverSent(status) || IsRefusedByMember(status);
  if (!harmless) return Finish(Describe(status));
  Again(Describe(status));
}

void UnaryCall::Again(const absl::Status& error) {
  const absl::Duration now = core_->runtime().Monotonic();
  // Another member can be asked at once; the same ones again after a moment.
  const absl::Duration pause = core_->pool_.AnyGood(now) ? absl::ZeroDuration() : backoff_;
  if (pause > absl::ZeroDuration()) backoff_ = std::min(2 * backoff_, kBackoffMax);
  if (now + pause >= std::min(deadline_, connect_by_)) return Finish(error);
  core_->runtime().loop().PostAfter(pause, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Try();
  });
}

absl::Status UnaryCall::Describe(const absl::Status& status) const {
  if (rpc::WasNeverSent(status)) {
    // "'10.0.0.1:2379': connect: Connection refused"
    return absl::UnavailableError(absl::StrCat(
        "cannot connect to ", absl::StrJoin(core_->pool_.Names(), ","), ": ", status.message()));
  }
  if (request_.repeat == Repeat::kAlways || IsRefusedByMember(status)) return status;
  // A member's own words stay as they are; ours say what it means.
  absl::Status told = status;
  if (!absl::StartsWith(status.message(), "etcdserver:")) {
    told = absl::Status(status.code(),
                        absl::StrCat(status.message(), "; the request was perhaps done"));
  }
  return MarkPerhapsDone(std::move(told));
}

}  // namespace keelson::kvstore::client_internal
