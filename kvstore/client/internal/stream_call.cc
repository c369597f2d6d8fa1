#include "kvstore/client/internal/stream_call.h"

#include <deque>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace keelson::kvstore::client_internal {
namespace {

constexpr size_t kWaitingMax = 8;  // messages

// One try. The loop puts messages in, the caller takes them out.
class Stream final : public rpc::ResponseHandler, public std::enable_shared_from_this<Stream> {
 public:
  // On the loop.
  void Start(ClientCore* core, const std::string& path, const std::string& request,
             absl::Duration timeout) {
    core->WithToken([self = shared_from_this(), core, path, request,
                     timeout](const absl::StatusOr<std::string>& token) {
      if (!token.ok()) return self->OnDone(token.status());
      self->token_ = *token;
      self->endpoint_ = core->pool().Pick(core->runtime().Monotonic());
      rpc::CallOptions options{.path = path, .timeout = timeout};
      if (!token->empty()) options.metadata.emplace_back("token", *token);
      self->call_ = self->endpoint_->channel->Start(std::move(options), self);
      (void)self->call_->Send(request);
      self->call_->HalfClose();
    });
  }
  // On the loop. What comes afterwards is dropped.
  void Cancel() {
    if (call_ != nullptr) call_->Cancel();
  }
  [[nodiscard]] const std::string& token() const { return token_; }  // on the loop

  void OnMessage(std::string_view message) override {
    absl::MutexLock lock(&mu_);
    waiting_.emplace_back(message);
    if (waiting_.size() < kWaitingMax) return;
    paused_ = true;
    call_->Pause();
  }
  void OnDone(const absl::Status& status) override {
    absl::MutexLock lock(&mu_);
    end_ = status;
  }

  // The next message, or nothing at the end, which `end` then says.
  std::optional<std::string> Next(Runtime& runtime, absl::Status* end) {
    absl::MutexLock lock(&mu_);
    const auto ready = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return !waiting_.empty() || end_.has_value();
    };
    // The call itself keeps the time.
    if (!runtime.Await(&mu_, absl::Condition(&ready), absl::InfiniteDuration())) {
      *end = absl::InternalError("the simulation has come to its end");
      return std::nullopt;
    }
    if (waiting_.empty()) {
      *end = *end_;
      return std::nullopt;
    }
    std::string message = std::move(waiting_.front());
    waiting_.pop_front();
    if (waiting_.empty() && std::exchange(paused_, false)) {
      runtime.loop().Post([self = shared_from_this()] { self->call_->Resume(); });
    }
    return message;
  }

 private:
  // Of the loop.
  std::string token_;
  std::shared_ptr<Endpoint> endpoint_;
  std::shared_ptr<rpc::ClientCall> call_;

  absl::Mutex mu_;
  std::deque<std::string> waiting_ ABSL_GUARDED_BY(mu_);
  bool paused_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

absl::Status CallStream(const std::shared_ptr<ClientCore>& core, const std::string& path,
                        std::string request, absl::Duration timeout,
                        absl::FunctionRef<absl::Status(std::string_view message)> take) {
  Runtime& runtime = core->runtime();
  for (bool renewed = false;;) {
    const auto stream = std::make_shared<Stream>();
    runtime.RunOnLoop([&] { stream->Start(core.get(), path, request, timeout); });
    absl::Status status;
    bool any = false;
    while (const std::optional<std::string> message = stream->Next(runtime, &status)) {
      any = true;
      status = take(*message);
      if (status.ok()) continue;
      runtime.RunOnLoop([&] { stream->Cancel(); });
      return status;
    }
    if (any || !IsBadToken(status) || core->options().user.empty() ||
        std::exchange(renewed, true)) {
      return status;
    }
    runtime.RunOnLoop([&] { core->DropToken(stream->token()); });
  }
}

}  // namespace keelson::kvstore::client_internal
