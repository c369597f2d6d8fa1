#include "kvstore/client/internal/caller.h"

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace keelson::kvstore::client_internal {
namespace {

constexpr absl::Duration kBackoffMin = absl::Milliseconds(20);
constexpr absl::Duration kBackoffMax = absl::Milliseconds(300);
// How long a call may wait on an endpoint that could not be connected, only to hear why.
constexpr absl::Duration kReasonTimeout = absl::Milliseconds(100);

// gRPC's text for a call that found no connection, and so was never sent.
bool NotSent(const grpc::Status& status) {
  return absl::StartsWith(status.error_message(), "failed to connect to all addresses");
}

absl::Status Unreachable(const EndpointPool& pool, const grpc::Status& status) {
  // "failed to connect to all addresses; last error: UNKNOWN: ipv4:...: Connection refused"
  std::string reason = status.error_message();
  const size_t colon = reason.rfind(": ");
  if (NotSent(status) && colon != std::string::npos) reason = reason.substr(colon + 2);
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) reason = "no answer";
  return absl::UnavailableError(absl::StrCat("cannot connect to ", pool.Names(), ": ", reason));
}

}  // namespace

void Cancellation::Cancel() {
  absl::MutexLock lock(&mu_);
  cancelled_ = true;
  if (context_ != nullptr) context_->TryCancel();
}

bool Cancellation::Cancelled() const {
  absl::MutexLock lock(&mu_);
  return cancelled_;
}

bool Cancellation::WaitFor(absl::Duration duration) {
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithTimeout(absl::Condition(&cancelled_), duration);
}

bool Cancellation::Enter(grpc::ClientContext* context) {
  absl::MutexLock lock(&mu_);
  if (cancelled_) return false;
  context_ = context;
  return true;
}

void Cancellation::Leave() {
  absl::MutexLock lock(&mu_);
  context_ = nullptr;
}

absl::Status ToStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

absl::Status CallEndpoint(EndpointPool& pool, const CallOptions& options, Repeat repeat,
                          Cancellation* cancellation, const RemoteCall& call) {
  const absl::Time deadline = absl::Now() + options.command_timeout;
  absl::Duration backoff = kBackoffMin;
  bool renewed = false;
  while (true) {
    const EndpointPool::Picked picked =
        pool.Pick(std::min(deadline, absl::Now() + options.dial_timeout));
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(
        picked.connected ? deadline : std::min(deadline, absl::Now() + kReasonTimeout)));
    if (!cancellation->Enter(&context)) return absl::CancelledError("cancelled");
    const EndpointPool::Endpoint& endpoint = pool.At(picked.index);
    grpc::Status status = pool.tokens().AddTo(endpoint.channel, &context);
    if (status.ok()) status = call(endpoint, &context);
    cancellation->Leave();

    if (status.ok()) return absl::OkStatus();
    if (!picked.connected) return Unreachable(pool, status);
    if (!renewed && pool.tokens().Renew(status)) {
      renewed = true;  // Once: a second refusal is the answer.
      continue;
    }
    const bool unavailable = status.error_code() == grpc::StatusCode::UNAVAILABLE;
    if (unavailable || status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
      pool.MoveOnFrom(picked.index);
    }
    const bool again = unavailable && (repeat == Repeat::kAlways || NotSent(status)) &&
                       absl::Now() + backoff < deadline;
    if (!again) return ToStatus(status);
    if (cancellation->WaitFor(backoff)) return absl::CancelledError("cancelled");
    backoff = std::min(backoff * 2, kBackoffMax);
  }
}

}  // namespace keelson::kvstore::client_internal
