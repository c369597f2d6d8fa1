// The receiving end of SendSnapshot.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/crc32c.h"
#include "base/status.h"
#include "raft/transport/codec.h"
#include "raft/transport/internal/channel.h"
#include "raft/transport/internal/service.h"
#include "raft/transport/raft.pb.h"

namespace keelson::raft::transport {
namespace {

constexpr int kMaxReceiving = 4;  // at the same time, from all peers

// Parts are handled on the disk executor, one after the other: writing blocks.
class SnapshotReceiver final : public grpc::ServerReadReactor<v1::SnapshotPart> {
 public:
  SnapshotReceiver(Hub& hub, ActiveCalls& calls, std::atomic<int>& receiving,
                   grpc::CallbackServerContext* context)
      : hub_(hub), calls_(calls), receiving_(receiving), context_(context), pass_(hub.Enter()) {
    calls_.Add(context);
    const int before = receiving_.fetch_add(1, std::memory_order_relaxed);
    if (!pass_) {
      Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "this node is not ready"));
      return;
    }
    const Caller caller = CheckCaller(hub.options(), *context);
    absl::Status status = caller.status;
    from_ = caller.from;
    if (status.ok() && hub.options().snapshots == nullptr) {
      status = absl::UnimplementedError("this node stores no snapshots");
    }
    if (status.ok() && before >= kMaxReceiving) {
      status = absl::ResourceExhaustedError("too many snapshots are coming in");
    }
    if (!status.ok()) {
      hub_.Trouble(from_, status);
      Finish(ToGrpc(status));
      return;
    }
    counters_ = hub.Counters(from_);
    StartRead(&part_);
  }

  void OnReadDone(bool ok) override {
    hub_.disk().Post(
        [this, ok] { ok ? Take() : Fail(absl::InvalidArgumentError("it ends early")); });
  }

  void OnDone() override {
    receiving_.fetch_sub(1, std::memory_order_relaxed);
    calls_.Remove(context_);
    delete this;
  }

 private:
  void Take() {
    absl::Status status;
    switch (part_.part_case()) {
      case v1::SnapshotPart::kHeader:
        status = TakeHeader();
        break;
      case v1::SnapshotPart::kChunk:
        status = TakeChunk();
        break;
      case v1::SnapshotPart::kEnd:
        status = TakeEnd();
        if (!status.ok()) break;
        Finish(grpc::Status::OK);
        return;
      case v1::SnapshotPart::PART_NOT_SET:
        status = absl::InvalidArgumentError("an empty part");
        break;
    }
    if (!status.ok()) {
      Fail(status);
      return;
    }
    StartRead(&part_);
  }

  absl::Status TakeHeader() {
    if (writer_ != nullptr) return absl::InvalidArgumentError("a second header");
    KEELSON_ASSIGN_OR_RETURN(message_,
                             DecodeMessage(std::move(*part_.mutable_header()), DecodeLimits{}));
    if (message_.type != MessageType::kSnap || message_.to != hub_.options().self ||
        message_.from != from_) {
      return absl::InvalidArgumentError("the header is no snapshot message for this node");
    }
    KEELSON_ASSIGN_OR_RETURN(writer_,
                             hub_.options().snapshots->Create(message_.snapshot->metadata));
    return absl::OkStatus();
  }

  absl::Status TakeChunk() {
    const std::string& data = part_.chunk().data();
    if (writer_ == nullptr) return absl::InvalidArgumentError("a chunk before the header");
    if (data.empty() || Crc32c(data) != part_.chunk().crc32c()) {
      return absl::DataLossError(absl::StrCat("chunk ", chunks_, " is damaged"));
    }
    counters_->received_bytes.fetch_add(data.size(), std::memory_order_relaxed);
    ++chunks_;
    total_bytes_ += data.size();
    return writer_->Append(data);
  }

  absl::Status TakeEnd() {
    if (writer_ == nullptr) return absl::InvalidArgumentError("an end before the header");
    if (part_.end().chunks() != chunks_ || part_.end().total_bytes() != total_bytes_) {
      return absl::DataLossError(
          absl::StrCat(total_bytes_, " bytes came, ", part_.end().total_bytes(), " were sent"));
    }
    KEELSON_RETURN_IF_ERROR(writer_->Commit());
    counters_->snapshots_received.fetch_add(1, std::memory_order_relaxed);
    std::vector<Message> messages;
    messages.push_back(std::move(message_));
    hub_.sink().Receive(std::move(messages));
    return absl::OkStatus();
  }

  void Fail(const absl::Status& status) {
    writer_.reset();  // Removes what was written.
    const absl::Status trouble =
        Annotate(status, absl::StrCat("snapshot from node ", absl::Hex(from_)));
    hub_.Trouble(from_, trouble);
    Finish(ToGrpc(trouble));
  }

  Hub& hub_;
  ActiveCalls& calls_;
  std::atomic<int>& receiving_;
  grpc::CallbackServerContext* const context_;
  const Hub::Pass pass_;
  NodeId from_ = kNoNode;
  std::shared_ptr<PeerCounters> counters_;
  v1::SnapshotPart part_;
  Message message_;
  std::unique_ptr<SnapshotWriter> writer_;
  uint64_t chunks_ = 0;
  uint64_t total_bytes_ = 0;
};

}  // namespace

grpc::ServerReadReactor<v1::SnapshotPart>* NewSnapshotReceiver(
    Hub& hub, ActiveCalls& calls, std::atomic<int>& receiving,
    grpc::CallbackServerContext* context) {
  return new SnapshotReceiver(hub, calls, receiving, context);
}

}  // namespace keelson::raft::transport
