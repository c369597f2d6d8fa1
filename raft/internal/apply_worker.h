// Feeds committed entries to the state machine on the apply executor, and tells
// readers when an index has been applied.
#ifndef KEELSON_RAFT_INTERNAL_APPLY_WORKER_H_
#define KEELSON_RAFT_INTERNAL_APPLY_WORKER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/executor.h"
#include "raft/core.h"
#include "raft/snapshot_store.h"
#include "raft/state_machine.h"

namespace keelson::raft {

// Entries that have been applied, for the loop: apply `conf_changes` to the core, in order,
// then step `responses`.
struct ApplyDone {
  std::vector<std::pair<Index, ConfChange>> conf_changes;  // with the index of their entries
  std::vector<Message> responses;
  SnapshotMetadata applied;
  uint64_t bytes = 0;   // of their payload
  bool urgent = false;  // The core waits for it.
};

class ApplyWorker {
 public:
  struct Hooks {
    std::function<void(ApplyDone)> done;  // on the apply executor
    std::function<void(absl::Status)> fatal;
  };

  // All borrowed; they outlive the worker. `applied` is where the machine stands.
  ApplyWorker(Executor& executor, Executor& flush, Executor& background, StateMachine& machine,
              SnapshotStore& snapshots, const SnapshotMetadata& applied, Hooks hooks);

  // Queues `work`. Thread-safe.
  void Enqueue(ApplyWork work) ABSL_LOCKS_EXCLUDED(mu_);

  // Calls `done` on the apply executor, or at once if `index` has been applied already.
  // Thread-safe.
  void WhenApplied(Index index, std::function<void()> done) ABSL_LOCKS_EXCLUDED(mu_);

  // Loads the snapshot (index, term) of the store into the machine, then calls `done`.
  void Restore(const SnapshotMetadata& metadata, std::function<void()> done);

  // Makes what is applied durable, then calls `done` with its position. Work goes on meanwhile if the
  // machine can do that.
  void Flush(std::function<void(SnapshotMetadata)> done);

  // Writes the machine's present state into the store; `done` gets what was written or the
  // error. Runs on the background executor after a quick capture.
  void MakeSnapshot(std::function<void(absl::StatusOr<SnapshotMetadata>)> done);

  // Thread-safe.
  [[nodiscard]] Index applied() const { return applied_.load(std::memory_order_acquire); }

 private:
  void Drain() ABSL_LOCKS_EXCLUDED(mu_);
  void Advance(SnapshotMetadata applied) ABSL_LOCKS_EXCLUDED(mu_);
  void Fail(const absl::Status& status);
  absl::Status Load(const SnapshotMetadata& metadata);

  Executor& executor_;
  Executor& flush_;
  Executor& background_;
  StateMachine& machine_;
  SnapshotStore& snapshots_;
  const Hooks hooks_;

  SnapshotMetadata position_;  // on the executor: what the machine holds
  bool failed_ = false;

  mutable absl::Mutex mu_;
  std::vector<ApplyWork> queue_ ABSL_GUARDED_BY(mu_);
  bool scheduled_ ABSL_GUARDED_BY(mu_) = false;
  std::atomic<Index> applied_;  // written under mu_
  std::multimap<Index, std::function<void()>> waiting_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_APPLY_WORKER_H_
