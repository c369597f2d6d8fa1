// A set of group ids that stays small when ids are given out in sequence.
#ifndef KEELSON_RAFT_INTERNAL_GROUP_IDS_H_
#define KEELSON_RAFT_INTERNAL_GROUP_IDS_H_

#include <algorithm>
#include <iterator>
#include <map>

#include "raft/internal/wal_format.h"
#include "raft/types.h"

namespace keelson::raft::wal {

// Stores runs of consecutive ids. A single-threaded value.
class GroupIds {
 public:
  [[nodiscard]] bool Contains(GroupId id) const {
    const auto after = runs_.upper_bound(id);
    return after != runs_.begin() && std::prev(after)->second >= id;
  }

  // Adds [first, last].
  void Add(GroupId first, GroupId last) {
    auto run = runs_.upper_bound(first);
    if (run != runs_.begin() && std::prev(run)->second + 1 >= first) {
      --run;
      first = run->first;
    }
    while (run != runs_.end() && run->first <= last + 1) {
      last = std::max(last, run->second);
      run = runs_.erase(run);
    }
    runs_.emplace(first, last);
  }

  [[nodiscard]] bool empty() const { return runs_.empty(); }
  // Ascending, with gaps in between.
  [[nodiscard]] GroupRanges ranges() const { return {runs_.begin(), runs_.end()}; }

 private:
  std::map<GroupId, GroupId> runs_;  // first -> last
};

}  // namespace keelson::raft::wal

#endif  // KEELSON_RAFT_INTERNAL_GROUP_IDS_H_
