#include "raft/internal/recovery.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::raft {

absl::StatusOr<Recovery> Recover(Wal::Recovered log, StateMachine& machine,
                                 SnapshotStore& snapshots) {
  SnapshotMetadata applied = machine.Applied();
  if (applied.index < log.start.index) {
    absl::StatusOr<std::unique_ptr<SnapshotReader>> reader =
        snapshots.OpenSnapshot(log.start.index, log.start.term);
    if (!reader.ok() && !absl::IsNotFound(reader.status())) {
      return Annotate(reader.status(), "open the snapshot that the log names");
    }
    if (!reader.ok()) {
      return absl::DataLossError(absl::StrCat(
          "the state ends at entry ", applied.index, ", the log begins after ", log.start.index,
          ", and no snapshot covers the gap: ", reader.status().message()));
    }
    KEELSON_RETURN_IF_ERROR(
        Annotate(machine.Restore(**reader, log.start), "load the snapshot that the log names"));
    applied = log.start;
  }
  const Index last = log.start.index + log.entries.size();
  if (applied.index > last) {
    return absl::DataLossError(absl::StrCat("the state is at entry ", applied.index,
                                            ", but the log ends at ", last,
                                            ": the log has lost durable entries"));
  }
  if (applied.index == log.start.index && applied.index > 0) applied.term = log.start.term;
  // What has been applied was committed, even if the note of it was never synced.
  log.hard_state.commit = std::max(log.hard_state.commit, applied.index);
  return Recovery{.log = std::move(log), .applied = std::move(applied)};
}

}  // namespace keelson::raft
