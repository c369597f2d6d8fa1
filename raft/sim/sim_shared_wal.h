// A SharedWal between a host and its real one, which keeps the simulator's record of the disk for
// each group.
#ifndef KEELSON_RAFT_SIM_SIM_SHARED_WAL_H_
#define KEELSON_RAFT_SIM_SIM_SHARED_WAL_H_

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "raft/internal/shared_wal.h"
#include "raft/sim/invariants.h"
#include "raft/sim/log_view.h"
#include "raft/sim/sim_wal.h"

namespace keelson::raft::sim {

class SimSharedWal final : public SharedWal {
 public:
  // What the simulator knows of a group here. Borrowed.
  struct Record {
    DiskLog* disk = nullptr;
    Invariants* invariants = nullptr;
  };
  struct Hooks {
    std::function<Record(GroupId)> record_of;
    // The group says that it has lost what it had. Called before the record is brought up to date.
    std::function<void(GroupId, const Wal::Recovered& now)> on_began_anew;
    std::function<void(GroupId)> on_appended;  // entries
  };

  // Takes `log` as just opened with `recovered`.
  SimSharedWal(NodeId host, std::unique_ptr<SharedWal> log, const Recovered& recovered,
               Hooks hooks);

  absl::Status AddGroup(GroupId group, const SnapshotMetadata& start) override;
  absl::Status BeginAnew(GroupId group, const SnapshotMetadata& start,
                         const HardState& hard_state) override;
  absl::Status RemoveGroup(GroupId group) override;
  [[nodiscard]] bool WasRemoved(GroupId group) const override { return log_->WasRemoved(group); }
  [[nodiscard]] wal::GroupRanges Removed() const override { return log_->Removed(); }
  Wal* Group(GroupId group) override;
  absl::StatusOr<SyncToken> Sync() override;
  [[nodiscard]] std::vector<GroupId> GroupsPinning(size_t keep_segments,
                                                   size_t limit) const override {
    return log_->GroupsPinning(keep_segments, limit);
  }
  [[nodiscard]] Wal::Stats GetStats() const override { return log_->GetStats(); }

 private:
  void Watch(GroupId group, const Wal::Recovered& recovered);

  const NodeId host_;
  const std::unique_ptr<SharedWal> log_;
  const Hooks hooks_;
  std::map<GroupId, std::unique_ptr<SimWal>> groups_;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_SIM_SHARED_WAL_H_
