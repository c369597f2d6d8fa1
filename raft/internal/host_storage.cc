#include "raft/internal/host_storage.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "raft/internal/storage_fit.h"
#include "raft/internal/wal_repair.h"
#include "raft/member_storage.h"

namespace keelson::raft {

absl::StatusOr<bool> FitGroup(const GroupParts& parts, uint64_t incarnation, Wal::Recovered& log,
                              std::optional<std::string>* what) {
  const SnapshotMetadata applied = parts.machine.Applied();
  if (!log.hard_state.recovering) {
    const absl::Status fit = CheckFit(log, "wal", applied, parts.snapshots);
    if (fit.ok()) return false;
    if (!absl::IsDataLoss(fit)) return fit;
    *what = std::string(fit.message());
  }
  // Where it begins is lost, or it is a member that has heard of nobody yet: the same log.
  const bool nothing = log.start == SnapshotMetadata() && log.entries.empty();
  KEELSON_ASSIGN_OR_RETURN(
      wal::Restart restart,
      PlanRestart(nothing ? std::nullopt : std::optional(log), applied, parts.snapshots));
  restart.hard_state = log.hard_state;
  const ConfState& members =
      restart.start.index > applied.index ? restart.start.conf_state : applied.conf_state;
  if (!CanDoWithout(members, parts.host)) {
    return absl::DataLossError(absl::StrCat(
        "the log of this group has lost entries or votes", what->has_value() ? ": " : "",
        what->value_or(""), "; the other members are no majority, so nobody can bring them back"));
  }
  const bool same = log.hard_state.recovering && restart.start == log.start &&
                    restart.entries.size() == log.entries.size();
  if (same) return false;
  KEELSON_CHECK(restart.entries.empty())
      << "group " << parts.id << " keeps entries that do not fit";
  wal::BeginLife(restart, applied, incarnation);
  KEELSON_RETURN_IF_ERROR(parts.wal.BeginAnew(parts.id, restart.start, restart.hard_state));
  log.hard_state = restart.hard_state;
  log.start = std::move(restart.start);
  log.entries.clear();
  return true;
}

}  // namespace keelson::raft
