#include "raft/internal/driver_log.h"

#include <algorithm>

#include "raft/core.h"
#include "raft/internal/mutation.h"

namespace keelson::raft {

DriverLog::DriverLog(const Recovery& recovery)
    : applied_(recovery.applied), log_(recovery.log.start, recovery.log.hard_state) {
  log_.Append(recovery.log.entries);
  // Replays the membership changes that were applied already.
  memberships_.push_back({recovery.log.start.index, recovery.log.start.conf_state});
  for (const Entry& entry : recovery.log.entries) {
    if (entry.index > applied_.index) break;
    if (entry.type == EntryType::kNormal) continue;
    const absl::StatusOr<ConfChange> change = DecodeConfChange(entry);
    if (!change.ok()) continue;  // The state machine was fed the same entry and skipped it too.
    absl::StatusOr<ConfState> state = ApplyToConfState(memberships_.back().second, *change);
    if (state.ok()) memberships_.push_back({entry.index, std::move(state).value()});
  }
}

absl::StatusOr<Snapshot> DriverLog::LatestSnapshot() const {
  absl::StatusOr<Snapshot> snapshot = log_.LatestSnapshot();
  // One from before the last membership change is of no use to a member that came with it.
  if (!snapshot.ok() || snapshot->metadata.index + 1 < log_.FirstIndex() ||
      memberships_.back().first > snapshot->metadata.index) {
    wanted_ = !snapshot.ok() || !Mutated(Mutation::kOldSnapshotOffered);
    return absl::UnavailableError("a snapshot is being made");
  }
  return snapshot;
}

void DriverLog::Reset(const Snapshot& snapshot) {
  Snapshot start = snapshot;
  if (Mutated(Mutation::kRestoredTermLost)) start.metadata.term = 0;
  log_.Reset(start);
  if (Mutated(Mutation::kStaleMembershipAfterReset)) return;
  memberships_.clear();
  memberships_.push_back({snapshot.metadata.index, snapshot.metadata.conf_state});
}

void DriverLog::NoteConfChange(Index index, const ConfChange& change,
                               std::optional<ConfState> made) {
  if (!made.has_value()) {
    if (index <= memberships_.back().first) return;
    absl::StatusOr<ConfState> state = ApplyToConfState(memberships_.back().second, change);
    if (!state.ok()) return;
    made = *std::move(state);
  }
  memberships_.push_back({index, *std::move(made)});
}

Index DriverLog::BeforeLast(uint64_t bytes, Index index) const {
  uint64_t kept = 0;
  // What has been applied may not be in the log of this node yet.
  index = std::min(index, log_.LastIndex());
  while (index >= log_.FirstIndex() && kept + log_.PayloadBytes(index) <= bytes) {
    kept += log_.PayloadBytes(index--);
  }
  return index;
}

std::optional<SnapshotMetadata> DriverLog::Compact(Index index) {
  if (index < log_.FirstIndex()) return std::nullopt;
  const absl::StatusOr<Term> term = log_.TermAt(index);
  if (!term.ok()) return std::nullopt;
  while (memberships_.size() > 1 && memberships_[1].first <= index) memberships_.pop_front();
  log_.Compact(index);
  return SnapshotMetadata{.index = index,
                          .term = *term,
                          .conf_state = Mutated(Mutation::kSnapshotConfNewer)
                                            ? memberships_.back().second
                                            : memberships_.front().second};
}

}  // namespace keelson::raft
