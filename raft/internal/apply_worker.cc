#include "raft/internal/apply_worker.h"

#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "raft/internal/mutation.h"

namespace keelson::raft {

ApplyWorker::ApplyWorker(Executor& executor, Executor& flush, Executor& background,
                         StateMachine& machine, SnapshotStore& snapshots,
                         const SnapshotMetadata& applied, Hooks hooks)
    : executor_(executor),
      flush_(flush),
      background_(background),
      machine_(machine),
      snapshots_(snapshots),
      hooks_(std::move(hooks)),
      position_(applied),
      applied_(applied.index) {}

void ApplyWorker::Enqueue(ApplyWork work) {
  absl::MutexLock lock(&mu_);
  queue_.push_back(std::move(work));
  if (scheduled_) return;
  scheduled_ = true;
  executor_.Post([this] { Drain(); });
}

void ApplyWorker::WhenApplied(Index index, std::function<void()> done) {
  {
    absl::MutexLock lock(&mu_);
    if (applied() < index && !Mutated(Mutation::kReadBeforeApplied)) {
      waiting_.emplace(index, std::move(done));
      return;
    }
  }
  done();
}

void ApplyWorker::Drain() {
  std::vector<ApplyWork> works;
  {
    absl::MutexLock lock(&mu_);
    scheduled_ = false;
    std::swap(works, queue_);
  }
  if (failed_ || works.empty()) return;

  ApplyDone done;
  std::vector<Entry> entries = std::move(works.front().entries);
  for (size_t i = 0; i < works.size(); ++i) {
    if (i > 0)
      std::move(works[i].entries.begin(), works[i].entries.end(), std::back_inserter(entries));
    std::move(works[i].responses.begin(), works[i].responses.end(),
              std::back_inserter(done.responses));
    done.urgent |= works[i].more_waits;
  }
  SnapshotMetadata after = position_;
  for (const Entry& entry : entries) {
    KEELSON_CHECK(entry.index == after.index + 1)
        << "applying " << entry.index << " after " << after.index;
    after.index = entry.index;
    after.term = entry.term;
    done.bytes += entry.data.size();
    if (entry.type == EntryType::kNormal) continue;
    absl::StatusOr<ConfChange> change = DecodeConfChange(entry);
    if (!change.ok()) return Fail(Annotate(change.status(), "read a membership change"));
    if (absl::StatusOr<ConfState> state = ApplyToConfState(after.conf_state, *change); state.ok()) {
      after.conf_state = std::move(state).value();
    }
    if (Mutated(Mutation::kLeaveJointNotTold) && change->changes.empty()) continue;
    done.conf_changes.emplace_back(entry.index, std::move(change).value());
  }
  if (!entries.empty()) {
    const absl::Status status = machine_.Apply(entries, after);
    if (!status.ok()) return Fail(Annotate(status, "apply"));
  }
  Advance(after);
  done.applied = std::move(after);
  done.urgent |= !done.conf_changes.empty();
  hooks_.done(std::move(done));
}

void ApplyWorker::Advance(SnapshotMetadata applied) {
  std::vector<std::function<void()>> due;
  {
    absl::MutexLock lock(&mu_);
    applied_.store(applied.index, std::memory_order_release);
    while (!waiting_.empty() && waiting_.begin()->first <= applied.index) {
      due.push_back(std::move(waiting_.begin()->second));
      waiting_.erase(waiting_.begin());
    }
  }
  position_ = std::move(applied);
  for (const std::function<void()>& done : due) done();
}

void ApplyWorker::Fail(const absl::Status& status) {
  failed_ = true;
  hooks_.fatal(status);
}

absl::Status ApplyWorker::Load(const SnapshotMetadata& metadata) {
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<SnapshotReader> reader,
                           snapshots_.OpenSnapshot(metadata.index, metadata.term));
  return machine_.Restore(*reader, metadata);
}

void ApplyWorker::Restore(const SnapshotMetadata& metadata, std::function<void()> done) {
  executor_.Post([this, metadata, done = std::move(done)] {
    if (failed_) return;
    // Work queued before the snapshot comes first; what it covers is then replaced.
    Drain();
    if (failed_) return;
    if (position_.index < metadata.index) {
      const absl::Status status = Load(metadata);
      if (!status.ok()) return Fail(Annotate(status, "load a snapshot"));
      Advance(metadata);
    }
    done();
  });
}

void ApplyWorker::Flush(std::function<void(SnapshotMetadata)> done) {
  executor_.Post([this, done = std::move(done)] {
    if (failed_) return;
    const auto flushed = [this, done, position = position_](const absl::Status& status) {
      if (failed_) return;
      if (!status.ok()) return Fail(Annotate(status, "flush the state machine"));
      done(Mutated(Mutation::kFlushedToWhereItEnded) ? position_ : position);
    };
    if (Mutated(Mutation::kCompactBeforeFlush)) return flushed(absl::OkStatus());
    const std::function<absl::Status()> flush = machine_.BeginFlush();
    if (flush == nullptr) return flushed(machine_.Flush());
    flush_.Post([this, flush, flushed] {
      const absl::Status status = flush();
      executor_.Post([flushed, status] { flushed(status); });
    });
  });
}

void ApplyWorker::MakeSnapshot(std::function<void(absl::StatusOr<SnapshotMetadata>)> done) {
  executor_.Post([this, done = std::move(done)]() mutable {
    absl::StatusOr<std::unique_ptr<StateCapture>> capture = machine_.Capture();
    if (!capture.ok()) return done(capture.status());
    // A shared pointer, since tasks are copyable.
    std::shared_ptr<StateCapture> state = std::move(capture).value();
    background_.Post([this, state = std::move(state), done = std::move(done)] {
      const auto write = [&]() -> absl::StatusOr<SnapshotMetadata> {
        KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<SnapshotWriter> writer,
                                 snapshots_.Create(state->metadata()));
        KEELSON_RETURN_IF_ERROR(state->WriteTo(*writer));
        KEELSON_RETURN_IF_ERROR(writer->Commit());
        return state->metadata();
      };
      done(write());
    });
  });
}

}  // namespace keelson::raft
