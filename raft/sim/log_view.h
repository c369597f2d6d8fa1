// What a log holds, reduced to hashes: the simulator's own record of a disk, kept apart
// from the code under test.
#ifndef KEELSON_RAFT_SIM_LOG_VIEW_H_
#define KEELSON_RAFT_SIM_LOG_VIEW_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "raft/types.h"

namespace keelson::raft::sim {

class LogView {
 public:
  struct Item {
    Term term = 0;
    uint64_t hash = 0;    // of the entry
    uint64_t prefix = 0;  // of everything up to and including it

    friend bool operator==(const Item&, const Item&) = default;
  };

  // An empty log after entry `start`, whose prefix hash is `prefix`.
  void Reset(Index start, Term term, uint64_t prefix) {
    start_ = start;
    at_start_ = {.term = term, .hash = 0, .prefix = prefix};
    items_.clear();
  }

  // The index before the first item.
  [[nodiscard]] Index start() const { return start_; }
  [[nodiscard]] Index last() const { return start_ + items_.size(); }

  // The item at `index` in [start, last] (the one at start has no hash), else null.
  [[nodiscard]] const Item* At(Index index) const {
    if (index == start_) return &at_start_;
    return index > start_ && index <= last() ? &items_[index - start_ - 1] : nullptr;
  }

  // Appends, replacing from entries[0].index on. Entries at or below the start are skipped.
  // False when there is a gap.
  bool Append(std::span<const Entry> entries);

  // Makes [from, last] equal to `other`'s.
  void CopyTail(const LogView& other, Index from);

  // Forgets up to and including `index`.
  void Compact(Index index);

 private:
  Index start_ = 0;
  Item at_start_;
  std::deque<Item> items_;
};

// A node's log: what has been written, and what is known to be on the platter. It belongs to
// the disk and survives crashes of the node.
struct DiskLog {
  LogView written;
  LogView durable;
  HardState written_state;
  HardState durable_state;
  // What was durable when something of it was lost: acknowledgements from then still count, until
  // the node has recovered.
  std::optional<LogView> lost;
  Index lost_last = 0;  // of all that was lost since then
  // Of what was written since the last sync: each hard state, the first index of each batch,
  // and whether a snapshot replaced the log.
  std::vector<HardState> pending_states;
  std::vector<Index> pending_tails;
  bool pending_reset = false;

  // Everything written is durable now.
  void MarkSynced();
  // Durable data has been lost; what is left comes next.
  void NoteLoss();
  // The item at `index` of the durable log, or of the one that was lost; null if in neither.
  [[nodiscard]] const LogView::Item* Promised(Index index) const;
  [[nodiscard]] Index LastPromised() const;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_LOG_VIEW_H_
