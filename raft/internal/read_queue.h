// Reads that wait for the leader to prove that it still leads (raft.md section 9).
//
// Every read gets a position from the leader's own counter, and heartbeats carry the newest
// position. A peer that echoes position p has thereby confirmed all reads up to p. Contexts
// of callers never identify a round: a retried context together with a delayed echo would
// confirm a read that no quorum has seen.
#ifndef KEELSON_RAFT_INTERNAL_READ_QUEUE_H_
#define KEELSON_RAFT_INTERNAL_READ_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "raft/internal/fifo.h"
#include "raft/types.h"

namespace keelson::raft::internal {

class ReadQueue {
 public:
  struct Read {
    uint64_t position = 0;
    Index index = 0;  // the commit index when it was asked
    Message request;
  };

  // Forgets all reads and echoes: a new term or role.
  void Reset();

  // A new position, sent at `tick`; later echoes of it also date the lease.
  uint64_t NewRound(uint64_t tick);
  // Queues `request` under the newest position, after NewRound.
  void Add(Index commit, Message request);

  // `from` has echoed `position`. False when the position was never given.
  bool RecordEcho(NodeId from, uint64_t position);
  // The newest position that `id` has echoed.
  [[nodiscard]] std::optional<Index> EchoOf(NodeId id) const;

  // Removes and returns, in order, the reads up to position `confirmed`.
  std::vector<Read> Release(uint64_t confirmed);
  // The tick at which the newest round up to `confirmed` was sent; nullopt if there was none.
  std::optional<uint64_t> RoundTick(uint64_t confirmed);

  // The newest position while a read waits; 0 when none does.
  [[nodiscard]] uint64_t PendingPosition() const {
    return reads_.empty() ? 0 : reads_.back().position;
  }
  // Later echoes of the rounds so far date no lease.
  void ForgetRounds() { rounds_.clear(); }
  [[nodiscard]] size_t size() const { return reads_.size(); }

  // The context of a heartbeat for `position`, and back. 8 bytes, big-endian.
  static std::string EncodePosition(uint64_t position);
  static std::optional<uint64_t> DecodePosition(std::string_view context);

 private:
  struct Round {
    uint64_t position = 0;
    uint64_t tick = 0;
  };

  uint64_t last_position_ = 0;
  Fifo<Read> reads_;
  Fifo<Round> rounds_;  // not confirmed yet, at most kMaxRounds
  std::map<NodeId, uint64_t> echoes_;
};

}  // namespace keelson::raft::internal

#endif  // KEELSON_RAFT_INTERNAL_READ_QUEUE_H_
