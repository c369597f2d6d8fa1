#include "raft/transport/internal/service.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/transport/codec.h"
#include "raft/transport/internal/caller.h"
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
class StreamHandler final : public rpc::CallHandler {
 public:
  StreamHandler(Hub& hub, ActiveCalls& calls, std::shared_ptr<rpc::Call> call)
      : hub_(hub), calls_(calls), call_(std::move(call)) {
    calls_.Add(call_);
    if (const absl::Status status = Check(); !status.ok()) Refuse(status);
  }

  void OnMessage(std::string_view bytes) override {
    if (refused_) return;
    const Hub::Pass pass = hub_.Enter();
    if (!pass) return Refuse(absl::UnavailableError("this node is stopping"));
    if (absl::Status handled = Handle(bytes); !handled.ok()) {
      hub_.Trouble(from_, Annotate(handled, absl::StrCat("messages of node ", absl::Hex(from_))));
      Refuse(handled);
    }
  }
  void OnHalfClose() override { call_->Finish(absl::OkStatus()); }
  void OnDone() override { calls_.Remove(call_); }

 private:
  absl::Status Check() {
    const Hub::Pass pass = hub_.Enter();
    if (!pass) return absl::UnavailableError("this node is not ready");
    const Caller caller = CheckCaller(hub_.options(), *call_);
    if (!caller.status.ok()) {
      hub_.Trouble(caller.from, caller.status);
      return caller.status;
    }
    from_ = caller.from;
    counters_ = hub_.Counters(from_);
    call_->Accept({{kAcceptedKey, "1"}});
    return absl::OkStatus();
  }

  void Refuse(const absl::Status& status) {
    refused_ = true;
    call_->Finish(status);
  }

  absl::Status Handle(std::string_view bytes) {
    counters_->received_bytes.fetch_add(bytes.size(), std::memory_order_relaxed);
    google::protobuf::io::ArrayInputStream in(bytes.data(), static_cast<int>(bytes.size()));
    KEELSON_ASSIGN_OR_RETURN(DecodedBatch batch, DecodeBatch(in, DecodeLimits{}));
    for (const Message& message : batch.messages) {
      if (message.to != hub_.options().self || !SenderIsRight(message, from_)) {
        return absl::InvalidArgumentError(absl::StrCat("a message from node ",
                                                       absl::Hex(message.from), " to node ",
                                                       absl::Hex(message.to), " came here"));
      }
      if (message.type == MessageType::kSnap) {
        return absl::InvalidArgumentError("a snapshot among the messages");
      }
    }
    counters_->received_messages.fetch_add(batch.messages.size(), std::memory_order_relaxed);
    if (batch.probe != 0) {
      v1::Ack ack;
      ack.set_probe(batch.probe);
      (void)call_->Send(ack.SerializeAsString());
    }
    if (!batch.messages.empty()) hub_.sink().Receive(std::move(batch.messages));
    return absl::OkStatus();
  }

  Hub& hub_;
  ActiveCalls& calls_;
  const std::shared_ptr<rpc::Call> call_;
  bool refused_ = false;
  NodeId from_ = kNoNode;
  std::shared_ptr<PeerCounters> counters_;
};

}  // namespace

void RaftService::RegisterOn(rpc::Server& server) {
  server.Register({.path = kStreamMethod,
                   .start =
                       [this](const std::shared_ptr<rpc::Call>& call) {
                         return std::make_shared<StreamHandler>(hub_, calls_, call);
                       },
                   .on_start = {},
                   .on_end = {}});
  server.Register({.path = kSnapshotMethod,
                   .start =
                       [this](const std::shared_ptr<rpc::Call>& call) {
                         return ReceiveSnapshot(hub_, calls_, receiving_, partials_, call);
                       },
                   .on_start = {},
                   .on_end = {}});
}

}  // namespace keelson::raft::transport
