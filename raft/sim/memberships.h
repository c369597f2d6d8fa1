// The memberships of a group one after the other, as its committed entries make them.
#ifndef KEELSON_RAFT_SIM_MEMBERSHIPS_H_
#define KEELSON_RAFT_SIM_MEMBERSHIPS_H_

#include <iterator>
#include <map>

#include "raft/core.h"
#include "raft/types.h"

namespace keelson::raft::sim {

class Memberships {
 public:
  Memberships() : Memberships(ConfState()) {}
  explicit Memberships(const ConfState& first) { changes_[0] = first; }

  // The next committed entry, in order. A change that cannot apply changes nothing.
  void Apply(const Entry& entry) {
    if (entry.type == EntryType::kNormal) return;
    const absl::StatusOr<ConfChange> change = DecodeConfChange(entry);
    if (!change.ok()) return;
    const absl::StatusOr<ConfState> state = ApplyToConfState(changes_.rbegin()->second, *change);
    if (state.ok()) changes_[entry.index] = *state;
  }

  // The membership after entry `index`.
  [[nodiscard]] const ConfState& At(Index index) const {
    return std::prev(changes_.upper_bound(index))->second;
  }
  // By the entry that made it; the first one at 0.
  [[nodiscard]] const std::map<Index, ConfState>& changes() const { return changes_; }

 private:
  std::map<Index, ConfState> changes_;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_MEMBERSHIPS_H_
