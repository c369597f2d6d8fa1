// Decides when history is compacted without being asked: --auto-compaction-mode, -retention.
//
//   if (std::optional<int64_t> revision = compactor.Tick(now, store.Revision())) Compact(*revision);
//
// Pure: time comes in as a monotonic duration. Only a leader ticks; Reset when it begins to lead.
// Threading: a value for one thread.
#ifndef KEELSON_KVSTORE_SERVER_AUTO_COMPACTOR_H_
#define KEELSON_KVSTORE_SERVER_AUTO_COMPACTOR_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "absl/time/time.h"

namespace keelson::kvstore {

class AutoCompactor {
 public:
  // At most one is above zero; both zero: never compacts.
  struct Options {
    absl::Duration keep_time;    // revisions younger than this stay
    int64_t keep_revisions = 0;  // that many newest revisions stay
  };

  explicit AutoCompactor(const Options& options) : options_(options) {}

  // Forgets what was seen: another member may have led meanwhile.
  void Reset();

  // `revision` is the store's newest one. Returns the revision to compact to when one is due: by
  // time once every keep_time but at least hourly, by revisions every 5 minutes. Never the same twice.
  std::optional<int64_t> Tick(absl::Duration now, int64_t revision);

 private:
  std::optional<int64_t> ByTime(absl::Duration now, int64_t revision);
  std::optional<int64_t> ByRevisions(absl::Duration now, int64_t revision);
  std::optional<int64_t> IfNew(int64_t revision);

  const Options options_;
  std::deque<std::pair<absl::Duration, int64_t>> seen_;  // when which revision was the newest
  std::optional<absl::Duration> next_sample_;
  std::optional<absl::Duration> next_compaction_;
  int64_t last_ = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_AUTO_COMPACTOR_H_
