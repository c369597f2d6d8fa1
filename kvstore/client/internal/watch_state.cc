#include "kvstore/client/internal/watch_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "kvstore/client/internal/fate.h"
#include "kvstore/client/internal/server_errors.h"

namespace keelson::kvstore::client_internal {
namespace {

constexpr absl::Duration kBackoffMin = absl::Milliseconds(20);
constexpr absl::Duration kBackoffMax = absl::Seconds(1);
// Answers that wait for the user: above the one the member is stopped, below the other it goes on.
constexpr size_t kCrowded = 64;
constexpr size_t kRoomy = 16;

// Errors that another member or another try will not cure.
bool IsFinal(const absl::Status& status) {
  return absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status) ||
         absl::IsInvalidArgument(status) || absl::IsUnimplemented(status);
}

// In the reason of an answer that ends a watch, where etcd puts its errors as text.
bool SaysBadToken(const std::string& reason) {
  return absl::StrContains(reason, InvalidAuthToken().message()) ||
         absl::StrContains(reason, AuthOldRevision().message()) ||
         absl::StrContains(reason, UserEmpty().message());
}

absl::Status EndReason(const etcdserverpb::WatchResponse& response) {
  if (response.compact_revision() != 0) {
    return MarkCompacted(Compacted(), response.compact_revision());
  }
  const std::string& reason = response.cancel_reason();
  if (absl::StrContains(reason, PermissionDenied().message())) {
    return PermissionDenied();
  }
  return absl::CancelledError(reason.empty() ? "etcdserver: watch canceled" : reason);
}

}  // namespace

class WatchState::Stream final : public rpc::ResponseHandler {
 public:
  Stream(std::weak_ptr<WatchState> watch, uint64_t number)
      : watch_(std::move(watch)), number_(number) {}
  void OnMessage(std::string_view message) override {
    if (const auto watch = watch_.lock()) watch->OnMessage(number_, message);
  }
  void OnDone(const absl::Status& status) override {
    if (const auto watch = watch_.lock()) watch->OnDone(number_, status);
  }

 private:
  const std::weak_ptr<WatchState> watch_;
  const uint64_t number_;
};

WatchState::WatchState(ClientCore* core, etcdserverpb::WatchCreateRequest request,
                       WatchCallbacks callbacks)
    : core_(core),
      callbacks_(std::make_shared<const WatchCallbacks>(std::move(callbacks))),
      queue_(std::make_shared<CallbackQueue>(&core->runtime().watch_callbacks())),
      request_(std::move(request)),
      backoff_(kBackoffMin) {
  request_.set_fragment(true);
}

void WatchState::Open() {
  if (over_) return;
  core_->WithToken([weak = weak_from_this()](const absl::StatusOr<std::string>& token) {
    const auto self = weak.lock();
    if (self == nullptr || self->over_) return;
    if (token.ok()) return self->Send(*token);
    if (IsFinal(token.status())) return self->End(token.status());
    self->OpenLater();
  });
}

void WatchState::Send(const std::string& token) {
  token_ = token;
  created_ = false;
  has_partial_ = false;  // Pieces of a broken stream come again as a whole.
  endpoint_ = core_->pool().Pick(core_->runtime().Monotonic());
  rpc::CallOptions options{.path = "/etcdserverpb.Watch/Watch"};
  // A member that has lost its leader shall end the stream, so that we go elsewhere.
  options.metadata.emplace_back("hasleader", "true");
  if (!token.empty()) options.metadata.emplace_back("token", token);
  call_ = endpoint_->channel->Start(std::move(options),
                                    std::make_shared<Stream>(weak_from_this(), ++stream_));
  etcdserverpb::WatchRequest create;
  *create.mutable_create_request() = request_;
  (void)call_->Send(create.SerializeAsString());
}

void WatchState::RequestProgress() {
  if (over_) return;
  // Before the watch is there, an answer would say nothing about it.
  if (!created_) {
    wants_progress_ = true;
    return;
  }
  etcdserverpb::WatchRequest request;
  request.mutable_progress_request();
  (void)call_->Send(request.SerializeAsString());
}

void WatchState::Cancel() {
  over_ = true;
  Leave();
}

void WatchState::Leave() {
  ++stream_;
  created_ = false;
  if (call_ != nullptr) call_->Cancel();
  call_.reset();
  endpoint_.reset();
}

void WatchState::OpenLater() {
  const absl::Duration pause =
      core_->pool().AnyGood(core_->runtime().Monotonic()) ? kBackoffMin : backoff_;
  backoff_ = std::min(2 * backoff_, kBackoffMax);
  core_->runtime().loop().PostAfter(pause, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Open();
  });
}

void WatchState::OnDone(uint64_t stream, const absl::Status& status) {
  if (stream != stream_) return;
  call_.reset();
  if (IsBadToken(status) && !core_->options().user.empty() &&
      !std::exchange(token_was_new_, true)) {
    core_->DropToken(token_);
    Leave();
    return Open();
  }
  if (IsFinal(status)) return End(status);
  // A stream that a member ends without an error: it goes down, or takes half-closing for an end.
  core_->pool().NoteBad(*endpoint_, core_->runtime().Monotonic());
  Leave();
  OpenLater();
}

void WatchState::OnMessage(uint64_t stream, std::string_view message) {
  if (stream != stream_) return;
  etcdserverpb::WatchResponse response;
  if (!response.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    return End(absl::InternalError("an answer to a watch cannot be decoded"));
  }
  if (response.canceled()) return OnCanceled(response);
  if (!response.created()) return Collect(std::move(response));
  created_ = true;
  token_was_new_ = false;
  backoff_ = kBackoffMin;
  core_->pool().NoteGood(*endpoint_);
  // From now on a reconnect must not skip what happens in between.
  if (request_.start_revision() == 0) {
    request_.set_start_revision(response.header().revision() + 1);
  }
  if (callbacks_->on_created) {
    (void)queue_->Post([callbacks = callbacks_, revision = response.header().revision()] {
      callbacks->on_created(revision);
    });
  }
  if (std::exchange(wants_progress_, false)) RequestProgress();
}

void WatchState::OnCanceled(const etcdserverpb::WatchResponse& response) {
  if (SaysBadToken(response.cancel_reason()) && !core_->options().user.empty() &&
      !std::exchange(token_was_new_, true)) {
    core_->DropToken(token_);
    Leave();
    return Open();
  }
  End(EndReason(response));
}

void WatchState::Collect(etcdserverpb::WatchResponse response) {
  if (has_partial_) {
    partial_.mutable_events()->MergeFrom(response.events());
    partial_.set_fragment(response.fragment());
  } else {
    partial_ = std::move(response);
  }
  has_partial_ = partial_.fragment();
  if (!has_partial_) Deliver(std::move(partial_));
}

void WatchState::Deliver(etcdserverpb::WatchResponse response) {
  int64_t next = request_.start_revision();
  if (!response.events().empty()) {
    next = response.events().rbegin()->kv().mod_revision() + 1;
  } else if (response.watch_id() >= 0) {
    // An answer to RequestProgress (id -1) is not used: servers before etcd 3.4.31 could send
    // it too early.
    next = response.header().revision() + 1;
  }
  request_.set_start_revision(std::max(request_.start_revision(), next));
  const size_t waiting = queue_->Post(
      [callbacks = callbacks_, queue = queue_.get(), call = call_, answer = std::move(response)] {
        callbacks->on_response(answer);
        if (queue->waiting() <= kRoomy) call->Resume();
      });
  if (waiting < kCrowded) return;
  call_->Pause();
  // The user may have caught up in between, and resumed what was not paused yet.
  if (queue_->waiting() <= kRoomy) call_->Resume();
}

void WatchState::End(const absl::Status& status) {
  if (std::exchange(over_, true)) return;
  Leave();
  if (!callbacks_->on_end) return;
  (void)queue_->Post([callbacks = callbacks_, status] { callbacks->on_end(status); });
}

namespace {

class WatchHandle final : public Watcher {
 public:
  WatchHandle(std::shared_ptr<ClientCore> core, etcdserverpb::WatchCreateRequest request,
              WatchCallbacks callbacks)
      : core_(std::move(core)),
        state_(
            std::make_shared<WatchState>(core_.get(), std::move(request), std::move(callbacks))) {
    core_->runtime().loop().Post([state = state_] { state->Open(); });
  }
  ~WatchHandle() override {
    core_->runtime().RunOnLoop([this] { state_->Cancel(); });
    state_->queue().Close();
  }
  void RequestProgress() override {
    core_->runtime().loop().Post([state = state_] { state->RequestProgress(); });
  }

 private:
  const std::shared_ptr<ClientCore> core_;
  const std::shared_ptr<WatchState> state_;
};

}  // namespace

std::unique_ptr<Watcher> StartWatch(std::shared_ptr<ClientCore> core,
                                    etcdserverpb::WatchCreateRequest request,
                                    WatchCallbacks callbacks) {
  return std::make_unique<WatchHandle>(std::move(core), std::move(request), std::move(callbacks));
}

}  // namespace keelson::kvstore::client_internal
