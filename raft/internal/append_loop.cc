#include "raft/internal/append_loop.h"

#include <utility>

#include "absl/time/time.h"
#include "base/burst.h"
#include "base/status.h"
#include "raft/internal/host_mutation.h"
#include "raft/internal/mutation.h"

namespace keelson::raft {
namespace {

// How long a full disk is left alone before the write is tried again.
constexpr absl::Duration kNoSpaceRetry = absl::Milliseconds(200);

}  // namespace

AppendLoop::AppendLoop(Executor& executor, std::function<absl::StatusOr<SyncToken>()> sync,
                       SyncToken token, std::function<void(absl::Status)> fatal)
    : executor_(executor),
      sync_(std::move(sync)),
      fatal_(std::move(fatal)),
      token_(std::move(token)) {}

void AppendLoop::Schedule(AppendSource* source) {
  absl::MutexLock lock(&mu_);
  waiting_.push_back(source);
  if (scheduled_) return;
  scheduled_ = true;
  executor_.Post([this] { Drain(); });
}

void AppendLoop::Post(std::function<absl::Status()> task) {
  executor_.Post([this, task = std::move(task)] {
    if (failed_) return;
    if (const absl::Status status = task(); !status.ok()) Fail(status);
  });
}

void AppendLoop::Remove(AppendSource* source) {
  without_space_.erase(source);
  absl::MutexLock lock(&mu_);
  std::erase(waiting_, source);
}

void AppendLoop::DrainNow(AppendSource* source) {
  {
    absl::MutexLock lock(&mu_);
    waiting_.push_back(source);
  }
  Drain();
}

uint64_t AppendLoop::syncs() const {
  absl::MutexLock lock(&mu_);
  return syncs_;
}

void AppendLoop::Drain() {
  draining_.clear();
  {
    absl::MutexLock lock(&mu_);
    scheduled_ = false;
    std::swap(draining_, waiting_);
  }
  if (failed_) return;
  bool must_sync = false;
  for (AppendSource* source : draining_) {
    if (Mutated(HostMutation::kSyncOfLastGroup)) must_sync = false;
    if (absl::Status written = source->Write(&must_sync); !written.ok()) return Fail(written);
  }
  if (must_sync && !Mutated(Mutation::kAckBeforeSync)) {
    if (absl::Status synced = Sync(); !synced.ok()) return Fail(synced);
  }
  Burst burst;  // Groups share the threads that this wakes: once, when all have been told.
  std::vector<AppendSource*> again;
  for (AppendSource* source : draining_) {
    if (source->Complete()) again.push_back(source);
  }
  if (!again.empty() && !Mutated(Mutation::kNoRetryAfterFullDisk)) RetryLater(std::move(again));
}

absl::Status AppendLoop::Sync() {
  absl::StatusOr<SyncToken> token = sync_();
  if (!token.ok()) return Annotate(token.status(), "sync the log");
  token_ = std::move(token).value();
  absl::MutexLock lock(&mu_);
  ++syncs_;
  return absl::OkStatus();
}

void AppendLoop::Fail(const absl::Status& status) {
  if (std::exchange(failed_, true)) return;
  fatal_(status);
}

void AppendLoop::RetryLater(std::vector<AppendSource*> sources) {
  const bool timer_runs = !without_space_.empty();
  without_space_.insert(sources.begin(), sources.end());
  if (timer_runs) return;
  executor_.PostAfter(kNoSpaceRetry, [this] {
    {
      absl::MutexLock lock(&mu_);
      waiting_.insert(waiting_.end(), without_space_.begin(), without_space_.end());
    }
    without_space_.clear();
    Drain();
  });
}

}  // namespace keelson::raft
