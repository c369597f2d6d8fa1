#include "raft/sim/sim_wal.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::raft::sim {

SimWal::SimWal(NodeId node, std::unique_ptr<Wal> wal, const Recovered& recovered, DiskLog& disk,
               Invariants& invariants, Hooks hooks)
    : node_(node),
      wal_(std::move(wal)),
      disk_(disk),
      invariants_(invariants),
      hooks_(std::move(hooks)) {
  Begin(recovered);
}

void SimWal::Begin(const Recovered& recovered) {
  ResetTo(recovered.start);
  (void)disk_.written.Append(recovered.entries);  // Consecutive: Wal::Open promises it.
  disk_.written_state = recovered.hard_state;
  // Open synced what it read.
  disk_.pending_reset = true;
  disk_.pending_states = {recovered.hard_state};
  invariants_.OnAppended(node_, recovered.entries);
  invariants_.OnSync(node_);
  disk_.MarkSynced();
}

void SimWal::ResetTo(const SnapshotMetadata& start) {
  const std::optional<uint64_t> prefix = invariants_.CommittedPrefix(start.index);
  if (!prefix.has_value()) {
    invariants_.Fail("I5", absl::StrCat("the log of node ", node_, " starts after entry ",
                                        start.index, ", which is not committed"));
  }
  disk_.written.Reset(start.index, start.term, prefix.value_or(0));
  disk_.pending_reset = true;
}

void SimWal::NoteAppend(const Batch& batch) {
  if (batch.snapshot.has_value()) ResetTo(*batch.snapshot);
  if (!batch.entries.empty()) disk_.pending_tails.push_back(batch.entries.front().index);
  if (batch.hard_state.has_value()) disk_.pending_states.push_back(*batch.hard_state);
}

absl::Status SimWal::Append(const Batch& batch) {
  absl::Status status = wal_->Append(batch);
  if (status.code() == absl::StatusCode::kResourceExhausted) return status;
  // After any other failure a part of the batch may be on disk.
  NoteAppend(batch);
  KEELSON_RETURN_IF_ERROR(status);
  if (!disk_.written.Append(batch.entries)) {
    invariants_.Fail("I3", absl::StrCat("node ", node_, " left a gap before entry ",
                                        batch.entries.front().index));
    return status;
  }
  const bool new_term =
      !batch.entries.empty() && batch.entries.back().term > disk_.written_state.term;
  if (batch.hard_state.has_value()) disk_.written_state = *batch.hard_state;
  invariants_.OnAppended(node_, batch.entries);
  invariants_.CheckChanges(node_, batch.entries);
  hooks_.on_appended(!batch.entries.empty(), new_term);
  return status;
}

absl::StatusOr<SyncToken> SimWal::Sync() {
  absl::StatusOr<SyncToken> token = wal_->Sync();
  if (token.ok()) NoteSync();
  return token;
}

void SimWal::NoteSync() {
  invariants_.OnSync(node_);
  disk_.MarkSynced();
}

absl::Status SimWal::Compact(const SnapshotMetadata& start) {
  invariants_.OnLogStart(node_, start);
  KEELSON_RETURN_IF_ERROR(wal_->Compact(start));
  hooks_.on_compacted();
  disk_.written.Compact(start.index);
  disk_.durable.Compact(start.index);
  return absl::OkStatus();
}

}  // namespace keelson::raft::sim
