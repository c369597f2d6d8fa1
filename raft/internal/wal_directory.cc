#include "raft/internal/wal_directory.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/internal/mutation.h"

namespace keelson::raft::wal {
namespace {

absl::Status At(const absl::Status& status, const std::string& path, uint64_t offset) {
  return Annotate(status, absl::StrCat("'", path, "' at ", offset));
}

// Loads one segment after the other; `log` holds what came before.
class Loader {
 public:
  Loader(FileSystem& fs, const std::optional<Identity>& expected, RecordSink& sink,
         const RecordVisitor& visitor)
      : fs_(fs), expected_(expected), sink_(sink), visitor_(visitor) {}

  absl::Status Load(const std::string& path, uint64_t sequence, bool is_last);
  // What has been loaded, also after an error.
  LoadedSegments& log() { return log_; }

 private:
  absl::Status CheckHead(const std::string& path, const SegmentReader& reader, uint64_t sequence);
  absl::Status CheckEnd(const std::string& path, const SegmentReader& reader);

  FileSystem& fs_;
  const std::optional<Identity>& expected_;
  RecordSink& sink_;
  const RecordVisitor& visitor_;
  LoadedSegments log_;
  std::string last_path_;
};

absl::Status Loader::CheckHead(const std::string& path, const SegmentReader& reader,
                               uint64_t sequence) {
  const SegmentHead& head = reader.head();
  KEELSON_RETURN_IF_ERROR(CheckOwner(path, head, expected_));
  if (head.sequence != sequence) {
    return absl::DataLossError(absl::StrCat("'", path, "' at 0: holds segment ",
                                            SegmentName(head.sequence), " under another name"));
  }
  if (log_.segments.empty()) return At(sink_.OnSegment(head, /*oldest=*/true), path, 0);
  const LoadedSegment& previous = log_.segments.back();
  if (head.incarnation != previous.head.incarnation || head.node_id != previous.head.node_id ||
      head.cluster_id != previous.head.cluster_id) {
    return absl::DataLossError(
        absl::StrCat("'", path, "' at 0: is of another log than '", last_path_, "'"));
  }
  // This segment was made when the one before it was complete and durable.
  if (reader.head_record().header.previous_crc != log_.chain) {
    return absl::DataLossError(absl::StrCat("'", last_path_, "' at ", previous.end,
                                            ": a record is damaged, and segment '", path,
                                            "' follows"));
  }
  return At(sink_.OnSegment(head, /*oldest=*/false), path, 0);
}

absl::Status Loader::CheckEnd(const std::string& path, const SegmentReader& reader) {
  std::optional<uint64_t> proof = reader.ProofOfSync();
  if (Mutated(Mutation::kTornTailIsDamage) && reader.ContentEnd() > reader.offset()) {
    proof = reader.offset();
  }
  if (proof.has_value()) {
    return absl::DataLossError(absl::StrCat(
        "'", path, "' at ", reader.offset(),
        ": a record is damaged that was durable when the one at ", *proof, " was written"));
  }
  if (!reader.MayBeTorn()) {
    return absl::DataLossError(
        absl::StrCat("'", path, "' at ", reader.offset(),
                     ": a record is damaged, and not as a write cut short leaves it"));
  }
  log_.torn_bytes = reader.ContentEnd() - reader.offset();
  return absl::OkStatus();
}

absl::Status Loader::Load(const std::string& path, uint64_t sequence, bool is_last) {
  KEELSON_ASSIGN_OR_RETURN(const std::string bytes, ReadSegment(fs_, path));
  KEELSON_ASSIGN_OR_RETURN(SegmentReader reader, SegmentReader::Open(path, bytes));
  if (visitor_) visitor_(path, reader.head_record());
  KEELSON_RETURN_IF_ERROR(CheckHead(path, reader, sequence));

  uint64_t records = 1;
  uint64_t synced = 0;
  while (const std::optional<Record> record = reader.Next()) {
    if (visitor_) visitor_(path, *record);
    if (absl::Status applied = sink_.OnRecord(*record); !applied.ok()) {
      return At(applied, path, record->offset);
    }
    ++records;
    synced = std::max(synced, record->header.synced_units * uint64_t{kAlignment});
  }
  log_.segments.push_back({.head = reader.head(),
                           .file_bytes = bytes.size(),
                           .end = reader.offset(),
                           .content_end = reader.ContentEnd(),
                           .records = records});
  log_.chain = reader.chain();
  last_path_ = path;
  if (!is_last) return absl::OkStatus();
  log_.unproven = bytes.substr(synced, reader.offset() - synced);
  return CheckEnd(path, reader);
}

// Loads the whole log, or what comes before the damage that the error is about.
absl::Status LoadAll(FileSystem& fs, const std::string& dir, Loader& loader) {
  KEELSON_ASSIGN_OR_RETURN(std::vector<uint64_t> sequences, ListSegments(fs, dir));
  KEELSON_ASSIGN_OR_RETURN(const size_t first, FirstOfLog(fs, dir, sequences));
  const auto begin = sequences.begin() + static_cast<ptrdiff_t>(first);
  loader.log().replaced.assign(sequences.begin(), begin);
  sequences.erase(sequences.begin(), begin);
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (i > 0 && sequences[i] != sequences[i - 1] + 1) {
      return absl::DataLossError(absl::StrCat(
          "'", JoinPath(dir, SegmentName(sequences[i - 1] + 1)), "' is missing between '",
          SegmentName(sequences[i - 1]), "' and '", SegmentName(sequences[i]), "'"));
    }
    KEELSON_RETURN_IF_ERROR(loader.Load(JoinPath(dir, SegmentName(sequences[i])), sequences[i],
                                        i + 1 == sequences.size()));
  }
  return absl::OkStatus();
}

// The highest index of any sound entry of the log `incarnation` in the folder.
absl::StatusOr<Index> HighestEntryIn(FileSystem& fs, const std::string& dir, uint64_t incarnation) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<uint64_t> sequences, ListSegments(fs, dir));
  Index highest = 0;
  for (const uint64_t sequence : sequences) {
    const auto bytes = ReadSegment(fs, JoinPath(dir, SegmentName(sequence)));
    if (!bytes.ok()) continue;  // Only for the report.
    highest = std::max(highest, HighestEntry(*bytes, incarnation, sequence));
  }
  return highest;
}

// The log of one group.
class SingleLog final : public RecordSink {
 public:
  absl::Status OnSegment(const SegmentHead& head, bool oldest) override {
    if (head.next_index == kManyGroups) {
      return absl::FailedPreconditionError("a log that many groups share");
    }
    if (oldest) {
      replay_ = LogReplay(head.next_index);
      return absl::OkStatus();
    }
    if (head.next_index == replay_.last_index() + 1) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("continues at index ", head.next_index,
                                            ", the log ends at ", replay_.last_index()));
  }
  absl::Status OnRecord(const Record& record) override {
    if (record.header.group == 0) return replay_.Apply(record);
    return absl::UnimplementedError(absl::StrCat("record of group ", record.header.group,
                                                 "; this program reads logs of one group"));
  }
  LogReplay TakeReplay() && { return std::move(replay_); }

 private:
  LogReplay replay_{1};
};

}  // namespace

absl::StatusOr<std::string> ReadSegment(FileSystem& fs, const std::string& path) {
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, fs.Open(path, {}));
  KEELSON_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  if (size > kMaxSegmentBytes) {
    return absl::DataLossError(
        absl::StrCat("'", path, "' has ", size, " bytes, more than any segment"));
  }
  std::string bytes(size, '\0');
  KEELSON_ASSIGN_OR_RETURN(const size_t got, file->ReadAt(0, std::span(bytes)));
  bytes.resize(got);
  return bytes;
}

absl::Status CheckOwner(const std::string& path, const SegmentHead& head,
                        const std::optional<Identity>& expected) {
  const Identity found = {.cluster_id = head.cluster_id, .node_id = head.node_id};
  if (!expected.has_value() || found == *expected) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("'", path, "' belongs to node ", absl::Hex(found.node_id), " of cluster ",
                   absl::Hex(found.cluster_id), ", not to node ", absl::Hex(expected->node_id),
                   " of cluster ", absl::Hex(expected->cluster_id)));
}

absl::StatusOr<SegmentPlace> ReadSegmentPlace(FileSystem& fs, const std::string& dir,
                                              uint64_t sequence) {
  const std::string path = JoinPath(dir, SegmentName(sequence));
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, fs.Open(path, {}));
  std::string bytes(RecordBytes(kSegmentHeadBytes), '\0');
  KEELSON_ASSIGN_OR_RETURN(const size_t got, file->ReadAt(0, std::span(bytes)));
  bytes.resize(got);
  KEELSON_ASSIGN_OR_RETURN(const SegmentReader reader, SegmentReader::Open(path, bytes));
  return SegmentPlace{.head = reader.head(),
                      .has_predecessor = reader.head_record().header.previous_crc != 0};
}

absl::StatusOr<size_t> FirstOfLog(FileSystem& fs, const std::string& dir,
                                  const std::vector<uint64_t>& sequences) {
  std::vector<std::pair<size_t, SegmentPlace>> places;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const absl::StatusOr<SegmentPlace> place = ReadSegmentPlace(fs, dir, sequences[i]);
    // Damaged, or of a newer version: loading it says so.
    if (absl::IsDataLoss(place.status()) || absl::IsUnimplemented(place.status())) continue;
    if (!place.ok()) return place.status();
    places.emplace_back(i, *place);
  }
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    if (place->second.has_predecessor) continue;
    // A checksum can be 0 by chance. A log that replaces another has an incarnation of its own.
    const uint64_t incarnation = place->second.head.incarnation;
    const bool fresh = std::none_of(std::next(place), places.rend(), [&](const auto& older) {
      return older.second.head.incarnation == incarnation;
    });
    if (fresh) return place->first;
  }
  return 0;
}

absl::StatusOr<std::vector<uint64_t>> ListSegments(FileSystem& fs, const std::string& dir) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(dir));
  std::vector<uint64_t> sequences;
  for (const std::string& name : names) {
    if (const auto sequence = ParseSegmentName(name)) sequences.push_back(*sequence);
  }
  if (sequences.empty()) {
    return absl::NotFoundError(absl::StrCat("'", dir, "' holds no write-ahead log"));
  }
  std::sort(sequences.begin(), sequences.end());
  return sequences;
}

Wal::Recovered ToRecovered(LoadedLog log) {
  Wal::Recovered recovered;
  recovered.hard_state = log.replay.hard_state();
  recovered.start = log.replay.start();
  recovered.torn_bytes = log.torn_bytes;
  recovered.entries = std::move(log.replay).TakeEntries();
  return recovered;
}

absl::StatusOr<LoadedSegments> LoadSegments(FileSystem& fs, const std::string& dir,
                                            const std::optional<Identity>& expected,
                                            RecordSink& sink, const RecordVisitor& visitor) {
  Loader loader(fs, expected, sink, visitor);
  KEELSON_RETURN_IF_ERROR(LoadAll(fs, dir, loader));
  return std::move(loader.log());
}

absl::StatusOr<LoadedLog> LoadLog(FileSystem& fs, const std::string& dir,
                                  const std::optional<Identity>& expected,
                                  const RecordVisitor& visitor) {
  SingleLog sink;
  KEELSON_ASSIGN_OR_RETURN(LoadedSegments segments, LoadSegments(fs, dir, expected, sink, visitor));
  LoadedLog log{std::move(segments), std::move(sink).TakeReplay()};
  if (absl::Status whole = log.replay.Check(); !whole.ok()) {
    return Annotate(whole, "'" + dir + "'");
  }
  return log;
}

absl::StatusOr<SalvagedLog> SalvageLog(FileSystem& fs, const std::string& dir,
                                       const std::optional<Identity>& expected) {
  SingleLog sink;
  const RecordVisitor no_visitor;
  Loader loader(fs, expected, sink, no_visitor);
  SalvagedLog salvaged;
  salvaged.damage = LoadAll(fs, dir, loader);
  salvaged.log = {std::move(loader.log()), std::move(sink).TakeReplay()};
  const LogReplay& replay = salvaged.log.replay;
  if (salvaged.damage.ok()) salvaged.damage = Annotate(replay.Check(), "'" + dir + "'");
  if (!salvaged.damage.ok() && !absl::IsDataLoss(salvaged.damage)) return salvaged.damage;
  salvaged.highest_entry = replay.last_index();
  if (!salvaged.damage.ok() && !salvaged.log.segments.empty()) {
    const uint64_t incarnation = salvaged.log.segments.back().head.incarnation;
    KEELSON_ASSIGN_OR_RETURN(const Index highest, HighestEntryIn(fs, dir, incarnation));
    salvaged.highest_entry = std::max(salvaged.highest_entry, highest);
  }
  return salvaged;
}

}  // namespace keelson::raft::wal
