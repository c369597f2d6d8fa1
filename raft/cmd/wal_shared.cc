#include "raft/cmd/wal_shared.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "raft/internal/shared_replay.h"
#include "raft/internal/shared_salvage.h"

namespace keelson::raft::wal {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(GroupId group, const LogReplay& log) {
  const HardState state = log.hard_state();
  return {{"group", group},
          {"start", log.start().index},
          {"start_term", log.start().term},
          {"voters", log.start().conf_state.voters},
          {"learners", log.start().conf_state.learners},
          {"last_index", log.last_index()},
          {"term", state.term},
          {"vote", state.vote},
          {"commit", state.commit}};
}

void PrintJson(const LoadedSegments& log, const SharedReplay& replay) {
  const SegmentHead& head = log.segments.front().head;
  Json segments = Json::array();
  for (const LoadedSegment& segment : log.segments) {
    segments.push_back({{"sequence", segment.head.sequence},
                        {"records", segment.records},
                        {"used_bytes", segment.end},
                        {"file_bytes", segment.file_bytes}});
  }
  Json groups = Json::array();
  for (const auto& [group, one] : replay.groups()) groups.push_back(ToJson(group, one));
  const Json summary = {{"cluster_id", absl::StrFormat("%x", head.cluster_id)},
                        {"node_id", absl::StrFormat("%x", head.node_id)},
                        {"incarnation", absl::StrFormat("%016x", head.incarnation)},
                        {"torn_bytes", log.torn_bytes},
                        {"segments", segments},
                        {"groups", groups},
                        {"removed_groups", replay.removed().ranges()}};
  std::printf("%s\n", summary.dump(2).c_str());
}

void PrintText(const LoadedSegments& log, const SharedReplay& replay) {
  const SegmentHead& head = log.segments.front().head;
  absl::PrintF("node %x of cluster %x, incarnation %016x, %d groups\n", head.node_id,
               head.cluster_id, head.incarnation, replay.groups().size());
  absl::PrintF("torn tail  %d bytes\n", log.torn_bytes);
  for (const LoadedSegment& segment : log.segments) {
    absl::PrintF("%s  %6d records %10d of %d bytes\n", SegmentName(segment.head.sequence),
                 segment.records, segment.end, segment.file_bytes);
  }
  for (const auto& [group, one] : replay.groups()) {
    const HardState state = one.hard_state();
    absl::PrintF("group %-8d entries [%d, %d]  term %d vote %x commit %d\n", group,
                 one.start().index + 1, one.last_index(), state.term, state.vote, state.commit);
  }
  for (const auto& [first, last] : replay.removed().ranges()) {
    absl::PrintF("removed    groups %d to %d\n", first, last);
  }
}

// The last entry that is left of the group; 0 when nothing is.
Index LastKept(const SharedSalvage::Group& group) {
  return group.rest.has_value() ? group.rest->start.index + group.rest->entries.size() : 0;
}

void PrintDamageJson(const absl::Status& damage, const SharedSalvage& salvage) {
  Json groups = Json::array();
  for (const auto& [id, group] : salvage.groups) {
    Json one = {{"group", id},
                {"lost", group.lost},
                {"highest_entry", group.highest_entry},
                {"kept", nullptr}};
    if (group.rest.has_value()) {
      one["kept"] = {{"start", group.rest->start.index},
                     {"last_index", LastKept(group)},
                     {"term", group.rest->hard_state.term},
                     {"vote", group.rest->hard_state.vote},
                     {"commit", group.rest->hard_state.commit}};
    }
    groups.push_back(std::move(one));
  }
  const Json answer = {{"sound", false},
                       {"error", std::string(damage.message())},
                       {"groups", groups},
                       {"removed_groups", salvage.removed.ranges()},
                       {"forgotten", salvage.forgotten}};
  std::printf("%s\n", answer.dump(2).c_str());
}

void PrintDamageText(const absl::Status& damage, const SharedSalvage& salvage) {
  absl::PrintF("damage     %s\n", damage.message());
  for (const auto& [id, group] : salvage.groups) {
    absl::PrintF("group %-8d ", id);
    if (!group.rest.has_value()) {
      absl::PrintF("keeps nothing");
    } else {
      absl::PrintF("keeps entries [%d, %d] of term %d", group.rest->start.index + 1,
                   LastKept(group), group.rest->hard_state.term);
    }
    if (!group.lost) {
      absl::PrintF(", loses nothing\n");
    } else if (group.highest_entry > LastKept(group)) {
      absl::PrintF(", loses entries %d to %d at least\n", LastKept(group) + 1, group.highest_entry);
    } else {
      absl::PrintF(", may have lost what followed\n");
    }
  }
  for (const auto& [first, last] : salvage.removed.ranges()) {
    absl::PrintF("removed    groups %d to %d\n", first, last);
  }
  if (salvage.forgotten) {
    absl::PrintF("forgotten  there may have been more groups, or more that were removed\n");
  }
}

}  // namespace

absl::StatusOr<bool> IsSharedLog(FileSystem& fs, const std::string& dir) {
  KEELSON_ASSIGN_OR_RETURN(const auto sequences, ListSegments(fs, dir));
  absl::Status damage;  // of the oldest segment
  for (const uint64_t sequence : sequences) {
    const absl::StatusOr<SegmentPlace> place = ReadSegmentPlace(fs, dir, sequence);
    if (place.ok()) return place->head.next_index == kManyGroups;
    if (!absl::IsDataLoss(place.status())) return place.status();
    damage.Update(place.status());
  }
  return damage;
}

absl::Status ReportSharedDamage(FileSystem& fs, const std::string& dir, const absl::Status& damage,
                                bool json) {
  KEELSON_ASSIGN_OR_RETURN(const SharedSalvage salvage, SalvageShared(fs, dir, std::nullopt));
  json ? PrintDamageJson(damage, salvage) : PrintDamageText(damage, salvage);
  return absl::OkStatus();
}

absl::Status ReportSharedLog(FileSystem& fs, const std::string& dir, const SharedReport& report,
                             const RecordVisitor& visitor) {
  SharedReplay replay;
  KEELSON_ASSIGN_OR_RETURN(const LoadedSegments log,
                           LoadSegments(fs, dir, std::nullopt, replay, visitor));
  KEELSON_RETURN_IF_ERROR(Annotate(replay.Check(), "'" + dir + "'"));
  if (report.inspect) report.json ? PrintJson(log, replay) : PrintText(log, replay);
  if (report.verify && report.json) {
    const Json answer = {
        {"sound", true}, {"groups", replay.groups().size()}, {"torn_bytes", log.torn_bytes}};
    std::printf("%s\n", answer.dump().c_str());
  } else if (report.verify) {
    absl::PrintF("'%s' is sound: %d groups, torn tail of %d bytes\n", dir, replay.groups().size(),
                 log.torn_bytes);
  }
  return absl::OkStatus();
}

}  // namespace keelson::raft::wal
