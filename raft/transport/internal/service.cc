#include "raft/transport/internal/service.h"

#include <grpcpp/support/proto_buffer_reader.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/transport/codec.h"
#include "raft/transport/internal/channel.h"
#include "raft/transport/raft.pb.h"

namespace keelson::raft::transport {
namespace {

// True when the sender of the stream may have sent `message`. Proposals and read requests
// keep the id of the node that made them when a follower passes them on.
bool SenderIsRight(const Message& message, NodeId from) {
  switch (message.type) {
    case MessageType::kProp:
    case MessageType::kReadIndex:
    case MessageType::kReadIndexResp:
    case MessageType::kTransferLeader:
      return true;
    default:
      return message.from == from;
  }
}

// One incoming lane.
class StreamReactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  StreamReactor(Hub& hub, ActiveCalls& calls, grpc::CallbackServerContext* context)
      : hub_(hub), calls_(calls), context_(context), pass_(hub.Enter()) {
    calls_.Add(context);
    if (!pass_) {
      Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "this node is not ready"));
      return;
    }
    const Caller caller = CheckCaller(hub.options(), *context);
    if (!caller.status.ok()) {
      hub_.Trouble(caller.from, caller.status);
      Finish(ToGrpc(caller.status));
      return;
    }
    from_ = caller.from;
    counters_ = hub.Counters(from_);
    context->AddInitialMetadata(kAcceptedKey, "1");
    StartSendInitialMetadata();
    StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      RequestFinish(grpc::Status::OK);
      return;
    }
    if (absl::Status handled = Handle(); !handled.ok()) {
      hub_.Trouble(from_, Annotate(handled, absl::StrCat("messages of node ", absl::Hex(from_))));
      RequestFinish(ToGrpc(handled));
      return;
    }
    StartRead(&incoming_);
  }

  void OnWriteDone(bool) override {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    if (finish_requested_) Finish(finish_status_);
  }

  void OnDone() override {
    calls_.Remove(context_);
    delete this;
  }

 private:
  absl::Status Handle() {
    counters_->received_bytes.fetch_add(incoming_.Length(), std::memory_order_relaxed);
    absl::StatusOr<DecodedBatch> batch = [&] {
      grpc::ProtoBufferReader reader(&incoming_);
      return DecodeBatch(reader, DecodeLimits{});
    }();
    incoming_.Clear();
    KEELSON_RETURN_IF_ERROR(batch);
    for (const Message& message : batch->messages) {
      if (message.to != hub_.options().self || !SenderIsRight(message, from_)) {
        return absl::InvalidArgumentError(absl::StrCat("a message from node ",
                                                       absl::Hex(message.from), " to node ",
                                                       absl::Hex(message.to), " came here"));
      }
      if (message.type == MessageType::kSnap) {
        return absl::InvalidArgumentError("a snapshot among the messages");
      }
    }
    counters_->received_messages.fetch_add(batch->messages.size(), std::memory_order_relaxed);
    if (batch->probe != 0) Acknowledge(batch->probe);
    if (!batch->messages.empty()) hub_.sink().Receive(std::move(batch->messages));
    return absl::OkStatus();
  }

  void Acknowledge(uint64_t probe) {
    v1::Ack ack;
    ack.set_probe(probe);
    const grpc::Slice slice(ack.SerializeAsString());
    absl::MutexLock lock(&mu_);
    // A probe that comes before the last answer is out can wait for the next one.
    if (writing_ || finish_requested_) return;
    writing_ = true;
    outgoing_ = grpc::ByteBuffer(&slice, 1);
    StartWrite(&outgoing_);
  }

  void RequestFinish(const grpc::Status& status) {
    absl::MutexLock lock(&mu_);
    finish_requested_ = true;
    finish_status_ = status;
    if (!writing_) Finish(status);
  }

  Hub& hub_;
  ActiveCalls& calls_;
  grpc::CallbackServerContext* const context_;
  const Hub::Pass pass_;
  NodeId from_ = kNoNode;
  std::shared_ptr<PeerCounters> counters_;
  grpc::ByteBuffer incoming_;

  absl::Mutex mu_;
  grpc::ByteBuffer outgoing_ ABSL_GUARDED_BY(mu_);
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool finish_requested_ ABSL_GUARDED_BY(mu_) = false;
  grpc::Status finish_status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* RaftService::Stream(
    grpc::CallbackServerContext* context) {
  return new StreamReactor(hub_, calls_, context);
}

grpc::ServerReadReactor<v1::SnapshotPart>* RaftService::SendSnapshot(
    grpc::CallbackServerContext* context, v1::SnapshotResult* result) {
  return NewSnapshotReceiver(hub_, calls_, receiving_, partials_, context, result);
}

}  // namespace keelson::raft::transport
