// Which groups still need which segments of the log that they share.
#ifndef KEELSON_RAFT_INTERNAL_SEGMENT_PINS_H_
#define KEELSON_RAFT_INTERNAL_SEGMENT_PINS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "raft/types.h"

namespace keelson::raft::wal {

// A group pins the oldest segment that holds an entry of it after its start. Replaced entries pin
// nothing. Pure; a single-threaded value.
class SegmentPins {
 public:
  // `group` wrote entries from `first` to `last` into segment `sequence`; older ones from `first`
  // on are replaced.
  void Wrote(GroupId group, uint64_t sequence, Index first, Index last);
  // The log of `group` now starts after `start`; later entries stay.
  void StartAt(GroupId group, Index start);
  // The log of `group` now starts after `start` and is empty; or the group is gone.
  void Clear(GroupId group);

  // The oldest segment that `group` pins; nullopt when it pins none.
  [[nodiscard]] std::optional<uint64_t> Of(GroupId group) const {
    const auto found = groups_.find(group);
    return found == groups_.end() ? std::nullopt : PinOf(found->second);
  }
  // The oldest segment that some group pins; nullopt when none does.
  [[nodiscard]] std::optional<uint64_t> Oldest() const;
  // At most `limit` of the groups that pin segments before `sequence`, those of the oldest first.
  [[nodiscard]] std::vector<GroupId> Before(uint64_t sequence, size_t limit) const;

 private:
  // Entries from `first` up to the next run, or to the group's last.
  struct Run {
    uint64_t sequence = 0;
    Index first = 0;
  };
  struct Group {
    std::vector<Run> runs;  // ascending in both
    Index start = 0;        // as far as it matters for the runs
    Index last = 0;
  };

  // Drops the runs whose entries are all at or before the start.
  static void Trim(Group& group);
  void Pin(GroupId group, std::optional<uint64_t> before, std::optional<uint64_t> after);
  static std::optional<uint64_t> PinOf(const Group& group) {
    return group.runs.empty() ? std::nullopt : std::optional(group.runs.front().sequence);
  }

  absl::flat_hash_map<GroupId, Group> groups_;    // those with runs
  std::map<uint64_t, std::set<GroupId>> pinned_;  // by segment; no empty sets
};

}  // namespace keelson::raft::wal

#endif  // KEELSON_RAFT_INTERNAL_SEGMENT_PINS_H_
