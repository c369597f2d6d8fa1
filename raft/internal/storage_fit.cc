#include "raft/internal/storage_fit.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::raft {
namespace {

Index LastIndex(const Wal::Recovered& log) { return log.start.index + log.entries.size(); }

// True when `log` holds the entry at `position`, and thus all that leads to it.
bool Holds(const Wal::Recovered& log, const SnapshotMetadata& position) {
  if (position.index < log.start.index || position.index > LastIndex(log)) return false;
  if (position.index == log.start.index) return true;  // Both are committed.
  return log.entries[position.index - log.start.index - 1].term == position.term;
}

// The newest snapshot behind `after` that can be read to its end.
absl::StatusOr<std::optional<SnapshotMetadata>> NewestGoodSnapshot(SnapshotStore& snapshots,
                                                                   Index after) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<SnapshotMetadata> found, snapshots.List());
  for (const SnapshotMetadata& metadata : found) {
    if (metadata.index <= after) break;
    const absl::Status whole = VerifySnapshot(snapshots, metadata.index, metadata.term);
    if (whole.ok()) return metadata;
    if (!absl::IsDataLoss(whole)) return whole;
  }
  return std::nullopt;
}

}  // namespace

absl::Status CheckFit(const Wal::Recovered& log, const std::string& name,
                      const SnapshotMetadata& applied, SnapshotStore& snapshots) {
  if (applied.index < log.start.index) {
    const absl::Status whole = VerifySnapshot(snapshots, log.start.index, log.start.term);
    if (!absl::IsNotFound(whole) && !absl::IsDataLoss(whole)) return whole;
    return absl::DataLossError(absl::StrCat("the state ends at entry ", applied.index,
                                            ", the log begins after ", log.start.index,
                                            ", and no snapshot covers the gap: ", whole.message()));
  }
  if (applied.index > LastIndex(log)) {
    return absl::DataLossError(absl::StrCat("the state is at entry ", applied.index,
                                            ", but the log '", name, "' ends at ", LastIndex(log)));
  }
  if (applied.term != 0 && !Holds(log, applied)) {
    return absl::DataLossError(absl::StrCat("the state is at entry ", applied.index, " of term ",
                                            applied.term, ", which is another one in the log '",
                                            name, "'"));
  }
  return absl::OkStatus();
}

absl::StatusOr<wal::Restart> PlanRestart(const std::optional<Wal::Recovered>& rest,
                                         const SnapshotMetadata& applied,
                                         SnapshotStore& snapshots) {
  wal::Restart restart;
  if (rest.has_value()) {
    restart.hard_state = rest->hard_state;
    bool usable = Holds(*rest, applied);
    if (!usable && applied.index < rest->start.index) {
      const absl::Status whole = VerifySnapshot(snapshots, rest->start.index, rest->start.term);
      if (!absl::IsNotFound(whole) && !absl::IsDataLoss(whole)) KEELSON_RETURN_IF_ERROR(whole);
      usable = whole.ok();
    }
    if (usable) {
      restart.start = rest->start;
      restart.entries = rest->entries;
      return restart;
    }
  }
  KEELSON_ASSIGN_OR_RETURN(const std::optional<SnapshotMetadata> snapshot,
                           NewestGoodSnapshot(snapshots, applied.index));
  restart.start = snapshot.value_or(applied);
  return restart;
}

uint64_t DrawIncarnation(Clock& clock, Random& random) {
  constexpr int kChanceBits = 22;
  const int64_t milliseconds = std::max<int64_t>(absl::ToUnixMillis(clock.Now()), 0);
  return (static_cast<uint64_t>(milliseconds) << kChanceBits) +
         random.Below(uint64_t{1} << kChanceBits) + 1;
}

}  // namespace keelson::raft
