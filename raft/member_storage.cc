#include "raft/member_storage.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/internal/wal_repair.h"

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

// What a start finds, and what it makes of it.
class Opener {
 public:
  Opener(FileSystem& fs, const MemberStorageOptions& options, const SnapshotMetadata& applied)
      : fs_(fs), options_(options), random_(options.random), applied_(applied) {}

  absl::StatusOr<MemberStorage> Open() {
    KEELSON_ASSIGN_OR_RETURN(storage_.snapshots, SnapshotStore::Open(fs_, options_.snapshot_dir));
    KEELSON_ASSIGN_OR_RETURN(const bool exists, Wal::Exists(fs_, options_.wal_dir));
    storage_.is_new = !exists;
    absl::Status status = exists ? OpenExisting() : Begin();
    if (!status.ok()) return status;
    return std::move(storage_);
  }

 private:
  absl::Status OpenWal() {
    KEELSON_ASSIGN_OR_RETURN(storage_.wal, Wal::Open(fs_, options_.wal_dir, options_.identity,
                                                     options_.wal, &storage_.recovered));
    return absl::OkStatus();
  }
  absl::Status Begin();
  absl::Status OpenExisting();
  // DATA_LOSS when the log and what else there is cannot come from one life.
  absl::Status CheckFit();
  absl::Status Repair(const wal::Salvage& salvage);
  absl::StatusOr<wal::Restart> Plan(const std::optional<Wal::Recovered>& rest);
  absl::Status StartOver(wal::Restart restart, StorageLoss loss);
  // Milliseconds since 1970, and 22 bits of chance.
  uint64_t DrawIncarnation() {
    constexpr int kChanceBits = 22;
    Clock& clock = options_.clock != nullptr ? *options_.clock : RealClock();
    const int64_t milliseconds = std::max<int64_t>(absl::ToUnixMillis(clock.Now()), 0);
    return (static_cast<uint64_t>(milliseconds) << kChanceBits) +
           random_.Below(uint64_t{1} << kChanceBits) + 1;
  }

  FileSystem& fs_;
  const MemberStorageOptions& options_;
  Random random_;
  const SnapshotMetadata applied_;
  MemberStorage storage_;
};

absl::Status Opener::Begin() {
  switch (options_.without_log) {
    case WithoutLog::kRefuse:
      return absl::NotFoundError(absl::StrCat("'", options_.wal_dir, "' holds no write-ahead log"));
    case WithoutLog::kLostEverything:
      return Repair({.damage = absl::DataLossError(absl::StrCat(
                         "'", options_.wal_dir, "' holds no log of a member that has run before")),
                     .rest = std::nullopt,
                     .highest_entry = 0});
    case WithoutLog::kNewMember:
      break;
  }
  if (applied_.index > 0) {
    return absl::FailedPreconditionError(absl::StrCat("the state machine is at entry ",
                                                      applied_.index, ", but '", options_.wal_dir,
                                                      "' holds no write-ahead log"));
  }
  KEELSON_RETURN_IF_ERROR(
      Wal::Create(fs_, options_.wal_dir, options_.identity, applied_, options_.wal));
  return OpenWal();
}

absl::Status Opener::OpenExisting() {
  absl::Status status = OpenWal();
  if (status.ok()) {
    absl::Status fit = CheckFit();
    if (!absl::IsDataLoss(fit)) return fit;
    storage_.wal.reset();
    return Repair({.damage = std::move(fit),
                   .rest = std::move(storage_.recovered),
                   .highest_entry = applied_.index});
  }
  if (!absl::IsDataLoss(status)) return status;
  KEELSON_ASSIGN_OR_RETURN(const wal::Salvage salvage,
                           wal::ReadDamaged(fs_, options_.wal_dir, options_.identity));
  return salvage.damage.ok() ? status : Repair(salvage);
}

absl::Status Opener::CheckFit() {
  const Wal::Recovered& log = storage_.recovered;
  if (applied_.index < log.start.index) {
    const absl::Status whole = VerifySnapshot(*storage_.snapshots, log.start.index, log.start.term);
    if (!absl::IsNotFound(whole) && !absl::IsDataLoss(whole)) return whole;
    return absl::DataLossError(absl::StrCat("the state ends at entry ", applied_.index,
                                            ", the log begins after ", log.start.index,
                                            ", and no snapshot covers the gap: ", whole.message()));
  }
  if (applied_.index > LastIndex(log)) {
    return absl::DataLossError(absl::StrCat("the state is at entry ", applied_.index,
                                            ", but the log '", options_.wal_dir, "' ends at ",
                                            LastIndex(log)));
  }
  if (applied_.term != 0 && !Holds(log, applied_)) {
    return absl::DataLossError(absl::StrCat("the state is at entry ", applied_.index, " of term ",
                                            applied_.term, ", which is another one in the log '",
                                            options_.wal_dir, "'"));
  }
  return absl::OkStatus();
}

absl::StatusOr<wal::Restart> Opener::Plan(const std::optional<Wal::Recovered>& rest) {
  wal::Restart restart;
  if (rest.has_value()) {
    restart.hard_state = rest->hard_state;
    bool usable = Holds(*rest, applied_);
    if (!usable && applied_.index < rest->start.index) {
      const absl::Status whole =
          VerifySnapshot(*storage_.snapshots, rest->start.index, rest->start.term);
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
                           NewestGoodSnapshot(*storage_.snapshots, applied_.index));
  restart.start = snapshot.value_or(applied_);
  return restart;
}

absl::Status Opener::Repair(const wal::Salvage& salvage) {
  KEELSON_ASSIGN_OR_RETURN(wal::Restart restart, Plan(salvage.rest));
  const Index kept = restart.start.index + restart.entries.size();
  StorageLoss loss = {.what = std::string(salvage.damage.message()),
                      .incarnation = 0,
                      .kept = std::max(kept, applied_.index),
                      .known = std::max({kept, applied_.index, salvage.highest_entry})};
  const ConfState& membership =
      restart.start.index > applied_.index ? restart.start.conf_state : applied_.conf_state;
  const bool possible = CanDoWithout(membership, options_.identity.node_id);
  if (!options_.repair || !possible) {
    const std::string entries =
        loss.known > kept ? absl::StrCat("entries ", kept + 1, " to ", loss.known, " at least")
                          : absl::StrCat("what followed entry ", kept);
    return absl::DataLossError(absl::StrCat(
        loss.what, "; lost: ", entries,
        possible ? "" : "; the other members are no majority, so nobody can bring it back"));
  }
  return StartOver(std::move(restart), std::move(loss));
}

absl::Status Opener::StartOver(wal::Restart restart, StorageLoss loss) {
  HardState& state = restart.hard_state;
  loss.incarnation = std::max(state.incarnation + 1, DrawIncarnation());
  const Index last = restart.start.index + restart.entries.size();
  Term term = std::max({state.term, restart.start.term, applied_.term});
  if (!restart.entries.empty()) term = std::max(term, restart.entries.back().term);
  if (term != state.term) state.vote = kNoNode;
  state.term = term;
  state.commit = std::min(std::max({state.commit, restart.start.index, applied_.index}), last);
  state.incarnation = loss.incarnation;
  state.recovering = true;
  KEELSON_RETURN_IF_ERROR(
      wal::StartOver(fs_, options_.wal_dir, options_.identity, restart, options_.wal));
  KEELSON_RETURN_IF_ERROR(OpenWal());
  KEELSON_RETURN_IF_ERROR(CheckFit());
  if (options_.observer != nullptr) {
    options_.observer->On(options_.identity.node_id,
                          event::StorageRepaired{.incarnation = loss.incarnation,
                                                 .kept = loss.kept,
                                                 .known = loss.known,
                                                 .what = loss.what});
  }
  storage_.loss = std::move(loss);
  return absl::OkStatus();
}

bool OthersAreMajority(const std::vector<NodeId>& voters, NodeId member) {
  const auto others = static_cast<size_t>(std::count_if(
      voters.begin(), voters.end(), [member](NodeId voter) { return voter != member; }));
  return voters.empty() || others > voters.size() / 2;
}

}  // namespace

bool CanDoWithout(const ConfState& membership, NodeId member) {
  return OthersAreMajority(membership.voters, member) &&
         OthersAreMajority(membership.voters_outgoing, member);
}

absl::StatusOr<MemberStorage> OpenMemberStorage(FileSystem& fs, const MemberStorageOptions& options,
                                                const SnapshotMetadata& applied) {
  return Opener(fs, options, applied).Open();
}

}  // namespace keelson::raft
