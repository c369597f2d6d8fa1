// The receiving end of SendSnapshot.
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/crc32c.h"
#include "base/status.h"
#include "raft/transport/codec.h"
#include "raft/transport/internal/caller.h"
#include "raft/transport/internal/service.h"
#include "raft/transport/raft.pb.h"

namespace keelson::raft::transport {
namespace {

constexpr int kMaxReceiving = 4;  // at the same time, from all peers

// Parts are handled on the disk executor, one after the other: writing blocks. While one is, no
// other comes.
class SnapshotReceiver final : public rpc::CallHandler,
                               public std::enable_shared_from_this<SnapshotReceiver> {
 public:
  SnapshotReceiver(Hub& hub, ActiveCalls& calls, std::atomic<int>& receiving,
                   PartialSnapshots& partials, std::shared_ptr<rpc::Call> call)
      : hub_(hub),
        calls_(calls),
        receiving_(receiving),
        partials_(partials),
        call_(std::move(call)) {}

  // On the call's thread, before anything else.
  void Begin() {
    calls_.Add(call_);
    const int before = receiving_.fetch_add(1, std::memory_order_relaxed);
    const Hub::Pass pass = hub_.Enter();
    if (!pass) return Finish(absl::UnavailableError("this node is not ready"));
    const Caller caller = CheckCaller(hub_.options(), *call_);
    absl::Status status = caller.status;
    from_ = caller.from;
    if (status.ok() && !hub_.stores_snapshots()) {
      status = absl::UnimplementedError("this node stores no snapshots");
    }
    if (status.ok() && before >= kMaxReceiving) {
      status = absl::ResourceExhaustedError("too many snapshots are coming in");
    }
    if (!status.ok()) {
      hub_.Trouble(from_, status);
      return Finish(status);
    }
    counters_ = hub_.Counters(from_);
  }

  void OnMessage(std::string_view bytes) override {
    if (finished_) return;
    call_->Pause();
    const bool good = part_.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
    OnDisk([this, good] {
      if (!good) return Fail(absl::InvalidArgumentError("a part that cannot be decoded"));
      Take();
    });
  }
  void OnHalfClose() override {
    OnDisk([this] { EndsEarly(); });
  }
  void OnDone() override {
    receiving_.fetch_sub(1, std::memory_order_relaxed);
    calls_.Remove(call_);
    OnDisk([this] { EndsEarly(); });
  }

 private:
  void OnDisk(std::function<void()> task) {
    if (finished_) return;
    hub_.disk().Post([self = shared_from_this(), task = std::move(task)] {
      const Hub::Pass pass = self->hub_.Enter();
      if (pass && !self->finished_) task();
    });
  }
  void Finish(const absl::Status& status) {
    finished_ = true;
    call_->Finish(status);
  }
  void EndsEarly() {
    Keep();
    Fail(absl::InvalidArgumentError("it ends early"));
  }

  void Take() {
    absl::Status status;
    bool last = false;
    switch (part_.part_case()) {
      case v1::SnapshotPart::kHeader:
        status = TakeHeader();
        last = part_.query();
        break;
      case v1::SnapshotPart::kChunk:
        status = TakeChunk();
        break;
      case v1::SnapshotPart::kEnd:
        status = TakeEnd();
        last = true;
        break;
      case v1::SnapshotPart::PART_NOT_SET:
        status = absl::InvalidArgumentError("an empty part");
        break;
    }
    if (!status.ok()) return Fail(status);
    if (last) {
      finished_ = true;
      call_->Answer(result_.SerializeAsString());
    } else {
      call_->Resume();
    }
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
      result_.set_held_chunks(held.chunks);
      result_.set_held_crc32c(held.crc);
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
    Finish(trouble);
  }

  Hub& hub_;
  ActiveCalls& calls_;
  std::atomic<int>& receiving_;
  PartialSnapshots& partials_;
  const std::shared_ptr<rpc::Call> call_;
  std::atomic<bool> finished_{false};
  // Set by Begin.
  NodeId from_ = kNoNode;
  std::shared_ptr<PeerCounters> counters_;
  // Of the disk executor; `part_` of the call's thread before that.
  v1::SnapshotPart part_;
  v1::SnapshotResult result_;
  Message message_;
  PartialSnapshots::Partial arriving_;
};

}  // namespace

std::shared_ptr<rpc::CallHandler> ReceiveSnapshot(Hub& hub, ActiveCalls& calls,
                                                  std::atomic<int>& receiving,
                                                  PartialSnapshots& partials,
                                                  const std::shared_ptr<rpc::Call>& call) {
  auto receiver = std::make_shared<SnapshotReceiver>(hub, calls, receiving, partials, call);
  receiver->Begin();
  return receiver;
}

}  // namespace keelson::raft::transport
