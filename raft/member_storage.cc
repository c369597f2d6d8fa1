#include "raft/member_storage.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/internal/storage_fit.h"
#include "raft/internal/wal_repair.h"

namespace keelson::raft {
namespace {

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
  absl::Status Fits() {
    return CheckFit(storage_.recovered, options_.wal_dir, applied_, *storage_.snapshots);
  }
  absl::Status Repair(const wal::Salvage& salvage);
  absl::Status StartOver(wal::Restart restart, StorageLoss loss);
  uint64_t DrawLife() {
    return DrawIncarnation(options_.clock != nullptr ? *options_.clock : RealClock(), random_);
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
    absl::Status fit = Fits();
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

absl::Status Opener::Repair(const wal::Salvage& salvage) {
  KEELSON_ASSIGN_OR_RETURN(wal::Restart restart,
                           PlanRestart(salvage.rest, applied_, *storage_.snapshots));
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
  wal::BeginLife(restart, applied_, DrawLife());
  loss.incarnation = restart.hard_state.incarnation;
  KEELSON_RETURN_IF_ERROR(
      wal::StartOver(fs_, options_.wal_dir, options_.identity, restart, options_.wal));
  KEELSON_RETURN_IF_ERROR(OpenWal());
  KEELSON_RETURN_IF_ERROR(Fits());
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
