#include "kvstore/client/internal/keep_alive_state.h"

#include <algorithm>
#include <utility>

#include "kvstore/client/internal/server_errors.h"

namespace keelson::kvstore::client_internal {
namespace {

constexpr absl::Duration kPauseMin = absl::Milliseconds(500);
constexpr absl::Duration kRetryPause = absl::Milliseconds(100);
// What one try may take, so that another member is asked well before the lease ends.
constexpr absl::Duration kTryMin = absl::Milliseconds(200);

// Of the loop alone.
class KeepAliveState : public std::enable_shared_from_this<KeepAliveState> {
 public:
  KeepAliveState(ClientCore* core, int64_t lease, absl::Duration ttl, KeepAliveCallbacks callbacks)
      : core_(core),
        lease_(lease),
        ttl_(ttl),
        callbacks_(std::make_shared<const KeepAliveCallbacks>(std::move(callbacks))),
        queue_(std::make_shared<CallbackQueue>(&core->runtime().lease_callbacks())) {}

  void Start() {
    if (over_) return;
    alive_until_ = Now() + ttl_;
    Guard();
    Renew();
  }
  void Cancel() { over_ = true; }
  [[nodiscard]] CallbackQueue& queue() { return *queue_; }  // any thread

 private:
  [[nodiscard]] absl::Duration Now() { return core_->runtime().Monotonic(); }

  // Notices the end of the lease while a renewal is still waiting for its answer.
  void Guard() {
    core_->runtime().loop().PostAfter(alive_until_ - Now(), [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self == nullptr || self->over_) return;
      if (self->Now() < self->alive_until_) return self->Guard();
      self->Lose(self->trouble_.ok()
                     ? absl::UnavailableError("no answer to the renewals of a lease")
                     : self->trouble_);
    });
  }

  void Renew() {
    if (over_) return;
    const absl::Duration sent = Now();
    const absl::Duration timeout =
        std::min(core_->options().command_timeout, std::max(ttl_ / 3, kTryMin));
    core_->Start(RenewalOf(lease_, timeout),
                 [weak = weak_from_this(), sent](const absl::StatusOr<std::string>& answer) {
                   const auto self = weak.lock();
                   if (self != nullptr && !self->over_) self->OnRenewed(sent, ReadRenewal(answer));
                 });
  }

  void OnRenewed(absl::Duration sent,
                 const absl::StatusOr<etcdserverpb::LeaseKeepAliveResponse>& renewed) {
    if (!renewed.ok()) {
      if (absl::IsNotFound(renewed.status())) return Lose(renewed.status());
      trouble_ = renewed.status();
      return RenewAfter(kRetryPause);
    }
    trouble_ = absl::OkStatus();
    ttl_ = absl::Seconds(renewed->ttl());
    alive_until_ = sent + ttl_;  // The server counts from when it heard us, never earlier.
    if (callbacks_->on_renewed) {
      (void)queue_->Post(
          [callbacks = callbacks_, answer = *renewed] { callbacks->on_renewed(answer); });
    }
    RenewAfter(std::max(ttl_ / 3, kPauseMin));
  }

  void RenewAfter(absl::Duration pause) {
    core_->runtime().loop().PostAfter(pause, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->Renew();
    });
  }

  void Lose(const absl::Status& why) {
    over_ = true;
    if (!callbacks_->on_lost) return;
    (void)queue_->Post([callbacks = callbacks_, why] { callbacks->on_lost(why); });
  }

  ClientCore* const core_;
  const int64_t lease_;
  absl::Duration ttl_;
  absl::Duration alive_until_;
  absl::Status trouble_;  // of the last renewal
  bool over_ = false;
  const std::shared_ptr<const KeepAliveCallbacks> callbacks_;
  const std::shared_ptr<CallbackQueue> queue_;
};

class KeepAliveHandle final : public KeepAlive {
 public:
  KeepAliveHandle(std::shared_ptr<ClientCore> core, int64_t lease, absl::Duration ttl,
                  KeepAliveCallbacks callbacks)
      : core_(std::move(core)),
        state_(std::make_shared<KeepAliveState>(core_.get(), lease, ttl, std::move(callbacks))) {
    core_->runtime().loop().Post([state = state_] { state->Start(); });
  }
  ~KeepAliveHandle() override {
    core_->runtime().RunOnLoop([this] { state_->Cancel(); });
    state_->queue().Close();
  }

 private:
  const std::shared_ptr<ClientCore> core_;
  const std::shared_ptr<KeepAliveState> state_;
};

}  // namespace

UnaryRequest RenewalOf(int64_t lease, absl::Duration timeout) {
  etcdserverpb::LeaseKeepAliveRequest request;
  request.set_id(lease);
  return {.path = "/etcdserverpb.Lease/LeaseKeepAlive",
          .bytes = request.SerializeAsString(),
          .repeat = Repeat::kAlways,
          .is_stream = true,
          .timeout = timeout};
}

absl::StatusOr<etcdserverpb::LeaseKeepAliveResponse> ReadRenewal(
    const absl::StatusOr<std::string>& answer) {
  if (!answer.ok()) return answer.status();
  etcdserverpb::LeaseKeepAliveResponse response;
  if (!response.ParseFromString(*answer)) {
    return absl::InternalError("the answer to a renewal cannot be decoded");
  }
  if (response.ttl() <= 0) return LeaseNotFound();
  return response;
}

std::unique_ptr<KeepAlive> StartKeepAlive(std::shared_ptr<ClientCore> core, int64_t lease,
                                          absl::Duration ttl, KeepAliveCallbacks callbacks) {
  return std::make_unique<KeepAliveHandle>(std::move(core), lease, ttl, std::move(callbacks));
}

}  // namespace keelson::kvstore::client_internal
