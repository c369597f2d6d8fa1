// A Wal between a node and its real one, which keeps the simulator's record of the disk.
#ifndef KEELSON_RAFT_SIM_SIM_WAL_H_
#define KEELSON_RAFT_SIM_SIM_WAL_H_

#include <functional>
#include <memory>

#include "raft/sim/invariants.h"
#include "raft/sim/log_view.h"
#include "raft/wal.h"

namespace keelson::raft::sim {

class SimWal final : public Wal {
 public:
  struct Hooks {
    // A batch was appended; `entries`: it has some; `new_term`: they are the first of a term that
    // was not in the log before.
    std::function<void(bool entries, bool new_term)> on_appended;
    std::function<void()> on_compacted;
  };

  // Takes `wal` as just recovered with `recovered` and brings `disk` up to date with it.
  // `disk` and `invariants` are borrowed and outlive this.
  SimWal(NodeId node, std::unique_ptr<Wal> wal, const Recovered& recovered, DiskLog& disk,
         Invariants& invariants, Hooks hooks);

  // The log is now as `recovered`, durably.
  void Begin(const Recovered& recovered);

  absl::Status Append(const Batch& batch) override;
  absl::StatusOr<SyncToken> Sync() override;
  // All that was written is durable now.
  void NoteSync();
  absl::Status Compact(const SnapshotMetadata& start) override;
  Stats GetStats() const override { return wal_->GetStats(); }

 private:
  void NoteAppend(const Batch& batch);
  void ResetTo(const SnapshotMetadata& start);

  const NodeId node_;
  const std::unique_ptr<Wal> wal_;
  DiskLog& disk_;
  Invariants& invariants_;
  const Hooks hooks_;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_SIM_WAL_H_
