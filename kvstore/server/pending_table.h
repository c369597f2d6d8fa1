// Proposals that wait for their result.
//
//   const uint64_t id = table.Add(deadline, [](CommandResult result) { ... });
//   node.Propose(EncodeCommand(id, ...), [&](absl::Status s) { table.Fail(id, s); });
//   ... later, when the command has been applied: table.Complete(std::move(result));
//
// Each callback runs exactly once, without locks held: with the result, an error, or the
// deadline's error.
//
// Threading: thread-safe; sharded, so that clients do not wait for each other.
#ifndef KEELSON_KVSTORE_SERVER_PENDING_TABLE_H_
#define KEELSON_KVSTORE_SERVER_PENDING_TABLE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "kvstore/state_machine.h"

namespace keelson::kvstore {

class PendingTable {
 public:
  using Done = std::function<void(CommandResult)>;

  // Ids are unique in the cluster as long as the wall clock does not go back over a restart by
  // more than the time since: 16 bits of the member, 40 of milliseconds, 8 of a counter.
  PendingTable(uint64_t member_id, absl::Time now);

  // A fresh id that nobody waits for.
  uint64_t NextId() { return prefix_ | (next_.fetch_add(1) & 0xffffffffffff); }

  // Remembers `done` until `deadline` (monotonic). Deadlines of one table never go back much.
  uint64_t Add(absl::Duration deadline, Done done);

  [[nodiscard]] bool Contains(uint64_t id) const;

  // Runs the callback of result.request_id. False when nobody waits for it.
  bool Complete(CommandResult result);
  bool Fail(uint64_t id, const absl::Status& status);

  // Fails what has waited past its deadline; returns how many.
  size_t FailExpired(absl::Duration now, const absl::Status& status);
  void FailAll(const absl::Status& status);

  [[nodiscard]] size_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  struct Shard {
    mutable absl::Mutex mu;
    std::unordered_map<uint64_t, Done> waiting ABSL_GUARDED_BY(mu);
    // In order of arrival, which is that of deadlines; completed ones stay until they are due.
    std::deque<std::pair<absl::Duration, uint64_t>> due ABSL_GUARDED_BY(mu);
  };

  Shard& ShardOf(uint64_t id) { return shards_[id % shards_.size()]; }
  [[nodiscard]] const Shard& ShardOf(uint64_t id) const { return shards_[id % shards_.size()]; }
  Done Take(uint64_t id);

  const uint64_t prefix_;
  std::atomic<uint64_t> next_;
  std::atomic<size_t> size_{0};
  std::array<Shard, 16> shards_;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_PENDING_TABLE_H_
