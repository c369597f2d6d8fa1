#include "kvstore/client/internal/grpc_watcher.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace keelson::kvstore::client_internal {
namespace {

constexpr absl::Duration kDialStep = absl::Milliseconds(200);
constexpr absl::Duration kPause = absl::Milliseconds(50);

// Errors that another endpoint or another try will not cure.
bool IsFinal(grpc::StatusCode code) {
  return code == grpc::StatusCode::UNAUTHENTICATED || code == grpc::StatusCode::PERMISSION_DENIED ||
         code == grpc::StatusCode::INVALID_ARGUMENT || code == grpc::StatusCode::UNIMPLEMENTED;
}

absl::Status EndReason(const etcdserverpb::WatchResponse& response) {
  if (response.compact_revision() != 0) {
    return absl::OutOfRangeError("etcdserver: mvcc: required revision has been compacted");
  }
  return absl::CancelledError(response.cancel_reason().empty() ? "etcdserver: watch canceled"
                                                               : response.cancel_reason());
}

}  // namespace

GrpcWatcher::GrpcWatcher(std::shared_ptr<EndpointPool> pool,
                         etcdserverpb::WatchCreateRequest request, WatchCallbacks callbacks)
    : pool_(std::move(pool)), callbacks_(std::move(callbacks)), request_(std::move(request)) {
  request_.set_fragment(true);
  thread_ = std::thread([this] { Run(); });
}

GrpcWatcher::~GrpcWatcher() {
  cancellation_.Cancel();
  thread_.join();
}

void GrpcWatcher::RequestProgress() {
  etcdserverpb::WatchRequest request;
  request.mutable_progress_request();
  absl::MutexLock lock(&write_mu_);
  if (stream_ != nullptr) stream_->Write(request);
}

void GrpcWatcher::SetStream(Stream* stream) {
  absl::MutexLock lock(&write_mu_);
  stream_ = stream;
}

void GrpcWatcher::Run() {
  while (!cancellation_.Cancelled()) {
    const EndpointPool::Picked picked = pool_->Pick(absl::Now() + kDialStep);
    if (picked.connected) {
      if (!RunStream(pool_->At(picked.index))) return;
      pool_->MoveOnFrom(picked.index);
    }
    cancellation_.WaitFor(kPause);
  }
}

bool GrpcWatcher::RunStream(const EndpointPool::Endpoint& endpoint) {
  grpc::ClientContext context;
  // A member that has lost its leader shall end the stream, so that we go elsewhere.
  context.AddMetadata("hasleader", "true");
  if (!cancellation_.Enter(&context)) return false;
  const grpc::Status authorized = pool_->tokens().AddTo(endpoint.channel, &context);
  if (!authorized.ok()) {
    cancellation_.Leave();
    if (!IsFinal(authorized.error_code())) return true;
    End(ToStatus(authorized));
    return false;
  }
  const std::unique_ptr<Stream> stream = endpoint.watch->Watch(&context);
  etcdserverpb::WatchRequest create;
  *create.mutable_create_request() = request_;
  stream->Write(create);
  SetStream(stream.get());
  const bool more = ReadAll(*stream);
  SetStream(nullptr);
  context.TryCancel();
  const grpc::Status status = stream->Finish();
  cancellation_.Leave();
  if (!more || cancellation_.Cancelled()) return false;
  if (IsFinal(status.error_code())) {
    End(ToStatus(status));
    return false;
  }
  return true;
}

bool GrpcWatcher::ReadAll(Stream& stream) {
  has_partial_ = false;  // Pieces of a broken stream come again as a whole.
  etcdserverpb::WatchResponse response;
  while (stream.Read(&response)) {
    if (response.canceled()) {
      End(EndReason(response));
      return false;
    }
    if (response.created()) {
      // From now on a reconnect must not skip what happens in between.
      if (request_.start_revision() == 0) {
        request_.set_start_revision(response.header().revision() + 1);
      }
      continue;
    }
    if (has_partial_) {
      partial_.mutable_events()->MergeFrom(response.events());
    } else {
      partial_ = response;
    }
    has_partial_ = response.fragment();
    if (!has_partial_) {
      partial_.set_fragment(false);
      Deliver(partial_);
    }
  }
  return true;
}

void GrpcWatcher::Deliver(const etcdserverpb::WatchResponse& response) {
  int64_t next = request_.start_revision();
  if (!response.events().empty()) {
    next = response.events().rbegin()->kv().mod_revision() + 1;
  } else if (response.watch_id() >= 0) {
    // An answer to RequestProgress (id -1) is not used: servers before etcd 3.4.31 could send
    // it too early.
    next = response.header().revision() + 1;
  }
  callbacks_.on_response(response);
  request_.set_start_revision(std::max(request_.start_revision(), next));
}

void GrpcWatcher::End(const absl::Status& status) {
  if (callbacks_.on_end && !cancellation_.Cancelled()) callbacks_.on_end(status);
}

}  // namespace keelson::kvstore::client_internal
