// One stream to one peer: a bounded queue, batches, reconnection.
#ifndef KEELSON_RAFT_TRANSPORT_INTERNAL_LANE_H_
#define KEELSON_RAFT_TRANSPORT_INTERNAL_LANE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/rpc/client.h"
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
  // Nothing is told any more when it returns, unless this is the hub's loop: soon, then.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  // False when the queue is full or the lane has stopped. Call Pump after the last one.
  bool Enqueue(Message&& message) ABSL_LOCKS_EXCLUDED(mu_);
  // What is queued leaves with all that comes in the same step of the loop, as far as there is
  // room.
  void Pump() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  class Stream;

  // Everything below runs on the loop.
  void Connect() ABSL_LOCKS_EXCLUDED(mu_);
  void Write() ABSL_LOCKS_EXCLUDED(mu_);
  // Of the stream.
  void Accepted() ABSL_LOCKS_EXCLUDED(mu_);
  void Acknowledged(uint64_t probe);
  void HasRoom();
  void StreamDone(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  std::vector<Message> TakeBatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  uint64_t TakeProbe();

  Hub& hub_;
  const NodeId peer_;
  const LaneKind kind_;
  const std::shared_ptr<rpc::Channel> channel_;
  const std::shared_ptr<PeerCounters> counters_;

  // On the loop.
  std::shared_ptr<rpc::ClientCall> call_;  // null: no stream
  bool accepted_ = false;                  // by the callee
  bool room_ = false;                      // call_ takes more
  size_t sent_unaccepted_ = 0;             // messages written before accepted_
  absl::Duration backoff_;
  absl::Duration last_probe_ = -absl::InfiniteDuration();

  absl::Mutex mu_;
  bool started_ ABSL_GUARDED_BY(mu_) = false;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  bool pumping_ ABSL_GUARDED_BY(mu_) = false;  // Write will run
  std::deque<Message> queue_ ABSL_GUARDED_BY(mu_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace keelson::raft::transport

#endif  // KEELSON_RAFT_TRANSPORT_INTERNAL_LANE_H_
