#include "raft/internal/append_worker.h"

#include <utility>

#include "base/status.h"
#include "raft/internal/mutation.h"

namespace keelson::raft {
namespace {

// How long a full disk is left alone before the write is tried again.
constexpr absl::Duration kNoSpaceRetry = absl::Milliseconds(200);

}  // namespace

AppendWorker::AppendWorker(NodeId self, Executor& executor, Wal& wal, Transport& transport,
                           SyncToken token, Hooks hooks)
    : self_(self),
      executor_(executor),
      wal_(wal),
      transport_(transport),
      hooks_(std::move(hooks)),
      token_(std::move(token)) {}

void AppendWorker::Schedule() {
  if (scheduled_) return;
  scheduled_ = true;
  executor_.Post([this] { Drain(); });
}

void AppendWorker::Enqueue(AppendWork work) {
  absl::MutexLock lock(&mu_);
  queue_.push_back(std::move(work));
  Schedule();
}

void AppendWorker::Compact(SnapshotMetadata start) {
  executor_.Post([this, start = std::move(start)] {
    if (failed_) return;
    const absl::Status status = wal_.Compact(start);
    // On a full disk nothing was changed; the next compaction tries again.
    if (!status.ok() && status.code() != absl::StatusCode::kResourceExhausted) {
      failed_ = true;
      hooks_.fatal(Annotate(status, "compact the log"));
    }
  });
}

void AppendWorker::Resume() {
  executor_.Post([this] {
    restoring_ = false;
    Complete(1);
    Drain();
  });
}

AppendWorker::Stats AppendWorker::GetStats() const {
  absl::MutexLock lock(&mu_);
  return stats_;
}

void AppendWorker::Drain() {
  {
    absl::MutexLock lock(&mu_);
    scheduled_ = false;
    for (AppendWork& work : queue_) works_.push_back(std::move(work));
    queue_.clear();
  }
  if (failed_ || restoring_ || works_.empty()) return;

  bool must_sync = false;
  const size_t written = Write(&must_sync);
  if (failed_) return;
  if (must_sync && !Mutated(Mutation::kAckBeforeSync)) {
    absl::StatusOr<SyncToken> token = wal_.Sync();
    if (!token.ok()) {
      failed_ = true;
      hooks_.fatal(Annotate(token.status(), "sync the log"));
      return;
    }
    token_ = std::move(token).value();
    absl::MutexLock lock(&mu_);
    ++stats_.syncs;
  }

  const bool ends_in_snapshot = written > 0 && works_[written - 1].snapshot.has_value();
  Complete(ends_in_snapshot ? written - 1 : written);
  if (ends_in_snapshot) {
    restoring_ = true;
    hooks_.restore(*works_.front().snapshot);
  } else if (!works_.empty() && !Mutated(Mutation::kNoRetryAfterFullDisk)) {
    executor_.PostAfter(kNoSpaceRetry, [this] { Drain(); });
  }
}

size_t AppendWorker::Write(bool* must_sync) {
  size_t written = 0;
  uint64_t entries = 0;
  while (written < works_.size()) {
    const AppendWork& work = works_[written];
    Wal::Batch batch{.entries = work.entries, .hard_state = work.hard_state, .snapshot = {}};
    if (work.snapshot.has_value()) batch.snapshot = work.snapshot->metadata;
    const absl::Status status = wal_.Append(batch);
    // No space for the next segment: nothing was written, and waiting loses nothing but time.
    if (status.code() == absl::StatusCode::kResourceExhausted) break;
    if (!status.ok()) {
      failed_ = true;
      hooks_.fatal(Annotate(status, "append to the log"));
      return written;
    }
    *must_sync |= work.must_sync;
    entries += work.entries.size();
    ++written;
    if (work.snapshot.has_value()) break;
  }
  absl::MutexLock lock(&mu_);
  stats_.entries += entries;
  return written;
}

void AppendWorker::Complete(size_t count) {
  if (count == 0) return;
  std::vector<AppendDone> done;
  std::vector<Message> to_peers;
  done.reserve(count);
  for (; count > 0; --count) {
    AppendWork work = std::move(works_.front());
    works_.pop_front();
    AppendDone& item = done.emplace_back();
    item.entries = std::move(work.entries);
    item.hard_state = work.hard_state;
    item.snapshot = std::move(work.snapshot);
    for (Message& message : std::move(work.responses).Release(token_)) {
      (message.to == self_ ? item.to_self : to_peers).push_back(std::move(message));
    }
  }
  if (!to_peers.empty()) transport_.Send(std::move(to_peers));
  hooks_.done(std::move(done));
}

}  // namespace keelson::raft
