// What the core reads of the stable log, and the in-memory log that serves it.
#ifndef KEELSON_RAFT_LOG_STORAGE_H_
#define KEELSON_RAFT_LOG_STORAGE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/types.h"

namespace keelson::raft {

// Stable entries [FirstIndex, LastIndex] and the term of the entry before them.
class LogStorage {
 public:
  virtual ~LogStorage() = default;

  [[nodiscard]] virtual HardState InitialHardState() const = 0;
  [[nodiscard]] virtual ConfState InitialConfState() const = 0;

  [[nodiscard]] virtual Index FirstIndex() const = 0;
  [[nodiscard]] virtual Index LastIndex() const = 0;  // FirstIndex() - 1 when empty

  // Term of the entry at `index` in [FirstIndex-1, LastIndex].
  // OUT_OF_RANGE: compacted away. NOT_FOUND: past the end.
  [[nodiscard]] virtual absl::StatusOr<Term> TermAt(Index index) const = 0;

  // Entries [first, last), cut so that their EncodedBytes sum to at most `max_bytes` but never
  // to none. Errors as TermAt.
  [[nodiscard]] virtual absl::StatusOr<std::vector<Entry>> Entries(Index first, Index last,
                                                                   uint64_t max_bytes) const = 0;

  // The newest snapshot that can be sent to a peer. UNAVAILABLE when one is being made:
  // the core asks again later.
  [[nodiscard]] virtual absl::StatusOr<Snapshot> LatestSnapshot() const = 0;
};

// All entries in memory, as the append worker has made them durable. Used by the driver
// (its Wal holds the same entries on disk) and by tests. Not thread-safe.
class MemoryLog final : public LogStorage {
 public:
  // An empty log that starts after `start.index`.
  explicit MemoryLog(const SnapshotMetadata& start = {}, const HardState& hard_state = {});

  [[nodiscard]] HardState InitialHardState() const override { return hard_state_; }
  [[nodiscard]] ConfState InitialConfState() const override { return conf_state_; }
  [[nodiscard]] Index FirstIndex() const override { return start_index_ + 1; }
  [[nodiscard]] Index LastIndex() const override {
    return start_index_ + (entries_.size() - head_);
  }
  [[nodiscard]] absl::StatusOr<Term> TermAt(Index index) const override;
  [[nodiscard]] absl::StatusOr<std::vector<Entry>> Entries(Index first, Index last,
                                                           uint64_t max_bytes) const override;
  [[nodiscard]] absl::StatusOr<Snapshot> LatestSnapshot() const override;

  // Appends `entries`, replacing what is at or after entries[0].index. A gap is a bug (CHECK).
  // Entries at or below the start are skipped.
  void Append(const std::vector<Entry>& entries);
  void SetHardState(const HardState& hard_state) { hard_state_ = hard_state; }

  // Of the payload of the entry `index`, which must be in [FirstIndex, LastIndex].
  [[nodiscard]] size_t PayloadBytes(Index index) const { return At(index).data.size(); }

  // Forgets entries up to and including `index`, which must be in [FirstIndex-1, LastIndex].
  void Compact(Index index);

  // Replaces everything: the log now starts after `snapshot`. An older offer is withdrawn.
  void Reset(const Snapshot& snapshot);

  // Offers `snapshot` to peers that need one; nullopt withdraws the offer.
  void OfferSnapshot(std::optional<Snapshot> snapshot) { offered_ = std::move(snapshot); }

 private:
  [[nodiscard]] const Entry& At(Index index) const {
    return entries_[head_ + (index - start_index_ - 1)];
  }

  HardState hard_state_;
  ConfState conf_state_;
  Index start_index_ = 0;  // index and term of the entry before the first
  Term start_term_ = 0;
  // From head_ on; what is before has been compacted away. One block that moves down now and then:
  // in the steady state appending allocates nothing.
  std::vector<Entry> entries_;
  size_t head_ = 0;
  std::optional<Snapshot> offered_;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_LOG_STORAGE_H_
