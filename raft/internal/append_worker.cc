#include "raft/internal/append_worker.h"

#include <utility>

#include "base/status.h"
#include "raft/internal/mutation.h"

namespace keelson::raft {

AppendWorker::AppendWorker(NodeId self, AppendLoop& loop, Wal& wal, Transport& transport,
                           Hooks hooks)
    : self_(self), loop_(loop), wal_(wal), transport_(transport), hooks_(std::move(hooks)) {}

void AppendWorker::Enqueue(AppendWork work) {
  {
    absl::MutexLock lock(&mu_);
    queue_.push_back(std::move(work));
    if (scheduled_) return;
    scheduled_ = true;
  }
  loop_.Schedule(this);
}

void AppendWorker::Compact(SnapshotMetadata start) {
  loop_.Post([this, start = std::move(start)] {
    if (detached_) return absl::OkStatus();
    const absl::Status status = wal_.Compact(start);
    // On a full disk nothing was changed; the next compaction tries again.
    if (status.code() == absl::StatusCode::kResourceExhausted) return absl::OkStatus();
    return Annotate(status, "compact the log");
  });
}

void AppendWorker::Resume() {
  loop_.Post([this] {
    restoring_ = false;
    Tell(1);
    loop_.DrainNow(this);
    return absl::OkStatus();
  });
}

void AppendWorker::Detach() {
  loop_.Remove(this);
  detached_ = true;
}

uint64_t AppendWorker::entries() const {
  absl::MutexLock lock(&mu_);
  return entries_;
}

absl::Status AppendWorker::Write(bool* must_sync) {
  {
    absl::MutexLock lock(&mu_);
    scheduled_ = false;
    for (AppendWork& work : queue_) works_.push_back(std::move(work));
    queue_.clear();
  }
  if (restoring_ || detached_) return absl::OkStatus();
  uint64_t entries = 0;
  // What follows a snapshot waits until it is loaded. This may be the second call of one round: a
  // retry after a full disk and new work may be due at the same time.
  const bool at_snapshot = written_ > 0 && works_[written_ - 1].snapshot.has_value();
  while (written_ < works_.size() && !at_snapshot) {
    const AppendWork& work = works_[written_];
    Wal::Batch batch{.entries = work.entries, .hard_state = work.hard_state, .snapshot = {}};
    if (work.snapshot.has_value()) batch.snapshot = work.snapshot->metadata;
    const absl::Status status = wal_.Append(batch);
    // No space for the next segment: nothing was written, and waiting loses nothing but time.
    if (status.code() == absl::StatusCode::kResourceExhausted) break;
    if (!status.ok()) return Annotate(status, "append to the log");
    *must_sync |= work.must_sync;
    entries += work.entries.size();
    ++written_;
    if (work.snapshot.has_value()) break;
  }
  absl::MutexLock lock(&mu_);
  entries_ += entries;
  return absl::OkStatus();
}

bool AppendWorker::Complete() {
  if (restoring_ || detached_) return false;
  const size_t written = std::exchange(written_, 0);
  const bool ends_in_snapshot = written > 0 && works_[written - 1].snapshot.has_value();
  Tell(ends_in_snapshot ? written - 1 : written);
  if (ends_in_snapshot) {
    restoring_ = true;
    hooks_.restore(*works_.front().snapshot);
    return false;
  }
  return !works_.empty();
}

void AppendWorker::Tell(size_t count) {
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
    for (Message& message : std::move(work.responses).Release(loop_.token())) {
      (message.to == self_ ? item.to_self : to_peers).push_back(std::move(message));
    }
  }
  if (!to_peers.empty()) transport_.Send(std::move(to_peers));
  hooks_.done(std::move(done));
}

}  // namespace keelson::raft
