#include "kvstore/server/pending_table.h"

#include <vector>

namespace keelson::kvstore {

PendingTable::PendingTable(uint64_t member_id, absl::Time now)
    : prefix_(member_id << 48),
      // 256 ids a millisecond before ids of a later start could repeat those of an earlier one.
      next_((static_cast<uint64_t>(absl::ToUnixMillis(now)) << 8) + 1) {}

uint64_t PendingTable::Add(absl::Duration deadline, Done done) {
  const uint64_t id = NextId();
  Shard& shard = ShardOf(id);
  absl::MutexLock lock(&shard.mu);
  shard.waiting.emplace(id, std::move(done));
  shard.due.emplace_back(deadline, id);
  size_.fetch_add(1, std::memory_order_relaxed);
  return id;
}

bool PendingTable::Contains(uint64_t id) const {
  const Shard& shard = ShardOf(id);
  absl::MutexLock lock(&shard.mu);
  return shard.waiting.contains(id);
}

PendingTable::Done PendingTable::Take(uint64_t id) {
  Shard& shard = ShardOf(id);
  absl::MutexLock lock(&shard.mu);
  auto node = shard.waiting.extract(id);
  if (node.empty()) return nullptr;
  size_.fetch_sub(1, std::memory_order_relaxed);
  // Most answers come in the order asked; so the list stays short without a scan.
  while (!shard.due.empty() && !shard.waiting.contains(shard.due.front().second)) {
    shard.due.pop_front();
  }
  return std::move(node.mapped());
}

bool PendingTable::Complete(CommandResult result) {
  const Done done = Take(result.request_id);
  if (done == nullptr) return false;
  done(std::move(result));
  return true;
}

bool PendingTable::Fail(uint64_t id, const absl::Status& status) {
  CommandResult result;
  result.request_id = id;
  result.status = status;
  return Complete(std::move(result));
}

size_t PendingTable::FailExpired(absl::Duration now, const absl::Status& status) {
  std::vector<uint64_t> expired;
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    while (!shard.due.empty() && shard.due.front().first <= now) {
      expired.push_back(shard.due.front().second);
      shard.due.pop_front();
    }
  }
  size_t failed = 0;
  for (const uint64_t id : expired) failed += Fail(id, status) ? 1 : 0;
  return failed;
}

void PendingTable::FailAll(const absl::Status& status) {
  (void)FailExpired(absl::InfiniteDuration(), status);
}

}  // namespace keelson::kvstore
