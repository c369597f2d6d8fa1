// One life of the key space: an engine and the little state that is kept beside it in
// memory. Restoring a snapshot begins a new generation; readers finish on the old one.
//
// The writer publishes a batch in this order: engine, tables and cache, revision, compacted. A reader
// takes the revision first, then opens iterators, then looks at compacted again: as long as
// that has not passed the revision it read at, no version that it needed was swept away.
#ifndef KEELSON_KVSTORE_INTERNAL_GENERATION_H_
#define KEELSON_KVSTORE_INTERNAL_GENERATION_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "kvstore/auth/auth_store.h"
#include "kvstore/engine.h"
#include "kvstore/internal/codec.h"
#include "kvstore/internal/latest_cache.h"
#include "kvstore/internal/members.h"
#include "kvstore/internal/range_counts.h"
#include "kvstore/store.h"
#include "kvstore/v2/key_store.h"

namespace keelson::kvstore::internal {

// Changes to leases and members, by id; empty: the lease is gone.
using LeaseChanges = std::map<int64_t, std::optional<LeaseValue>>;
using MemberChanges = MemberMap;
using AlarmChanges = std::map<Alarm, bool>;  // true: raised

// The leases and the members' attributes. Thread-safe.
class SideTables {
 public:
  void Publish(const LeaseChanges& leases, const MemberChanges& members) ABSL_LOCKS_EXCLUDED(mu_);

  void Publish(const AlarmChanges& alarms) ABSL_LOCKS_EXCLUDED(mu_);

  [[nodiscard]] std::optional<LeaseValue> Lease(int64_t id) const ABSL_LOCKS_EXCLUDED(mu_);
  [[nodiscard]] std::vector<Store::LeaseInfo> Leases() const ABSL_LOCKS_EXCLUDED(mu_);
  [[nodiscard]] MemberMap Members() const ABSL_LOCKS_EXCLUDED(mu_);
  [[nodiscard]] std::set<Alarm> Alarms() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  mutable absl::Mutex mu_;
  std::map<int64_t, LeaseValue> leases_ ABSL_GUARDED_BY(mu_);
  MemberChanges members_ ABSL_GUARDED_BY(mu_);
  std::set<Alarm> alarms_ ABSL_GUARDED_BY(mu_);
};

struct Generation {
  // Of lists that clients repeat, and of the pages of those under way.
  static constexpr size_t kCountedRanges = 4096;

  explicit Generation(size_t cached_keys) : latest(cached_keys) {}

  // Reads what `engine` holds. DATA_LOSS when its rows make no sense.
  static absl::StatusOr<std::shared_ptr<Generation>> Load(std::unique_ptr<Engine> engine,
                                                          size_t cached_keys);

  std::unique_ptr<Engine> engine;
  LatestCache latest;
  RangeCounts counts{kCountedRanges};
  SideTables tables;
  const std::shared_ptr<auth::AuthStore> auth = std::make_shared<auth::AuthStore>();
  const std::shared_ptr<v2::KeyStore> v2 = std::make_shared<v2::KeyStore>();
  std::atomic<int64_t> revision{1};
  std::atomic<int64_t> compacted{-1};
  std::atomic<int64_t> live_keys{0};
  // As stored when the generation was loaded; index 0 for an empty engine.
  StateValue loaded;
  // The row of live_keys as the writer knows it; -1: there is none yet.
  int64_t stored_live_keys = -1;

  absl::Mutex sweep_mu;
  // Superseded versions up to here are gone (internal/sweep.h).
  int64_t swept ABSL_GUARDED_BY(sweep_mu) = 0;
};

// The generation that readers use now. Thread-safe.
class CurrentGeneration {
 public:
  [[nodiscard]] std::shared_ptr<Generation> Get() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::ReaderMutexLock lock(&mu_);
    return generation_;
  }
  // The old one, if this was its last user, is destroyed outside the lock.
  void Set(std::shared_ptr<Generation> next) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    generation_.swap(next);
  }

 private:
  mutable absl::Mutex mu_;
  std::shared_ptr<Generation> generation_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_GENERATION_H_
