// Snapshots of which only a part has arrived, kept so that the next try can go on from there.
#ifndef KEELSON_RAFT_TRANSPORT_INTERNAL_PARTIAL_SNAPSHOTS_H_
#define KEELSON_RAFT_TRANSPORT_INTERNAL_PARTIAL_SNAPSHOTS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "raft/snapshot_store.h"
#include "raft/types.h"

namespace keelson::raft::transport {

// One for each sender and group, a few in all. Thread-safe.
class PartialSnapshots {
 public:
  struct Partial {
    NodeId from = kNoNode;
    GroupId group = 0;
    Index index = 0;
    Term term = 0;
    std::shared_ptr<SnapshotStore> store;  // of the group; outlives the writer
    std::unique_ptr<SnapshotWriter> writer;
    uint64_t chunks = 0;
    uint64_t total_bytes = 0;
    uint32_t crc = 0;  // CRC-32C of all bytes so far
  };
  struct Held {
    uint64_t chunks = 0;
    uint32_t crc = 0;
  };

  // Takes over what has arrived; forgets the oldest when there are too many.
  void Keep(Partial partial) ABSL_LOCKS_EXCLUDED(mu_) {
    std::optional<Partial> old = Take(partial);
    absl::MutexLock lock(&mu_);
    if (partials_.size() == kMax) partials_.pop_front();
    partials_.push_back(std::move(partial));
  }

  // How much of the snapshot that `wanted` names is there.
  Held Peek(const Partial& wanted) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    for (const Partial& partial : partials_) {
      if (SameSender(partial, wanted) && SameSnapshot(partial, wanted)) {
        return {.chunks = partial.chunks, .crc = partial.crc};
      }
    }
    return {};
  }

  // Removes what is there of the sender; returns it if it is of the snapshot that `wanted` names.
  std::optional<Partial> Take(const Partial& wanted) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    for (auto it = partials_.begin(); it != partials_.end(); ++it) {
      if (!SameSender(*it, wanted)) continue;
      Partial found = std::move(*it);
      partials_.erase(it);
      if (!SameSnapshot(found, wanted)) return std::nullopt;
      return found;
    }
    return std::nullopt;
  }

 private:
  static constexpr size_t kMax = 4;

  static bool SameSender(const Partial& a, const Partial& b) {
    return a.from == b.from && a.group == b.group;
  }
  static bool SameSnapshot(const Partial& a, const Partial& b) {
    return a.index == b.index && a.term == b.term;
  }

  absl::Mutex mu_;
  std::deque<Partial> partials_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::raft::transport

#endif  // KEELSON_RAFT_TRANSPORT_INTERNAL_PARTIAL_SNAPSHOTS_H_
