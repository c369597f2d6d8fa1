// The appends of one group: queues AppendWork, writes it to the group's Wal when the AppendLoop of
// the log says so, and tells when it is durable.
#ifndef KEELSON_RAFT_INTERNAL_APPEND_WORKER_H_
#define KEELSON_RAFT_INTERNAL_APPEND_WORKER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "raft/core.h"
#include "raft/internal/append_loop.h"
#include "raft/internal/fifo.h"
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

class AppendWorker final : public AppendSource {
 public:
  struct Hooks {
    // Delivers finished work, in order. Runs on the append executor.
    std::function<void(std::vector<AppendDone>)> done;
    // Makes the state machine load a received snapshot; must call Resume (any thread) when it
    // has. Until then no later work is written.
    std::function<void(const Snapshot&)> restore;
  };

  // All borrowed; they outlive the worker. `wal` is the group's part of the log of `loop`.
  AppendWorker(NodeId self, AppendLoop& loop, Wal& wal, Transport& transport, Hooks hooks);

  // Queues `work`. Thread-safe.
  void Enqueue(AppendWork work) ABSL_LOCKS_EXCLUDED(mu_);

  // Deletes what the log no longer needs before `start`, after the work queued so far. Thread-safe.
  void Compact(SnapshotMetadata start);

  // The snapshot last given to Hooks::restore has been loaded. Thread-safe.
  void Resume();

  // On the append executor: the loop forgets this worker, which writes nothing any more.
  void Detach();

  // Entries written since the start. Thread-safe.
  [[nodiscard]] uint64_t entries() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Everything below runs on the executor.
  absl::Status Write(bool* must_sync) override ABSL_LOCKS_EXCLUDED(mu_);
  bool Complete() override;
  void Tell(size_t count);

  const NodeId self_;
  AppendLoop& loop_;
  Wal& wal_;
  Transport& transport_;
  const Hooks hooks_;

  Fifo<AppendWork> works_;  // taken from queue_, not yet durable
  size_t written_ = 0;      // of works_, from the front
  bool restoring_ = false;  // works_[0] waits for the state machine
  bool detached_ = false;

  mutable absl::Mutex mu_;
  std::vector<AppendWork> queue_ ABSL_GUARDED_BY(mu_);
  bool scheduled_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t entries_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_APPEND_WORKER_H_
