#include "raft/sim/sim_shared_wal.h"

#include <utility>

#include "base/status.h"

namespace keelson::raft::sim {
namespace {

// The log of one group, which its shared log owns.
class BorrowedWal final : public Wal {
 public:
  explicit BorrowedWal(Wal& wal) : wal_(wal) {}
  absl::Status Append(const Batch& batch) override { return wal_.Append(batch); }
  absl::StatusOr<SyncToken> Sync() override { return wal_.Sync(); }
  absl::Status Compact(const SnapshotMetadata& start) override { return wal_.Compact(start); }
  [[nodiscard]] Stats GetStats() const override { return wal_.GetStats(); }

 private:
  Wal& wal_;
};

}  // namespace

SimSharedWal::SimSharedWal(NodeId host, std::unique_ptr<SharedWal> log, const Recovered& recovered,
                           Hooks hooks)
    : host_(host), log_(std::move(log)), hooks_(std::move(hooks)) {
  for (const auto& [group, one] : recovered.groups) Watch(group, one);
}

void SimSharedWal::Watch(GroupId group, const Wal::Recovered& recovered) {
  if (const auto found = groups_.find(group); found != groups_.end()) {
    return found->second->Begin(recovered);
  }
  const Record record = hooks_.record_of(group);
  groups_[group] =
      std::make_unique<SimWal>(host_, std::make_unique<BorrowedWal>(*log_->Group(group)), recovered,
                               *record.disk, *record.invariants,
                               SimWal::Hooks{.on_appended =
                                                 [this, group](bool entries, bool) {
                                                   if (entries) hooks_.on_appended(group);
                                                 },
                                             .on_compacted = [] {}});
}

absl::Status SimSharedWal::AddGroup(GroupId group, const SnapshotMetadata& start) {
  KEELSON_RETURN_IF_ERROR(log_->AddGroup(group, start));
  Wal::Recovered begun;
  begun.start = start;
  begun.hard_state.commit = start.index;
  Watch(group, begun);
  return absl::OkStatus();
}

absl::Status SimSharedWal::BeginAnew(GroupId group, const SnapshotMetadata& start,
                                     const HardState& hard_state) {
  KEELSON_RETURN_IF_ERROR(log_->BeginAnew(group, start, hard_state));
  Wal::Recovered now;
  now.start = start;
  now.hard_state = hard_state;
  hooks_.on_began_anew(group, now);
  Watch(group, now);
  return absl::OkStatus();
}

absl::Status SimSharedWal::RemoveGroup(GroupId group) {
  KEELSON_RETURN_IF_ERROR(log_->RemoveGroup(group));
  groups_.erase(group);
  return absl::OkStatus();
}

Wal* SimSharedWal::Group(GroupId group) {
  const auto found = groups_.find(group);
  return found == groups_.end() ? nullptr : found->second.get();
}

absl::StatusOr<SyncToken> SimSharedWal::Sync() {
  absl::StatusOr<SyncToken> token = log_->Sync();
  if (!token.ok()) return token;
  for (const auto& [group, wal] : groups_) wal->NoteSync();
  return token;
}

}  // namespace keelson::raft::sim
