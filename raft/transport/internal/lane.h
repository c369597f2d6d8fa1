// One stream to one peer: a bounded queue, batches, reconnection.
#ifndef KEELSON_RAFT_TRANSPORT_INTERNAL_LANE_H_
#define KEELSON_RAFT_TRANSPORT_INTERNAL_LANE_H_

#include <grpcpp/channel.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "raft/transport/internal/hub.h"
#include "raft/types.h"

namespace keelson::raft::transport {

enum class LaneKind : uint8_t {
  kUrgent = 0,  // heartbeats, votes, responses: small, and late ones are worth nothing
  kBulk = 1,    // appends and proposals, in the order sent
};

// The lane on which `message` travels. Empty appends go with the full ones: one that
// overtakes them would be rejected for a gap.
LaneKind LaneOf(const Message& message);

// Thread-safe. Owned by shared_ptr; the hub outlives it.
class Lane : public std::enable_shared_from_this<Lane> {
 public:
  Lane(Hub& hub, NodeId peer, LaneKind kind, const std::string& address);

  // Connects, and again whenever the stream ends, until Stop. Only the first call counts.
  void Start() ABSL_LOCKS_EXCLUDED(mu_);
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  // False when the queue is full or the lane has stopped. Call Pump after the last one.
  bool Enqueue(Message&& message) ABSL_LOCKS_EXCLUDED(mu_);
  // Writes what is queued if no write is under way.
  void Pump() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  class Stream;

  void Connect() ABSL_LOCKS_EXCLUDED(mu_);
  // Callbacks of the stream.
  void Accepted() ABSL_LOCKS_EXCLUDED(mu_);
  void Acknowledged(uint64_t probe);
  // True when the stream's hold is to be released: it has ended and no write is under way.
  bool WriteDone(bool ok) ABSL_LOCKS_EXCLUDED(mu_);
  bool ReadFailed() ABSL_LOCKS_EXCLUDED(mu_);
  void StreamDone(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  std::vector<Message> TakeBatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  uint64_t TakeProbe() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Hub& hub_;
  const NodeId peer_;
  const LaneKind kind_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::shared_ptr<PeerCounters> counters_;

  absl::Mutex mu_;
  bool started_ ABSL_GUARDED_BY(mu_) = false;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  Stream* stream_ ABSL_GUARDED_BY(mu_) = nullptr;    // deletes itself after StreamDone
  bool accepted_ ABSL_GUARDED_BY(mu_) = false;       // by the callee
  bool broken_ ABSL_GUARDED_BY(mu_) = false;         // no more writes on stream_
  bool read_failed_ ABSL_GUARDED_BY(mu_) = false;    // the last thing but WriteDone that it tells
  bool writing_ ABSL_GUARDED_BY(mu_) = false;        // from taking a batch to WriteDone
  size_t sent_unaccepted_ ABSL_GUARDED_BY(mu_) = 0;  // messages written before accepted_
  std::deque<Message> queue_ ABSL_GUARDED_BY(mu_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Duration backoff_ ABSL_GUARDED_BY(mu_);
  absl::Duration last_probe_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
};

}  // namespace keelson::raft::transport

#endif  // KEELSON_RAFT_TRANSPORT_INTERNAL_LANE_H_
