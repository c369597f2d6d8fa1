#include "kvstore/server/space_guard.h"

#include <algorithm>

namespace keelson::kvstore {

void SpaceGuard::Check(const Store& store) {
  // Once short, a quarter more must be free before it is not: no flapping at the edge.
  const bool was_short = disk_short_.load(std::memory_order_relaxed);
  bool is_short = false;
  for (const std::string& directory : options_.directories) {
    const absl::StatusOr<SpaceInfo> space = fs_->Space(directory);
    if (!space.ok()) continue;
    const uint64_t least = std::min(options_.min_free_bytes, space->capacity_bytes / 10);
    is_short |= space->free_bytes < (was_short ? least + least / 4 : least);
  }
  disk_short_.store(is_short, std::memory_order_relaxed);
  const int64_t bytes = store.GetSizes().disk_bytes;
  database_bytes_.store(static_cast<uint64_t>(std::max<int64_t>(bytes, 0)),
                        std::memory_order_relaxed);
}

bool SpaceGuard::Allows(uint64_t bytes) const {
  if (disk_short_.load(std::memory_order_relaxed) || stalled_.load(std::memory_order_relaxed)) {
    return false;
  }
  return options_.quota_bytes == 0 ||
         database_bytes_.load(std::memory_order_relaxed) + bytes < options_.quota_bytes;
}

}  // namespace keelson::kvstore
