// The log as the driver's loop sees it: a MemoryLog that also remembers which
// membership was in force where, and when a peer needs a snapshot.
#ifndef KEELSON_RAFT_INTERNAL_DRIVER_LOG_H_
#define KEELSON_RAFT_INTERNAL_DRIVER_LOG_H_

#include <optional>
#include <utility>
#include <vector>

#include "raft/internal/fifo.h"
#include "raft/internal/recovery.h"
#include "raft/log_storage.h"
#include "raft/types.h"

namespace keelson::raft {

class DriverLog final : public LogStorage {
 public:
  explicit DriverLog(const Recovery& recovery);

  [[nodiscard]] HardState InitialHardState() const override { return log_.InitialHardState(); }
  [[nodiscard]] ConfState InitialConfState() const override { return applied_.conf_state; }
  [[nodiscard]] Index FirstIndex() const override { return log_.FirstIndex(); }
  [[nodiscard]] Index LastIndex() const override { return log_.LastIndex(); }
  [[nodiscard]] absl::StatusOr<Term> TermAt(Index index) const override {
    return log_.TermAt(index);
  }
  [[nodiscard]] absl::StatusOr<std::vector<Entry>> Entries(Index first, Index last,
                                                           uint64_t max_bytes) const override {
    return log_.Entries(first, last, max_bytes);
  }
  // Notes that one is wanted when there is none that connects to the log.
  [[nodiscard]] absl::StatusOr<Snapshot> LatestSnapshot() const override;

  // Where the state machine stood when the driver started.
  [[nodiscard]] const SnapshotMetadata& applied() const { return applied_; }

  void Append(const std::vector<Entry>& entries) { log_.Append(entries); }
  void SetHardState(const HardState& hard_state) { log_.SetHardState(hard_state); }
  void Reset(const Snapshot& snapshot);

  // The entry `index` has been applied, and is `change`. `made`: what Core::ApplyConfChange returned
  // for it. Without, the core has the membership of a later snapshot, which the log may not begin
  // with yet.
  void NoteConfChange(Index index, const ConfChange& change, std::optional<ConfState> made);

  // The last entry that need not stay when of those up to `index` as many stay as have `bytes`.
  [[nodiscard]] Index BeforeLast(uint64_t bytes, Index index) const;

  // Forgets entries up to `index`. Returns the new start of the log, or nothing when it
  // already starts there or later.
  std::optional<SnapshotMetadata> Compact(Index index);

  // True once since a peer asked in vain for a snapshot.
  [[nodiscard]] bool snapshot_wanted() const { return wanted_; }
  void OfferSnapshot(Snapshot snapshot) {
    wanted_ = false;
    log_.OfferSnapshot(std::move(snapshot));
  }
  // What is offered now, if anything.
  [[nodiscard]] std::optional<SnapshotMetadata> offered_snapshot() const {
    const absl::StatusOr<Snapshot> offered = log_.LatestSnapshot();
    if (!offered.ok()) return std::nullopt;
    return offered->metadata;
  }
  // The one at `index` is no more.
  void WithdrawSnapshot(Index index) {
    if (const auto offered = offered_snapshot(); offered.has_value() && offered->index == index) {
      log_.OfferSnapshot(std::nullopt);
    }
  }

 private:
  SnapshotMetadata applied_;
  MemoryLog log_;
  // Ascending by index; the first is at or before the start of the log.
  Fifo<std::pair<Index, ConfState>> memberships_;
  mutable bool wanted_ = false;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_DRIVER_LOG_H_
