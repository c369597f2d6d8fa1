// Writes the appends of all groups that share a log: everything that is waiting goes into
// the file, then one sync covers it all (group commit). A log of one group is the same with one.
#ifndef KEELSON_RAFT_INTERNAL_APPEND_LOOP_H_
#define KEELSON_RAFT_INTERNAL_APPEND_LOOP_H_

#include <cstdint>
#include <functional>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/executor.h"
#include "raft/durability.h"

namespace keelson::raft {

// What one group has to write. Called on the loop's executor.
class AppendSource {
 public:
  virtual ~AppendSource() = default;
  // Appends what is queued to the log, as far as there is space and no snapshot stops it. Sets
  // `must_sync` when some of it must be durable before Complete. An error is the end of the log.
  virtual absl::Status Write(bool* must_sync) = 0;
  // What Write has written is durable. True: more is there that found no space; call both again
  // after a while.
  virtual bool Complete() = 0;
};

class AppendLoop {
 public:
  // `executor` is borrowed and outlives the loop. `sync` makes the log durable; `token` proves that
  // it is now. `fatal` hears once, on the executor, that the log has failed for good.
  AppendLoop(Executor& executor, std::function<absl::StatusOr<SyncToken>()> sync, SyncToken token,
             std::function<void(absl::Status)> fatal);

  // `source`, which is borrowed until Remove, has work. Thread-safe.
  void Schedule(AppendSource* source) ABSL_LOCKS_EXCLUDED(mu_);

  // Runs `task` on the executor, between the drains, unless the log has failed; an error that it
  // returns is the end of the log. Thread-safe.
  void Post(std::function<absl::Status()> task);

  // Forgets `source`; what it has not written is dropped. On the executor.
  void Remove(AppendSource* source) ABSL_LOCKS_EXCLUDED(mu_);

  // On the executor: writes for `source` and for all that wait, now.
  void DrainNow(AppendSource* source);

  // On the executor: proof of the latest sync.
  [[nodiscard]] const SyncToken& token() const { return token_; }

  // Syncs of Drain since the start. Thread-safe.
  [[nodiscard]] uint64_t syncs() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // On the executor.
  void Drain() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Sync();
  void Fail(const absl::Status& status);
  void RetryLater(std::vector<AppendSource*> sources);

  Executor& executor_;
  const std::function<absl::StatusOr<SyncToken>()> sync_;
  const std::function<void(absl::Status)> fatal_;

  // On the executor.
  SyncToken token_;
  bool failed_ = false;
  std::vector<AppendSource*> draining_;
  std::set<AppendSource*> without_space_;  // a timer calls them again

  mutable absl::Mutex mu_;
  std::vector<AppendSource*> waiting_ ABSL_GUARDED_BY(mu_);
  bool scheduled_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t syncs_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_APPEND_LOOP_H_
