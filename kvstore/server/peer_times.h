// What /v2/stats tells of the traffic between members, which etcd counts by messages of its own.
#ifndef KEELSON_KVSTORE_SERVER_PEER_TIMES_H_
#define KEELSON_KVSTORE_SERVER_PEER_TIMES_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "raft/types.h"

namespace keelson::kvstore {

// Of one other member, since this one started.
struct PeerTraffic {
  raft::NodeId id = raft::kNoNode;
  uint64_t sent = 0;          // messages
  uint64_t dropped = 0;       // messages that could not be sent
  uint64_t received = 0;      // messages
  absl::Duration round_trip;  // the last one measured; 0: none yet
};

// The round trips of one member, in milliseconds.
struct PeerTime {
  uint64_t count = 0;
  double current = 0;
  double average = 0;
  double average_square = 0;
  double minimum = 0;
  double maximum = 0;

  [[nodiscard]] double Deviation() const {
    return std::sqrt(std::max(0.0, average_square - average * average));
  }
};

// Thread-safe.
class PeerTimes {
 public:
  // Takes what has been measured since the last time.
  void Take(const std::vector<PeerTraffic>& traffic) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    for (const PeerTraffic& peer : traffic) {
      const double ms = absl::ToDoubleMilliseconds(peer.round_trip);
      PeerTime& time = times_[peer.id];
      if (ms <= 0 || ms == time.current) continue;
      const auto count = static_cast<double>(time.count++);
      time.current = ms;
      time.average = (time.average * count + ms) / (count + 1);
      time.average_square = (time.average_square * count + ms * ms) / (count + 1);
      time.minimum = count == 0 ? ms : std::min(time.minimum, ms);
      time.maximum = std::max(time.maximum, ms);
    }
  }

  [[nodiscard]] PeerTime Of(raft::NodeId id) const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    const auto found = times_.find(id);
    return found == times_.end() ? PeerTime{} : found->second;
  }

 private:
  mutable absl::Mutex mu_;
  std::map<raft::NodeId, PeerTime> times_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_PEER_TIMES_H_
