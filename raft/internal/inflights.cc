#include "raft/internal/inflights.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace keelson::raft::internal {

void Inflights::Add(Index last, uint64_t bytes) {
  KEELSON_CHECK(!Full()) << "count=" << count_ << " bytes=" << bytes_;
  if (count_ == ring_.size()) Grow();
  ring_[(start_ + count_) % ring_.size()] = {last, bytes};
  ++count_;
  bytes_ += bytes;
}

void Inflights::FreeThrough(Index index) {
  while (count_ > 0 && ring_[start_].last <= index) {
    bytes_ -= ring_[start_].bytes;
    start_ = (start_ + 1) % ring_.size();
    --count_;
  }
}

void Inflights::Reset() {
  start_ = 0;
  count_ = 0;
  bytes_ = 0;
}

void Inflights::Grow() {
  const uint64_t size = std::min<uint64_t>(std::max<uint64_t>(ring_.size() * 2, 8), max_count_);
  std::vector<Slot> ring(size);
  for (size_t i = 0; i < count_; ++i) ring[i] = ring_[(start_ + i) % ring_.size()];
  ring_ = std::move(ring);
  start_ = 0;
}

}  // namespace keelson::raft::internal
