#include "raft/transport/internal/lane.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status.h"
#include "raft/transport/codec.h"
#include "raft/transport/internal/caller.h"
#include "raft/transport/raft.pb.h"

namespace keelson::raft::transport {
namespace {

constexpr absl::Duration kFirstBackoff = absl::Milliseconds(10);
constexpr absl::Duration kMaxBackoff = absl::Milliseconds(500);
constexpr absl::Duration kProbeInterval = absl::Seconds(1);

}  // namespace

LaneKind LaneOf(const Message& message) {
  return message.type == MessageType::kApp || message.type == MessageType::kProp
             ? LaneKind::kBulk
             : LaneKind::kUrgent;
}

class Lane::Stream final : public rpc::ResponseHandler {
 public:
  Stream(std::shared_ptr<Lane> lane, Hub::Pass pass)
      : lane_(std::move(lane)), pass_(std::move(pass)) {}

  void OnAccepted(const rpc::Metadata& fields) override {
    const bool accepted = std::any_of(fields.begin(), fields.end(), [](const auto& field) {
      return field.first == kAcceptedKey;
    });
    if (accepted) lane_->Accepted();
  }
  void OnMessage(std::string_view message) override {
    v1::Ack ack;
    if (ack.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      lane_->Acknowledged(ack.probe());
    }
  }
  void OnRoom() override { lane_->HasRoom(); }
  void OnDone(const absl::Status& status) override {
    lane_->StreamDone(status);
    pass_ = Hub::Pass();  // Lets go.
  }

 private:
  const std::shared_ptr<Lane> lane_;
  Hub::Pass pass_;
};

Lane::Lane(Hub& hub, NodeId peer, LaneKind kind, const std::string& address)
    : hub_(hub),
      peer_(peer),
      kind_(kind),
      channel_(OpenChannel(hub, address)),
      counters_(hub.Counters(peer)),
      backoff_(kFirstBackoff) {}

void Lane::Start() {
  {
    absl::MutexLock lock(&mu_);
    if (std::exchange(started_, true)) return;
  }
  hub_.loop().Post([self = shared_from_this()] { self->Connect(); });
}

void Lane::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopped_ = true;
    queue_.clear();
    queued_bytes_ = 0;
  }
  if (hub_.loop().InLoop()) {
    // Perhaps a call of this channel is what we are in.
    hub_.loop().Post([channel = channel_] { channel->Close(); });
  } else {
    channel_->Close();
  }
}

bool Lane::Enqueue(Message&& message) {
  const size_t bytes = EncodedBytes(message);
  absl::MutexLock lock(&mu_);
  const PeerTransport::Options& options = hub_.options();
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

void Lane::Pump() {
  {
    absl::MutexLock lock(&mu_);
    if (stopped_ || std::exchange(pumping_, true)) return;
  }
  auto write = [self = shared_from_this()] { self->Write(); };
  if (hub_.loop().InLoop()) {
    hub_.loop().Defer(std::move(write));
  } else {
    hub_.loop().Post(std::move(write));
  }
}

// --- On the loop ---

void Lane::Connect() {
  {
    absl::MutexLock lock(&mu_);
    if (stopped_) return;  // The hub may be gone, even.
  }
  Hub::Pass pass = hub_.Enter();
  if (!pass) return;
  accepted_ = false;
  sent_unaccepted_ = 0;
  room_ = true;
  call_ = channel_->Start(CallTo(hub_.options(), peer_, kStreamMethod),
                          std::make_shared<Stream>(shared_from_this(), std::move(pass)));
  Write();
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

void Lane::Write() {
  {
    absl::MutexLock lock(&mu_);
    pumping_ = false;
  }
  while (call_ != nullptr && room_) {
    std::vector<Message> batch;
    {
      absl::MutexLock lock(&mu_);
      batch = TakeBatch();
    }
    if (batch.empty()) return;
    if (!accepted_) sent_unaccepted_ += batch.size();
    const WireBatch wire = EncodeBatch(batch, TakeProbe());
    counters_->sent_messages.fetch_add(batch.size(), std::memory_order_relaxed);
    counters_->sent_batches.fetch_add(1, std::memory_order_relaxed);
    counters_->sent_bytes.fetch_add(wire.bytes, std::memory_order_relaxed);
    room_ = call_->Send(Join(wire));
  }
}

void Lane::HasRoom() {
  room_ = true;
  Write();
}

void Lane::Accepted() {
  accepted_ = true;
  backoff_ = kFirstBackoff;
  if (kind_ == LaneKind::kUrgent) counters_->connected.store(true, std::memory_order_relaxed);
  hub_.IsWell(peer_);
}

void Lane::Acknowledged(uint64_t probe) {
  const int64_t now = absl::ToInt64Nanoseconds(RealClock().Monotonic());
  const int64_t elapsed = now - static_cast<int64_t>(probe);
  if (elapsed > 0) counters_->round_trip_nanos.store(elapsed, std::memory_order_relaxed);
}

void Lane::StreamDone(const absl::Status& status) {
  call_ = nullptr;
  const bool was_accepted = std::exchange(accepted_, false);
  if (kind_ == LaneKind::kUrgent) counters_->connected.store(false, std::memory_order_relaxed);
  size_t dropped = 0;
  {
    absl::MutexLock lock(&mu_);
    if (stopped_) return;
    if (!was_accepted) {
      // Old by now; Raft would rather learn that the peer cannot be reached.
      dropped = queue_.size() + sent_unaccepted_;
      queue_.clear();
      queued_bytes_ = 0;
    }
  }
  counters_->dropped_messages.fetch_add(dropped, std::memory_order_relaxed);
  const absl::Status trouble =
      status.ok() ? absl::UnavailableError("the peer closed the stream") : status;
  hub_.Trouble(peer_, Annotate(trouble, absl::StrCat("stream to node ", absl::Hex(peer_))));
  if (was_accepted || dropped > 0) hub_.sink().ReportUnreachable(peer_);
  hub_.loop().PostAfter(backoff_, [lane = weak_from_this()] {
    if (const auto self = lane.lock()) self->Connect();
  });
  backoff_ = std::min(2 * backoff_, kMaxBackoff);
}

}  // namespace keelson::raft::transport
