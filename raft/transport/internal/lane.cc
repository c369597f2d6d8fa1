#include "raft/transport/internal/lane.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/client_callback.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status.h"
#include "raft/transport/codec.h"
#include "raft/transport/internal/channel.h"
#include "raft/transport/raft.pb.h"

namespace keelson::raft::transport {
namespace {

constexpr char kMethod[] = "/keelson.raft.transport.v1.RaftTransport/Stream";
constexpr absl::Duration kFirstBackoff = absl::Milliseconds(10);
constexpr absl::Duration kMaxBackoff = absl::Milliseconds(500);
constexpr absl::Duration kProbeInterval = absl::Seconds(1);

}  // namespace

LaneKind LaneOf(const Message& message) {
  return message.type == MessageType::kApp || message.type == MessageType::kProp
             ? LaneKind::kBulk
             : LaneKind::kUrgent;
}

// A hold keeps the stream alive while writes may start from outside of its callbacks; the
// lane says when to release it.
class Lane::Stream final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Stream(std::shared_ptr<Lane> lane, Hub::Pass pass)
      : pass_(std::move(pass)), lane_(std::move(lane)), stub_(lane_->channel_) {
    AddCallerMetadata(lane_->hub_.options(), lane_->peer_, context_);
  }

  void Begin() {
    stub_.PrepareBidiStreamingCall(&context_, kMethod, {}, this);
    AddHold();
    StartRead(&incoming_);
    StartCall();
  }

  void Write(WireBatch batch) {
    outgoing_ = ToByteBuffer(std::move(batch));
    StartWrite(&outgoing_);
  }

  void Cancel() { context_.TryCancel(); }

  void OnReadInitialMetadataDone(bool ok) override {
    // A refusal comes without this key.
    if (ok && context_.GetServerInitialMetadata().count(kAcceptedKey) > 0) lane_->Accepted();
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      if (lane_->ReadFailed()) RemoveHold();
      return;
    }
    grpc::ProtoBufferReader reader(&incoming_);
    transport::v1::Ack ack;
    if (ack.ParseFromZeroCopyStream(&reader)) lane_->Acknowledged(ack.probe());
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    if (lane_->WriteDone(ok)) {
      RemoveHold();
    } else {
      lane_->Pump();
    }
  }

  void OnDone(const grpc::Status& status) override {
    lane_->StreamDone(FromGrpc(status));
    delete this;
  }

 private:
  const Hub::Pass pass_;  // goes last: when it is gone, so are all uses of the channel
  const std::shared_ptr<Lane> lane_;
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
};

Lane::Lane(Hub& hub, NodeId peer, LaneKind kind, const std::string& address)
    : hub_(hub),
      peer_(peer),
      kind_(kind),
      channel_(OpenChannel(hub.options(), address)),
      counters_(hub.Counters(peer)),
      backoff_(kFirstBackoff) {
  hub_.Keep(channel_);
}

void Lane::Start() {
  {
    absl::MutexLock lock(&mu_);
    if (std::exchange(started_, true)) return;
  }
  Connect();
}

void Lane::Stop() {
  absl::MutexLock lock(&mu_);
  stopped_ = true;
  queue_.clear();
  queued_bytes_ = 0;
  if (stream_ != nullptr) stream_->Cancel();
}

void Lane::Connect() {
  Hub::Pass pass = hub_.Enter();
  if (!pass) return;
  grpc::experimental::ChannelResetConnectionBackoff(channel_.get());
  auto* stream = new Stream(shared_from_this(), std::move(pass));
  {
    absl::MutexLock lock(&mu_);
    if (stopped_) {
      delete stream;
      return;
    }
    stream_ = stream;
    accepted_ = false;
    broken_ = false;
    read_failed_ = false;
    sent_unaccepted_ = 0;
    // Nobody but this function touches the stream until it has begun.
    writing_ = true;
  }
  stream->Begin();
  if (WriteDone(true)) {
    stream->RemoveHold();
  } else {
    Pump();
  }
}

bool Lane::Enqueue(Message&& message) {
  const size_t bytes = EncodedBytes(message);
  absl::MutexLock lock(&mu_);
  const GrpcTransport::Options& options = hub_.options();
  const bool full = queue_.size() >= options.max_queued_messages ||
                    (!queue_.empty() && queued_bytes_ + bytes > options.max_queued_bytes);
  if (stopped_ || full) {
    counters_->dropped_messages.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  queued_bytes_ += bytes;
  queue_.push_back(std::move(message));
  return true;
}

std::vector<Message> Lane::TakeBatch() {
  const size_t limit = hub_.options().max_batch_bytes;
  std::vector<Message> batch;
  size_t bytes = 0;
  while (!queue_.empty()) {
    const size_t next = EncodedBytes(queue_.front());
    if (!batch.empty() && bytes + next > limit) break;
    bytes += next;
    batch.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  queued_bytes_ -= bytes;
  return batch;
}

uint64_t Lane::TakeProbe() {
  if (kind_ != LaneKind::kUrgent) return 0;
  const absl::Duration now = RealClock().Monotonic();
  if (now - last_probe_ < kProbeInterval) return 0;
  last_probe_ = now;
  return static_cast<uint64_t>(absl::ToInt64Nanoseconds(now));
}

void Lane::Pump() {
  std::vector<Message> batch;
  uint64_t probe = 0;
  Stream* stream = nullptr;
  {
    absl::MutexLock lock(&mu_);
    if (stream_ == nullptr || broken_ || writing_ || queue_.empty()) return;
    batch = TakeBatch();
    if (!accepted_) sent_unaccepted_ += batch.size();
    probe = TakeProbe();
    stream = stream_;
    writing_ = true;  // Keeps the stream alive until WriteDone.
  }
  WireBatch wire = EncodeBatch(batch, probe);
  counters_->sent_messages.fetch_add(batch.size(), std::memory_order_relaxed);
  counters_->sent_batches.fetch_add(1, std::memory_order_relaxed);
  counters_->sent_bytes.fetch_add(wire.bytes, std::memory_order_relaxed);
  stream->Write(std::move(wire));
}

bool Lane::WriteDone(bool ok) {
  absl::MutexLock lock(&mu_);
  writing_ = false;
  if (read_failed_) return true;
  // The read that is always under way will fail as well, and release the hold.
  if (!ok) broken_ = true;
  return false;
}

bool Lane::ReadFailed() {
  absl::MutexLock lock(&mu_);
  broken_ = true;
  read_failed_ = true;
  return !writing_;
}

void Lane::Accepted() {
  {
    absl::MutexLock lock(&mu_);
    accepted_ = true;
    backoff_ = kFirstBackoff;
  }
  if (kind_ == LaneKind::kUrgent) counters_->connected.store(true, std::memory_order_relaxed);
  hub_.IsWell(peer_);
}

void Lane::Acknowledged(uint64_t probe) {
  const int64_t now = absl::ToInt64Nanoseconds(RealClock().Monotonic());
  const int64_t elapsed = now - static_cast<int64_t>(probe);
  if (elapsed > 0) counters_->round_trip_nanos.store(elapsed, std::memory_order_relaxed);
}

void Lane::StreamDone(const absl::Status& status) {
  size_t dropped = 0;
  bool was_accepted = false;
  absl::Duration delay;
  {
    absl::MutexLock lock(&mu_);
    stream_ = nullptr;
    was_accepted = std::exchange(accepted_, false);
    if (kind_ == LaneKind::kUrgent) counters_->connected.store(false, std::memory_order_relaxed);
    if (stopped_) return;
    if (!was_accepted) {
      // Old by now; Raft would rather learn that the peer cannot be reached.
      dropped = queue_.size() + sent_unaccepted_;
      queue_.clear();
      queued_bytes_ = 0;
    }
    delay = backoff_;
    backoff_ = std::min(2 * backoff_, kMaxBackoff);
  }
  counters_->dropped_messages.fetch_add(dropped, std::memory_order_relaxed);
  const absl::Status trouble =
      status.ok() ? absl::UnavailableError("the peer closed the stream") : status;
  hub_.Trouble(peer_, Annotate(trouble, absl::StrCat("stream to node ", absl::Hex(peer_))));
  if (was_accepted || dropped > 0) hub_.sink().ReportUnreachable(peer_);
  hub_.timers().PostAfter(delay, [lane = weak_from_this()] {
    if (const auto self = lane.lock()) self->Connect();
  });
}

}  // namespace keelson::raft::transport
