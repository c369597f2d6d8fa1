#include "kvstore/internal/sweep.h"

#include <string>
#include <utility>

#include "base/status.h"

namespace keelson::kvstore::internal {
namespace {

// Small enough that a sweep next to a busy writer is not felt.
constexpr size_t kRowsPerStep = 1000;
constexpr absl::Duration kPause = absl::Milliseconds(2);
constexpr absl::Duration kPauseAfterError = absl::Seconds(1);

void DeleteVersion(std::string_view user_key, Revision revision, std::string* row,
                   WriteBatch& batch) {
  EncodeDataRow(user_key, revision, row);
  batch.Delete(Family::kData, *row);
  EncodeLogRow(revision, row);
  batch.Delete(Family::kLog, *row);
}

}  // namespace

absl::StatusOr<bool> Sweep::Step(size_t rows_max) {
  Generation& generation = *generation_;
  absl::MutexLock lock(&generation.sweep_mu);  // One step at a time, whoever takes it.
  const int64_t target = generation.compacted.load(std::memory_order_acquire);
  if (generation.swept >= target) return true;
  // What the last sweep left at its own revision is still there: begin at it, not behind it.
  if (next_.main == 0) next_ = {.main = generation.swept, .sub = 0};

  std::string row;
  Engine::IterateOptions options;
  EncodeLogRow({.main = target + 1, .sub = 0}, &options.upper_bound);
  auto iterator = generation.engine->NewIterator(Family::kLog, options);
  EncodeLogRow(next_, &row);
  const auto batch = generation.engine->NewBatch();
  size_t rows = 0;
  for (iterator->Seek(row); iterator->Valid() && rows < rows_max; iterator->Next(), ++rows) {
    Revision revision;
    LogValue change;
    if (!DecodeLogRow(iterator->key(), &revision) || !DecodeLogValue(iterator->value(), &change)) {
      return absl::DataLossError("a row of the change log cannot be read");
    }
    // Whatever happened at the compacted revision itself stays for watchers that start there.
    if (change.previous.main != 0 && change.previous.main < target) {
      DeleteVersion(change.user_key, change.previous, &row, *batch);
    }
    if (change.deleted && revision.main < target) {
      DeleteVersion(change.user_key, revision, &row, *batch);
    }
  }
  KEELSON_RETURN_IF_ERROR(iterator->status());
  const bool done = !iterator->Valid();
  Revision next = next_;
  if (!done && !DecodeLogRow(iterator->key(), &next)) {
    return absl::DataLossError("a row of the change log cannot be read");
  }
  iterator.reset();

  if (done) batch->Put(Family::kMeta, kSweptRow, {EncodeInteger(target)});
  KEELSON_RETURN_IF_ERROR(generation.engine->Write(*batch));
  next_ = done ? Revision{} : next;
  if (done) generation.swept = target;
  return done;
}

BackgroundSweeper::BackgroundSweeper() : executor_(std::make_unique<ThreadExecutor>("kv-sweep")) {}

BackgroundSweeper::~BackgroundSweeper() { executor_->Stop(); }

void BackgroundSweeper::Start(std::shared_ptr<Generation> generation) {
  absl::MutexLock lock(&mu_);
  wanted_ = std::move(generation);
  again_ = true;
  if (scheduled_) return;
  scheduled_ = true;
  executor_->Post([this] { Step(); });
}

void BackgroundSweeper::Step() {
  {
    absl::MutexLock lock(&mu_);
    again_ = false;
    if (sweeping_ != wanted_) {
      sweeping_ = wanted_;
      sweep_ = std::make_unique<Sweep>(sweeping_);
    }
  }
  const absl::StatusOr<bool> done = sweep_->Step(kRowsPerStep);
  // A full disk passes. Damage does not, but it is the writer's to report; asking again
  // each second costs nothing.
  const absl::Duration pause = done.ok() ? kPause : kPauseAfterError;
  absl::MutexLock lock(&mu_);
  if (done.ok() && *done && sweeping_ == wanted_ && !again_) {
    scheduled_ = false;
    sweep_.reset();
    sweeping_.reset();
    wanted_.reset();
    return;
  }
  executor_->PostAfter(pause, [this] { Step(); });
}

}  // namespace keelson::kvstore::internal
