#include "kvstore/server/watch_service.h"

#include <memory>
#include <utility>

#include "kvstore/errors.h"
#include "kvstore/server/watch_stream.h"

namespace keelson::kvstore {
namespace {

using grpc::ByteBuffer;

ByteBuffer ToBuffer(std::string bytes) {
  constexpr size_t kCopyIsCheaper = 512;
  if (bytes.size() <= kCopyIsCheaper) {
    grpc::Slice slice(bytes);
    return {&slice, 1};
  }
  auto* const owned = new std::string(std::move(bytes));
  grpc::Slice slice(
      owned->data(), owned->size(), [](void* text) { delete static_cast<std::string*>(text); },
      owned);
  return {&slice, 1};
}

// One client's stream. Owns itself from Start until OnDone.
//
// Whoever makes the stream's Next return nothing leaves the duty to write with the hub,
// which passes it on by Wake; so there is one writer at a time.
class WatchReactor final : public grpc::ServerBidiReactor<ByteBuffer, ByteBuffer>,
                           public WatchWaker,
                           public std::enable_shared_from_this<WatchReactor> {
 public:
  WatchReactor(Server* server, grpc::CallbackServerContext* context, MethodMetrics* metrics)
      : server_(server), context_(context), metrics_(metrics) {}

  void Start() {
    metrics_->Started();
    self_ = shared_from_this();
    stream_ = server_->watch_hub().Open(weak_from_this());
    if (RequiresLeader(*context_)) {
      monitor_id_ = server_->leader_monitor().Add([weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->LoseLeader();
      });
      if (!server_->HasLeader()) return FinishWith(end_.End(ToGrpc(errors::NoLeader())));
    }
    StartRead(&request_);
  }

  void Wake() override { WriteNext(); }

  void OnReadDone(bool ok) override {
    // The client has said all: the stream ends, as with etcd.
    if (!ok) return FinishWith(end_.End(grpc::Status::OK));
    etcdserverpb::WatchRequest request;
    const grpc::Status parsed =
        grpc::SerializationTraits<etcdserverpb::WatchRequest>::Deserialize(&request_, &request);
    if (!parsed.ok()) {
      return FinishWith(
          end_.End({grpc::StatusCode::INTERNAL, "a watch request cannot be decoded"}));
    }
    stream_->Handle(request);
    // A client that asks and does not read is not listened to until it does.
    if (stream_->Crowded()) {
      read_waits_.store(true);
      if (stream_->Crowded()) return;
      if (!read_waits_.exchange(false)) return;
    }
    StartRead(&request_);
  }

  void OnWriteDone(bool ok) override {
    if (std::optional<grpc::Status> status = end_.Idle()) return FinishWith(std::move(status));
    if (!ok) return FinishWith(end_.End(Cancelled()));
    if (!stream_->Crowded() && read_waits_.exchange(false)) StartRead(&request_);
    WriteNext();
  }

  void OnCancel() override { FinishWith(end_.End(Cancelled())); }

  void OnDone() override {
    stream_->Close();
    if (monitor_id_ != 0) server_->leader_monitor().Remove(monitor_id_);
    self_.reset();  // Destroys this, unless it is being woken just now.
  }

 private:
  static grpc::Status Cancelled() {
    return {grpc::StatusCode::CANCELLED, "etcdserver: watch canceled"};
  }

  void WriteNext() {
    if (!end_.Begin()) return;
    std::optional<std::string> response = stream_->Next();
    if (!response.has_value()) return FinishWith(end_.Idle());
    response_ = ToBuffer(*std::move(response));
    StartWrite(&response_);
  }

  void LoseLeader() { FinishWith(end_.End(ToGrpc(errors::NoLeader()))); }

  void FinishWith(std::optional<grpc::Status> status) {
    if (!status.has_value()) return;
    metrics_->Handled(status->error_code());
    Finish(*status);
  }

  Server* const server_;
  grpc::CallbackServerContext* const context_;
  MethodMetrics* const metrics_;
  std::shared_ptr<WatchReactor> self_;
  std::shared_ptr<WatchStream> stream_;
  uint64_t monitor_id_ = 0;
  StreamEnd end_;
  std::atomic<bool> read_waits_{false};
  ByteBuffer request_;
  ByteBuffer response_;
};

}  // namespace

WatchService::WatchService(Server* server, MetricRegistry* metrics)
    : server_(server), metrics_(metrics, "bidi_stream", "etcdserverpb.Watch", "Watch") {}

grpc::ServerBidiReactor<ByteBuffer, ByteBuffer>* WatchService::Watch(
    grpc::CallbackServerContext* context) {
  const auto reactor = std::make_shared<WatchReactor>(server_, context, &metrics_);
  reactor->Start();
  return reactor.get();
}

}  // namespace keelson::kvstore
