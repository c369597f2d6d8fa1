// Removes what a compaction made unreachable (kvstore.md 5.2).
//
// A version before the compacted revision is dead when its key has a newer one at or before
// that, or when it is a tombstone. Changes exactly at the compacted revision are kept for
// watchers that start there. The log says for each change which version it replaced: walking
// the log from the last swept revision to the compacted one finds all the dead without
// reading the key space. A log row goes together with its data row.
#ifndef KEELSON_KVSTORE_INTERNAL_SWEEP_H_
#define KEELSON_KVSTORE_INTERNAL_SWEEP_H_

#include <cstddef>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/executor.h"
#include "kvstore/internal/generation.h"

namespace keelson::kvstore::internal {

// Walks one compaction's part of the log in pieces.
class Sweep {
 public:
  explicit Sweep(std::shared_ptr<Generation> generation) : generation_(std::move(generation)) {}

  // Removes the dead among the next `rows_max` log rows; true when nothing is left to do.
  // An error leaves everything so that the step can be tried again.
  absl::StatusOr<bool> Step(size_t rows_max);

 private:
  const std::shared_ptr<Generation> generation_;
  Revision next_;  // main 0: start at what has been swept
};

// Sweeps on a thread of its own, gently. Thread-safe.
class BackgroundSweeper {
 public:
  BackgroundSweeper();
  ~BackgroundSweeper();  // leaves the rest to the next start

  // Begins or goes on sweeping `generation`; forgets any other one.
  void Start(std::shared_ptr<Generation> generation) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Step();

  absl::Mutex mu_;
  std::shared_ptr<Generation> wanted_ ABSL_GUARDED_BY(mu_);
  bool scheduled_ ABSL_GUARDED_BY(mu_) = false;
  bool again_ ABSL_GUARDED_BY(mu_) = false;  // Start was called since the step began
  std::unique_ptr<Sweep> sweep_;             // executor only
  std::shared_ptr<Generation> sweeping_;     // executor only
  std::unique_ptr<ThreadExecutor> executor_;
};

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_SWEEP_H_
