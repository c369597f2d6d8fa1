// The receiving end of SendSnapshot.
#include <algorithm>
#include <memory>
#include <optional>
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
                   PartialSnapshots& partials, grpc::CallbackServerContext* context,
                   v1::SnapshotResult* result)
      : hub_(hub),
        calls_(calls),
        receiving_(receiving),
        partials_(partials),
        context_(context),
        result_(result),
        pass_(hub.Enter()) {
    calls_.Add(context);
    const int before = receiving_.fetch_add(1, std::memory_order_relaxed);
    if (!pass_) {
      Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "this node is not ready"));
      return;
    }
    const Caller caller = CheckCaller(hub.options(), *context);
    absl::Status status = caller.status;
    from_ = caller.from;
    if (status.ok() && !hub.stores_snapshots()) {
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
    hub_.disk().Post([this, ok] {
      if (ok) return Take();
      Keep();
      Fail(absl::InvalidArgumentError("it ends early"));
    });
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
        if (!status.ok() || !part_.query()) break;
        Finish(grpc::Status::OK);
        return;
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
    if (arriving_.writer != nullptr) return absl::InvalidArgumentError("a second header");
    KEELSON_ASSIGN_OR_RETURN(message_,
                             DecodeMessage(std::move(*part_.mutable_header()), DecodeLimits{}));
    if (message_.type != MessageType::kSnap || message_.to != hub_.options().self ||
        message_.from != from_) {
      return absl::InvalidArgumentError("the header is no snapshot message for this node");
    }
    const SnapshotMetadata& metadata = message_.snapshot->metadata;
    arriving_.store = hub_.SnapshotsOf(message_.group);
    if (arriving_.store == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat("group ", message_.group, " is not on this node"));
    }
    arriving_.from = from_;
    arriving_.group = message_.group;
    arriving_.index = metadata.index;
    arriving_.term = metadata.term;
    if (part_.query()) {
      const PartialSnapshots::Held held = partials_.Peek(arriving_);
      result_->set_held_chunks(held.chunks);
      result_->set_held_crc32c(held.crc);
      return absl::OkStatus();
    }
    std::optional<PartialSnapshots::Partial> held = partials_.Take(arriving_);
    if (part_.first_chunk() == 0) {
      held.reset();  // Removes its file.
      KEELSON_ASSIGN_OR_RETURN(arriving_.writer, arriving_.store->Create(metadata));
      return absl::OkStatus();
    }
    if (!held.has_value() || held->chunks != part_.first_chunk()) {
      return absl::UnavailableError(absl::StrCat("it begins at chunk ", part_.first_chunk(),
                                                 ", here are ",
                                                 held.has_value() ? held->chunks : 0));
    }
    arriving_ = *std::move(held);
    counters_->snapshots_resumed.fetch_add(1, std::memory_order_relaxed);
    return absl::OkStatus();
  }

  absl::Status TakeChunk() {
    const std::string& data = part_.chunk().data();
    if (arriving_.writer == nullptr) {
      return absl::InvalidArgumentError("a chunk before the header");
    }
    if (data.empty() || Crc32c(data) != part_.chunk().crc32c()) {
      const uint64_t chunk = arriving_.chunks;
      Keep();  // The sender asks where to go on, and sends it again.
      return absl::DataLossError(absl::StrCat("chunk ", chunk, " is damaged"));
    }
    counters_->received_bytes.fetch_add(data.size(), std::memory_order_relaxed);
    ++arriving_.chunks;
    arriving_.total_bytes += data.size();
    arriving_.crc = ExtendCrc32c(arriving_.crc, data);
    return arriving_.writer->Append(data);
  }

  absl::Status TakeEnd() {
    if (arriving_.writer == nullptr) {
      return absl::InvalidArgumentError("an end before the header");
    }
    if (part_.end().chunks() != arriving_.chunks ||
        part_.end().total_bytes() != arriving_.total_bytes) {
      return absl::InvalidArgumentError(absl::StrCat(arriving_.total_bytes, " bytes came, ",
                                                     part_.end().total_bytes(), " were sent"));
    }
    KEELSON_RETURN_IF_ERROR(arriving_.writer->Commit());
    counters_->snapshots_received.fetch_add(1, std::memory_order_relaxed);
    std::vector<Message> messages;
    messages.push_back(std::move(message_));
    hub_.sink().Receive(std::move(messages));
    return absl::OkStatus();
  }

  // Leaves what has arrived for another try.
  void Keep() {
    if (arriving_.writer == nullptr || arriving_.chunks == 0) return;
    partials_.Keep(std::move(arriving_));
    arriving_ = {};
  }

  void Fail(const absl::Status& status) {
    arriving_.writer.reset();  // Removes what was written, unless it was kept.
    const absl::Status trouble =
        Annotate(status, absl::StrCat("snapshot from node ", absl::Hex(from_)));
    hub_.Trouble(from_, trouble);
    Finish(ToGrpc(trouble));
  }

  Hub& hub_;
  ActiveCalls& calls_;
  std::atomic<int>& receiving_;
  PartialSnapshots& partials_;
  grpc::CallbackServerContext* const context_;
  v1::SnapshotResult* const result_;
  const Hub::Pass pass_;
  NodeId from_ = kNoNode;
  std::shared_ptr<PeerCounters> counters_;
  v1::SnapshotPart part_;
  Message message_;
  PartialSnapshots::Partial arriving_;
};

}  // namespace

grpc::ServerReadReactor<v1::SnapshotPart>* NewSnapshotReceiver(Hub& hub, ActiveCalls& calls,
                                                               std::atomic<int>& receiving,
                                                               PartialSnapshots& partials,
                                                               grpc::CallbackServerContext* context,
                                                               v1::SnapshotResult* result) {
  return new SnapshotReceiver(hub, calls, receiving, partials, context, result);
}

}  // namespace keelson::raft::transport
