#include "raft/internal/shared_replay.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::raft::wal {
namespace {

absl::Status InGroup(GroupId group, const absl::Status& status) {
  return status.ok() ? status : Annotate(status, absl::StrCat("group ", group));
}

}  // namespace

absl::Status SharedReplay::OnSegment(const SegmentHead& head, bool /*oldest*/) {
  if (head.next_index != kManyGroups) {
    return absl::FailedPreconditionError("the log of one group, not one that many share");
  }
  sequence_ = head.sequence;
  return absl::OkStatus();
}

absl::Status SharedReplay::OnRecord(const Record& record) {
  const GroupId group = record.header.group;
  const auto type = static_cast<RecordType>(record.header.type);
  if (type == RecordType::kGroupsRemoved) return OnRemoved(record);
  if (type == RecordType::kGroupHead) {
    KEELSON_ASSIGN_OR_RETURN(const GroupHead head, DecodeGroupHead(record.payload));
    return OnGroupHead(group, head);
  }
  const auto found = groups_.find(group);
  if (found == groups_.end()) {
    return absl::DataLossError(absl::StrCat("record of group ", group, ", which did not begin"));
  }
  LogReplay& replay = found->second;
  KEELSON_RETURN_IF_ERROR(InGroup(group, replay.Apply(record)));
  switch (type) {
    case RecordType::kEntry:
      pins_.Wrote(group, sequence_, replay.last_index(), replay.last_index());
      break;
    case RecordType::kStart:
      pins_.StartAt(group, replay.start().index);
      break;
    case RecordType::kReset:
      pins_.Clear(group);
      break;
    default:
      break;
  }
  return absl::OkStatus();
}

absl::Status SharedReplay::OnGroupHead(GroupId group, const GroupHead& head) {
  if (group == 0 || removed_.Contains(group)) {
    return absl::DataLossError(absl::StrCat("group ", group, " cannot begin here"));
  }
  const auto [found, is_new] = groups_.try_emplace(group, head.next_index);
  const uint64_t life = found->second.hard_state().incarnation;
  if (!is_new && head.hard_state.incarnation > life) pins_.Clear(group);
  return InGroup(group, found->second.Begin(head));
}

absl::Status SharedReplay::OnRemoved(const Record& record) {
  KEELSON_ASSIGN_OR_RETURN(const GroupRanges ranges, DecodeGroupRanges(record.payload));
  for (const auto& [first, last] : ranges) {
    removed_.Add(first, last);
    auto group = groups_.lower_bound(first);
    while (group != groups_.end() && group->first <= last) {
      pins_.Clear(group->first);
      group = groups_.erase(group);
    }
  }
  return absl::OkStatus();
}

absl::Status SharedReplay::Check() const {
  for (const auto& [group, replay] : groups_) {
    KEELSON_RETURN_IF_ERROR(InGroup(group, replay.Check()));
  }
  return absl::OkStatus();
}

}  // namespace keelson::raft::wal
