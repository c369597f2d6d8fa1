// Counts of ranges that were asked for before, so that asking again costs what has changed since
// and not a walk over the range.
//
// How many keys were live at a revision never changes, and the change log tells which keys came and
// went between two revisions. An entry is therefore a starting point for any revision near it, and
// needs no care when the store is written. It is of no use for a revision that a compaction has passed
// since, whose rows of the log may be gone.
//
// Lists that go page by page find the rest's count here too: a page's answer says what is left behind it.
#ifndef KEELSON_KVSTORE_INTERNAL_RANGE_COUNTS_H_
#define KEELSON_KVSTORE_INTERNAL_RANGE_COUNTS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "kvstore/engine.h"
#include "kvstore/internal/view.h"

namespace keelson::kvstore::internal {

// Thread-safe.
class RangeCounts {
 public:
  // Holds the `capacity` ranges that were asked for last.
  explicit RangeCounts(size_t capacity) : capacity_(capacity) {}

  // The live keys of `bounds` as of `at`, a revision that has been published and can be read (the
  // caller checks that again afterwards, as for any read). Empty when no earlier count helps, or when
  // more rows of the log than that count lie between. DATA_LOSS for a row that cannot be read.
  absl::StatusOr<std::optional<int64_t>> Find(const Engine& engine,
                                              const std::atomic<int64_t>& compacted,
                                              const Bounds& bounds, int64_t at)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Keeps a count that a reader has found. Small ones are not worth a place: they are walked again.
  void Record(const Bounds& bounds, int64_t at, int64_t count) ABSL_LOCKS_EXCLUDED(mu_);

  static constexpr int64_t kSmallest = 64;

 private:
  using Range = std::pair<std::string, std::string>;
  struct Entry {
    Range range;
    int64_t at = 0;
    int64_t count = 0;
  };
  using Entries = std::list<Entry>;

  std::optional<Entry> Get(const Bounds& bounds) ABSL_LOCKS_EXCLUDED(mu_);

  const size_t capacity_;
  absl::Mutex mu_;
  Entries entries_ ABSL_GUARDED_BY(mu_);  // used last first
  absl::flat_hash_map<Range, Entries::iterator> by_range_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_RANGE_COUNTS_H_
