#include "raft/cmd/wal_shared.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>
#include <optional>
#include <span>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "raft/internal/shared_replay.h"

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

}  // namespace

absl::StatusOr<bool> IsSharedLog(FileSystem& fs, const std::string& dir) {
  KEELSON_ASSIGN_OR_RETURN(const auto sequences, ListSegments(fs, dir));
  const std::string path = JoinPath(dir, SegmentName(sequences.front()));
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, fs.Open(path, {}));
  std::string head(RecordBytes(kSegmentHeadBytes), '\0');
  KEELSON_ASSIGN_OR_RETURN(const size_t got, file->ReadAt(0, std::span(head)));
  head.resize(got);
  KEELSON_ASSIGN_OR_RETURN(const SegmentReader reader, SegmentReader::Open(path, head));
  return reader.head().next_index == kManyGroups;
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
