// The log as the algorithm sees it: stable entries, the unstable tail, and how far it is
// committed and applied.
//
// Always: applied <= applying <= committed <= LastIndex().
#ifndef KEELSON_RAFT_INTERNAL_RAFT_LOG_H_
#define KEELSON_RAFT_INTERNAL_RAFT_LOG_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "raft/internal/fifo.h"
#include "raft/internal/trace.h"
#include "raft/internal/unstable.h"
#include "raft/log_storage.h"
#include "raft/observer.h"
#include "raft/types.h"

namespace keelson::raft::internal {

// Where a log ends, or begins to differ.
struct EntryId {
  Term term = 0;
  Index index = 0;

  friend bool operator==(const EntryId&, const EntryId&) = default;
};

class RaftLog {
 public:
  // `storage` and `observer` (may be null) are borrowed. At most `max_apply_bytes` are handed
  // out and unanswered at a time, one batch excepted.
  RaftLog(NodeId self, const LogStorage& storage, uint64_t max_apply_bytes, bool apply_unstable,
          Observer* observer);

  [[nodiscard]] Index FirstIndex() const;
  [[nodiscard]] Index LastIndex() const;
  [[nodiscard]] EntryId LastEntry() const;
  // nullopt: compacted away, or past the end.
  [[nodiscard]] std::optional<Term> TermAt(Index index) const;
  [[nodiscard]] bool Matches(EntryId id) const { return TermAt(id.index) == id.term; }
  // True if a log that ends in `id` holds at least as much as this one.
  [[nodiscard]] bool IsUpToDate(EntryId id) const;

  // Entries [first, last) of at most `max_bytes` encoded bytes, but at least one.
  // nullopt when `first` is compacted away.
  [[nodiscard]] std::optional<std::vector<Entry>> Slice(Index first, Index last,
                                                        uint64_t max_bytes) const;
  // The newest snapshot that can be sent; see LogStorage::LatestSnapshot.
  [[nodiscard]] absl::StatusOr<Snapshot> LatestSnapshot() const;

  // As a follower: if `prev` matches, takes the `entries` that are missing or differ and
  // returns the index of the last one of them. nullopt if it does not match.
  std::optional<Index> MaybeAppend(EntryId prev, std::span<const Entry> entries);
  // As a leader: puts `entries` at the end. Returns the last index.
  Index Append(std::span<const Entry> entries);
  // The largest index <= `index` whose term is at most `term`, and its term; term 0 when that
  // is not known. What lies between cannot match a log that has `term` at `index`.
  [[nodiscard]] EntryId FindConflictByTerm(Index index, Term term) const;

  // Moves the commit index forward; what the log lacks is cut and reported to the observer.
  void CommitTo(Index index);
  // Commits up to `at` if the log holds it, with that term. True if that moved anything. `at` is
  // known to be committed, or held by a quorum and of the term of this leader.
  bool MaybeCommit(EntryId at);

  // What the append worker must get next.
  [[nodiscard]] std::span<const Entry> NextUnstable() const { return unstable_.NextEntries(); }
  [[nodiscard]] const Snapshot* NextUnstableSnapshot() const { return unstable_.NextSnapshot(); }
  [[nodiscard]] bool HasUnstable() const { return unstable_.size() > 0; }
  [[nodiscard]] bool HasUnstableSnapshot() const { return unstable_.HasSnapshot(); }
  void AcceptUnstable() { unstable_.AcceptInProgress(); }
  void StableTo(EntryId id);
  void StableSnapshotTo(Index index) { unstable_.StableSnapshotTo(index); }
  // The log is now empty behind `snapshot`.
  void Restore(const Snapshot& snapshot);

  // Committed entries for the apply worker; empty while a limit or a snapshot holds them back.
  [[nodiscard]] bool HasNextCommitted() const;
  [[nodiscard]] std::vector<Entry> NextCommitted() const;
  // `entries` were handed out.
  void AcceptApplying(std::span<const Entry> entries);
  // Everything up to `index` is applied. Returns the payload bytes of what that answered.
  uint64_t AppliedTo(Index index);

  // At creation: what the hard state and the state machine know.
  void Load(Index commit, Index applied);

  [[nodiscard]] Index committed() const { return committed_; }
  [[nodiscard]] Index applied() const { return applied_; }
  [[nodiscard]] Index applying() const { return applying_; }
  // Nothing more is handed out before some of that has been applied.
  [[nodiscard]] bool apply_paused() const { return apply_paused_; }

  // All state that decides about the future, the storage apart; for raft/model.
  template <typename Visitor>
  void VisitState(Visitor& visit) const {
    visit(unstable_, committed_, applying_, applied_, applying_bytes_, apply_paused_);
    for (const Batch& batch : batches_) visit(batch.last, batch.encoded_bytes, batch.payload_bytes);
  }

 private:
  struct Batch {
    Index last = 0;
    uint64_t encoded_bytes = 0;
    uint64_t payload_bytes = 0;
  };

  void Emit(const Event& event) const {
    if (observer_ != nullptr) observer_->On(self_, event);
  }
  void Emit(const TraceEvent& step) const {
    if (observer_ != nullptr) observer_->OnTrace(self_, step);
  }
  [[nodiscard]] Index FindConflict(std::span<const Entry> entries) const;
  void AppendUnstable(std::span<const Entry> entries);
  [[nodiscard]] Index MaxAppliable() const;

  const NodeId self_;
  const LogStorage& storage_;
  Observer* const observer_;
  const uint64_t max_apply_bytes_;
  const bool apply_unstable_;
  Unstable unstable_;
  Index committed_ = 0;
  Index applying_ = 0;   // handed to the state machine
  Index applied_ = 0;    // and answered
  Fifo<Batch> batches_;  // handed out, not answered
  uint64_t applying_bytes_ = 0;
  bool apply_paused_ = false;
};

}  // namespace keelson::raft::internal

#endif  // KEELSON_RAFT_INTERNAL_RAFT_LOG_H_
