// wal: looks at a write-ahead log without changing it.
//
//   wal inspect DIR   what the log holds, segment by segment
//   wal verify DIR    one line: sound, or the first thing that is wrong; of a damaged log that many
//                     groups share, also what each of them keeps and loses
//   wal dump DIR      every record
//   wal repair --dry-run DIR
//                     what a member that starts on this log would keep of it. The repair itself is
//                     the member's, since only it knows whether its group can do without it.
//
// Reads without the lock: a log in use may show a torn end. Exit codes: base/exit_code.h.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <exception>
#include <string>

#include "absl/strings/str_format.h"
#include "base/exit_code.h"
#include "base/file_system.h"
#include "raft/cmd/wal_shared.h"
#include "raft/internal/wal_directory.h"

namespace keelson::raft::wal {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const SnapshotMetadata& metadata) {
  return {{"index", metadata.index},
          {"term", metadata.term},
          {"voters", metadata.conf_state.voters},
          {"learners", metadata.conf_state.learners},
          {"voters_outgoing", metadata.conf_state.voters_outgoing},
          {"learners_next", metadata.conf_state.learners_next},
          {"auto_leave", metadata.conf_state.auto_leave}};
}

Json ToJson(const HardState& state) {
  return {{"term", state.term},
          {"vote", state.vote},
          {"commit", state.commit},
          {"incarnation", absl::StrFormat("%x", state.incarnation)},
          {"recovering", state.recovering}};
}

std::string Members(const std::vector<NodeId>& ids) {
  std::string out;
  for (const NodeId id : ids) absl::StrAppendFormat(&out, "%s%x", out.empty() ? "" : ",", id);
  return out.empty() ? "-" : out;
}

// The fields of a record's payload; an "error" when it cannot be decoded.
Json Fields(const Record& record) {
  const auto failed = [](const absl::Status& status) {
    return Json{{"error", std::string(status.message())}};
  };
  switch (static_cast<RecordType>(record.header.type)) {
    case RecordType::kSegmentHead: {
      const auto head = DecodeSegmentHead(record.payload);
      if (!head.ok()) return failed(head.status());
      return {{"cluster_id", absl::StrFormat("%x", head->cluster_id)},
              {"node_id", absl::StrFormat("%x", head->node_id)},
              {"incarnation", absl::StrFormat("%016x", head->incarnation)},
              {"sequence", head->sequence},
              {"next_index", head->next_index},
              {"segment_bytes", head->segment_bytes}};
    }
    case RecordType::kEntry: {
      const auto entry = DecodeEntry(record.payload);
      if (!entry.ok()) return failed(entry.status());
      return {{"index", entry->index},
              {"term", entry->term},
              {"entry_type", static_cast<int>(entry->type)},
              {"data_bytes", entry->data.size()}};
    }
    case RecordType::kHardState: {
      const auto state = DecodeHardState(record.payload);
      return state.ok() ? ToJson(*state) : failed(state.status());
    }
    case RecordType::kStart:
    case RecordType::kReset: {
      const auto metadata = DecodeSnapshotMetadata(record.payload);
      return metadata.ok() ? ToJson(*metadata) : failed(metadata.status());
    }
    case RecordType::kGroupHead: {
      const auto head = DecodeGroupHead(record.payload);
      if (!head.ok()) return failed(head.status());
      Json fields = {{"next_index", head->next_index}};
      fields.update(ToJson(head->hard_state));
      fields["start"] = ToJson(head->start);
      return fields;
    }
    case RecordType::kGroupsRemoved: {
      const auto ranges = DecodeGroupRanges(record.payload);
      if (!ranges.ok()) return failed(ranges.status());
      return {{"groups", *ranges}};
    }
  }
  return {{"payload_bytes", record.payload.size()}};
}

void PrintRecord(const std::string& path, const Record& record, bool json) {
  const std::string type(RecordTypeName(record.header.type));
  Json line = {{"file", path},
               {"offset", record.offset},
               {"type", type},
               {"synced", record.header.synced_units * uint64_t{kAlignment}}};
  if (record.header.group != 0) line["group"] = record.header.group;
  const Json fields = Fields(record);
  if (json) {
    line.update(fields);
    std::printf("%s\n", line.dump().c_str());
    return;
  }
  absl::PrintF("%s %8d  %-12s synced=%d", path, record.offset, type,
               record.header.synced_units * uint64_t{kAlignment});
  if (record.header.group != 0) absl::PrintF(" group=%d", record.header.group);
  for (const auto& [name, value] : fields.items()) {
    absl::PrintF(" %s=%s", name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  absl::PrintF("\n");
}

void PrintSummary(const LoadedLog& log, bool json) {
  const SegmentHead& head = log.segments.front().head;
  const SnapshotMetadata& start = log.replay.start();
  const HardState state = log.replay.hard_state();
  const Index last = log.replay.last_index();
  if (json) {
    Json segments = Json::array();
    for (const LoadedSegment& segment : log.segments) {
      segments.push_back({{"sequence", segment.head.sequence},
                          {"next_index", segment.head.next_index},
                          {"records", segment.records},
                          {"used_bytes", segment.end},
                          {"file_bytes", segment.file_bytes}});
    }
    const Json summary = {{"cluster_id", absl::StrFormat("%x", head.cluster_id)},
                          {"node_id", absl::StrFormat("%x", head.node_id)},
                          {"incarnation", absl::StrFormat("%016x", head.incarnation)},
                          {"start", ToJson(start)},
                          {"hard_state", ToJson(state)},
                          {"last_index", last},
                          {"torn_bytes", log.torn_bytes},
                          {"segments", segments}};
    std::printf("%s\n", summary.dump(2).c_str());
    return;
  }
  absl::PrintF("node %x of cluster %x, incarnation %016x\n", head.node_id, head.cluster_id,
               head.incarnation);
  absl::PrintF("start      index %d term %d voters %s learners %s outgoing %s\n", start.index,
               start.term, Members(start.conf_state.voters), Members(start.conf_state.learners),
               Members(start.conf_state.voters_outgoing));
  absl::PrintF("hard state term %d vote %x commit %d incarnation %x%s\n", state.term, state.vote,
               state.commit, state.incarnation, state.recovering ? " recovering" : "");
  absl::PrintF("entries    [%d, %d]\n", start.index + 1, last);
  absl::PrintF("torn tail  %d bytes\n", log.torn_bytes);
  for (const LoadedSegment& segment : log.segments) {
    absl::PrintF("%s  from index %-8d %6d records %10d of %d bytes\n",
                 SegmentName(segment.head.sequence), segment.head.next_index, segment.records,
                 segment.end, segment.file_bytes);
  }
}

void PrintSound(const std::string& dir, const LoadedLog& log, bool json) {
  if (json) {
    const Json answer = {
        {"sound", true}, {"last_index", log.replay.last_index()}, {"torn_bytes", log.torn_bytes}};
    std::printf("%s\n", answer.dump().c_str());
  } else {
    absl::PrintF("'%s' is sound: entries [%d, %d], torn tail of %d bytes\n", dir,
                 log.replay.start().index + 1, log.replay.last_index(), log.torn_bytes);
  }
}

void PrintSalvage(const std::string& dir, const SalvagedLog& salvaged, bool json) {
  const LogReplay& replay = salvaged.log.replay;
  const bool usable = replay.started() && !replay.has_gap();
  const Index kept = usable ? replay.last_index() : 0;
  if (json) {
    Json answer = {{"damaged", !salvaged.damage.ok()},
                   {"damage", std::string(salvaged.damage.message())},
                   {"highest_entry", salvaged.highest_entry},
                   {"kept", nullptr}};
    if (usable) {
      answer["kept"] = {{"start", ToJson(replay.start())},
                        {"last_index", kept},
                        {"hard_state", ToJson(replay.hard_state())}};
    }
    std::printf("%s\n", answer.dump(2).c_str());
    return;
  }
  if (salvaged.damage.ok()) {
    absl::PrintF("'%s' is sound: nothing to repair\n", dir);
    return;
  }
  absl::PrintF("damage     %s\n", salvaged.damage.message());
  if (usable) {
    absl::PrintF("kept       entries [%d, %d] of term %d\n", replay.start().index + 1, kept,
                 replay.hard_state().term);
  } else {
    absl::PrintF("kept       nothing: the start of the log cannot be read\n");
  }
  if (salvaged.highest_entry > kept) {
    absl::PrintF("lost       entries %d to %d at least\n", kept + 1, salvaged.highest_entry);
  }
  absl::PrintF(
      "A member that starts on it keeps that, or what its state machine has applied beyond\n"
      "it, and recovers from the others if they are a majority. This changed nothing.\n");
}

ExitCode Fail(const absl::Status& status) {
  std::fprintf(stderr, "wal: %s\n", std::string(status.message()).c_str());
  return ExitCodeFor(status);
}

ExitCode Main(int argc, char** argv) {
  CLI::App app("Looks at a write-ahead log without changing it.");
  app.require_subcommand(1);
  std::string dir;
  bool json = false;
  CLI::App* inspect = app.add_subcommand("inspect", "What the log holds, segment by segment.");
  CLI::App* verify = app.add_subcommand("verify", "Read and check everything.");
  CLI::App* dump = app.add_subcommand("dump", "Print every record.");
  CLI::App* repair = app.add_subcommand("repair", "What a member would keep of a damaged log.");
  bool dry_run = false;
  repair->add_flag("--dry-run", dry_run, "Say it and change nothing; the only way there is.")
      ->required();
  for (CLI::App* command : {inspect, verify, dump, repair}) {
    command->add_option("DIR", dir, "Folder of the log.")->required();
    command->add_flag("--json", json, "Print JSON; for dump, one object a line.");
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    (void)app.exit(help);  // Prints it.
    return ExitCode::kDone;
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "wal: %s\n", error.what());
    return ExitCode::kBadArguments;
  }

  if (repair->parsed()) {
    const auto salvaged = SalvageLog(RealFileSystem(), dir, std::nullopt);
    if (!salvaged.ok()) return Fail(salvaged.status());
    PrintSalvage(dir, *salvaged, json);
    return salvaged->damage.ok() ? ExitCode::kDone : ExitCodeFor(salvaged->damage);
  }
  RecordVisitor visitor;
  if (dump->parsed()) {
    visitor = [json](const std::string& path, const Record& record) {
      PrintRecord(path, record, json);
    };
  }
  const auto failed = [verify_json = verify->parsed() && json](const absl::Status& status) {
    if (verify_json) {
      const Json answer = {{"sound", false}, {"error", std::string(status.message())}};
      std::printf("%s\n", answer.dump().c_str());
    }
    return Fail(status);
  };
  if (const auto shared = IsSharedLog(RealFileSystem(), dir); shared.ok() && *shared) {
    const absl::Status status = ReportSharedLog(
        RealFileSystem(), dir,
        {.inspect = inspect->parsed(), .verify = verify->parsed(), .json = json}, visitor);
    if (status.ok()) return ExitCode::kDone;
    const bool told = verify->parsed() && absl::IsDataLoss(status) &&
                      ReportSharedDamage(RealFileSystem(), dir, status, json).ok();
    return told ? Fail(status) : failed(status);
  }
  const absl::StatusOr<LoadedLog> log = LoadLog(RealFileSystem(), dir, std::nullopt, visitor);
  if (!log.ok()) return failed(log.status());
  if (inspect->parsed()) PrintSummary(*log, json);
  if (verify->parsed()) PrintSound(dir, *log, json);
  return ExitCode::kDone;
}

}  // namespace
}  // namespace keelson::raft::wal

int main(int argc, char** argv) {
  try {
    return static_cast<int>(keelson::raft::wal::Main(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "wal: %s\n", error.what());
    return 1;
  }
}
