// Turns the records of a log that many groups share into what each of them needs to start.
#ifndef KEELSON_RAFT_INTERNAL_SHARED_REPLAY_H_
#define KEELSON_RAFT_INTERNAL_SHARED_REPLAY_H_

#include <cstdint>
#include <map>

#include "absl/status/status.h"
#include "raft/internal/group_ids.h"
#include "raft/internal/segment_pins.h"
#include "raft/internal/wal_directory.h"
#include "raft/internal/wal_replay.h"
#include "raft/types.h"

namespace keelson::raft::wal {

class SharedReplay final : public RecordSink {
 public:
  // FAILED_PRECONDITION for the log of one group.
  absl::Status OnSegment(const SegmentHead& head, bool oldest) override;
  // DATA_LOSS when the record contradicts those before it; UNIMPLEMENTED for a reserved type.
  absl::Status OnRecord(const Record& record) override;
  // After the last record: whether the log of each group is whole.
  [[nodiscard]] absl::Status Check() const;

  std::map<GroupId, LogReplay>& groups() { return groups_; }
  [[nodiscard]] const std::map<GroupId, LogReplay>& groups() const { return groups_; }
  [[nodiscard]] const GroupIds& removed() const { return removed_; }
  [[nodiscard]] const SegmentPins& pins() const { return pins_; }

 private:
  absl::Status OnGroupHead(GroupId group, const GroupHead& head);
  absl::Status OnRemoved(const Record& record);

  uint64_t sequence_ = 0;
  std::map<GroupId, LogReplay> groups_;
  GroupIds removed_;
  SegmentPins pins_;
};

}  // namespace keelson::raft::wal

#endif  // KEELSON_RAFT_INTERNAL_SHARED_REPLAY_H_
