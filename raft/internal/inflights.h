// The window of Apps that a peer has not answered yet.
#ifndef KEELSON_RAFT_INTERNAL_INFLIGHTS_H_
#define KEELSON_RAFT_INTERNAL_INFLIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "raft/types.h"

namespace keelson::raft::internal {

// A ring of (last index, payload bytes), one for each App, in ascending index order.
class Inflights {
 public:
  // `max_bytes` 0 means no limit. The byte limit is soft: one App may pass it.
  Inflights(uint64_t max_count, uint64_t max_bytes)
      : max_count_(max_count), max_bytes_(max_bytes) {}

  // Notes an App whose last entry is at `last`. Must not be full.
  void Add(Index last, uint64_t bytes);
  // Forgets all Apps up to and including `index`.
  void FreeThrough(Index index);
  void Reset();

  [[nodiscard]] bool Full() const {
    return count_ == max_count_ || (max_bytes_ != 0 && bytes_ >= max_bytes_);
  }
  [[nodiscard]] uint64_t count() const { return count_; }

  // All state that decides about the future, for raft/model.
  template <typename Visitor>
  void VisitState(Visitor& visit) const {
    visit(count_);
    for (size_t i = 0; i < count_; ++i) {
      const Slot& slot = ring_[(start_ + i) % ring_.size()];
      visit(slot.last, slot.bytes);
    }
  }

 private:
  struct Slot {
    Index last = 0;
    uint64_t bytes = 0;
  };

  void Grow();

  uint64_t max_count_;
  uint64_t max_bytes_;
  std::vector<Slot> ring_;  // grows to what is used, at most max_count_
  size_t start_ = 0;
  size_t count_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace keelson::raft::internal

#endif  // KEELSON_RAFT_INTERNAL_INFLIGHTS_H_
