// Work on many pieces by several threads, whose results are taken in the order of the pieces.
#ifndef KEELSON_PARTITION_VERITY_INTERNAL_ORDERED_PARALLEL_H_
#define KEELSON_PARTITION_VERITY_INTERNAL_ORDERED_PARALLEL_H_

#include <pthread.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "partition/verity/work_options.h"

namespace keelson::partition {

// How many threads `options` mean: for 0, one a processor.
inline int ThreadCount(const WorkOptions& options) {
  if (options.threads > 0) return options.threads;
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

// Calls `work(index, worker)` for each index in [0, count), by `threads` threads that take the next
// index each, and `commit(index, result)` in the order of indices, by one thread at a time.
// `worker` is in [0, threads). Stops at the first error and returns it; at most 4 results a thread
// wait for their turn.
template <typename Result>
class OrderedParallel {
 public:
  using Work = std::function<absl::StatusOr<Result>(uint64_t index, int worker)>;
  using Commit = std::function<absl::Status(uint64_t index, Result result)>;

  static absl::Status Run(uint64_t count, int threads, const Work& work, const Commit& commit) {
    OrderedParallel run(count, threads, work, commit);
    std::vector<std::thread> workers;
    for (int i = 1; i < threads && static_cast<uint64_t>(i) < count; ++i) {
      workers.emplace_back([&run, i] {
        (void)::pthread_setname_np(::pthread_self(), "verity");  // For ps; no harm if it fails.
        run.Worker(i);
      });
    }
    run.Worker(0);
    for (std::thread& worker : workers) worker.join();
    absl::MutexLock lock(&run.mu_);
    return run.status_;
  }

 private:
  OrderedParallel(uint64_t count, int threads, const Work& work, const Commit& commit)
      : count_(count), window_(4 * static_cast<uint64_t>(threads)), work_(work), commit_(commit) {}

  void Worker(int worker) {
    while (true) {
      uint64_t index = 0;
      {
        absl::MutexLock lock(&mu_);
        mu_.Await(absl::Condition(this, &OrderedParallel::MayStart));
        if (!status_.ok() || next_ == count_) return;
        index = next_++;
      }
      absl::StatusOr<Result> result = work_(index, worker);
      absl::MutexLock lock(&mu_);
      if (!result.ok()) {
        status_.Update(result.status());
        return;
      }
      waiting_.emplace(index, *std::move(result));
      CommitWhatIsDue();
    }
  }

  bool MayStart() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return !status_.ok() || next_ == count_ || next_ < committed_ + window_;
  }

  // Commits without mu_ held, but one thread at a time: who finds one at it leaves its result
  // there.
  void CommitWhatIsDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (committing_) return;
    committing_ = true;
    while (status_.ok() && !waiting_.empty() && waiting_.begin()->first == committed_) {
      Result result = std::move(waiting_.begin()->second);
      waiting_.erase(waiting_.begin());
      const uint64_t index = committed_;
      mu_.Unlock();
      const absl::Status status = commit_(index, std::move(result));
      mu_.Lock();
      status_.Update(status);
      ++committed_;
    }
    committing_ = false;
  }

  const uint64_t count_;
  const uint64_t window_;
  const Work& work_;
  const Commit& commit_;
  absl::Mutex mu_;
  uint64_t next_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t committed_ ABSL_GUARDED_BY(mu_) = 0;
  bool committing_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, Result> waiting_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_INTERNAL_ORDERED_PARALLEL_H_
