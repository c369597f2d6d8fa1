// Writes AppendWork to the Wal on the append executor: everything that is waiting
// goes into the file, then one sync covers it all (group commit).
#ifndef KEELSON_RAFT_INTERNAL_APPEND_WORKER_H_
#define KEELSON_RAFT_INTERNAL_APPEND_WORKER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/executor.h"
#include "raft/core.h"
#include "raft/transport.h"
#include "raft/wal.h"

namespace keelson::raft {

// AppendWork that has become durable, for the loop: bring the in-memory log up to date, then
// step `to_self`.
struct AppendDone {
  std::vector<Entry> entries;
  std::optional<HardState> hard_state;
  std::optional<Snapshot> snapshot;
  std::vector<Message> to_self;
};

class AppendWorker {
 public:
  struct Hooks {
    // Delivers finished work, in order. Runs on the append executor.
    std::function<void(std::vector<AppendDone>)> done;
    // Makes the state machine load a received snapshot; must call Resume (any thread) when it
    // has. Until then no later work is written.
    std::function<void(const Snapshot&)> restore;
    // The log has failed for good.
    std::function<void(absl::Status)> fatal;
  };

  // All borrowed; they outlive the worker. `token` proves that `wal` is synced now.
  AppendWorker(NodeId self, Executor& executor, Wal& wal, Transport& transport, SyncToken token,
               Hooks hooks);

  // Queues `work`. Thread-safe.
  void Enqueue(AppendWork work) ABSL_LOCKS_EXCLUDED(mu_);

  // Deletes what the log no longer needs before `start`, after the work queued so far. Thread-safe.
  void Compact(SnapshotMetadata start);

  // The snapshot last given to Hooks::restore has been loaded. Thread-safe.
  void Resume();

  struct Stats {
    uint64_t syncs = 0;
    uint64_t entries = 0;
  };
  [[nodiscard]] Stats GetStats() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Everything below runs on the executor.
  void Drain();
  // Writes works_[0..n) as far as there is space and no snapshot stops it; returns how many.
  size_t Write(bool* must_sync);
  void Complete(size_t count);
  void Schedule() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const NodeId self_;
  Executor& executor_;
  Wal& wal_;
  Transport& transport_;
  const Hooks hooks_;

  SyncToken token_;               // of the latest sync
  std::deque<AppendWork> works_;  // taken from queue_, not yet durable
  bool restoring_ = false;        // works_[0] waits for the state machine
  bool failed_ = false;

  mutable absl::Mutex mu_;
  std::vector<AppendWork> queue_ ABSL_GUARDED_BY(mu_);
  bool scheduled_ ABSL_GUARDED_BY(mu_) = false;
  Stats stats_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_APPEND_WORKER_H_
