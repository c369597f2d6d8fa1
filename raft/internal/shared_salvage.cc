#include "raft/internal/shared_salvage.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/internal/wal_directory.h"
#include "raft/internal/wal_format.h"
#include "raft/internal/wal_replay.h"
#include "raft/internal/wal_segment.h"
#include "raft/internal/wal_writer.h"

namespace keelson::raft::wal {
namespace {

// What is known of the groups so far. Knows no file.
class Rest {
 public:
  // All groups that there are follow, each with its head.
  void OnSegment() { forgotten_ = false; }
  // Only UNIMPLEMENTED is an error: a record that cannot be right is a loss.
  absl::Status OnRecord(const Record& record);
  // The payload of the record with this header is damaged.
  void OnDamaged(const RecordHeader& header);
  // Something is lost here, and nobody knows what.
  void OnGap();
  // The answer, but for the damage.
  SharedSalvage Take() &&;

 private:
  struct Group {
    LogReplay replay{1};
    bool lost = false;
    Index highest_entry = 0;
  };

  void OnGroupHead(GroupId id, const GroupHead& head);
  void OnRemoved(const GroupRanges& ranges);
  void Lose(GroupId id) {
    if (id != 0 && !removed_.Contains(id)) groups_[id].lost = true;
  }

  std::map<GroupId, Group> groups_;
  GroupIds removed_;
  bool forgotten_ = false;
};

absl::Status Rest::OnRecord(const Record& record) {
  const GroupId id = record.header.group;
  const auto type = static_cast<RecordType>(record.header.type);
  if (type == RecordType::kGroupsRemoved) {
    const absl::StatusOr<GroupRanges> ranges = DecodeGroupRanges(record.payload);
    if (ranges.ok()) OnRemoved(*ranges);
    return absl::OkStatus();
  }
  if (id == 0 || removed_.Contains(id)) return absl::OkStatus();
  if (type == RecordType::kGroupHead) {
    const absl::StatusOr<GroupHead> head = DecodeGroupHead(record.payload);
    head.ok() ? OnGroupHead(id, *head) : Lose(id);
    return absl::OkStatus();
  }
  const auto found = groups_.find(id);
  if (found == groups_.end()) {  // Its beginning is lost.
    Lose(id);
    return absl::OkStatus();
  }
  Group& group = found->second;
  if (type == RecordType::kEntry) {
    if (const auto entry = DecodeEntry(record.payload); entry.ok()) {
      group.highest_entry = std::max(group.highest_entry, entry->index);
    }
  }
  if (group.lost) return absl::OkStatus();
  const absl::Status applied = group.replay.Apply(record);
  if (applied.code() == absl::StatusCode::kUnimplemented) return applied;
  group.lost = !applied.ok();
  return absl::OkStatus();
}

void Rest::OnGroupHead(GroupId id, const GroupHead& head) {
  const auto [found, is_new] = groups_.try_emplace(id);
  Group& group = found->second;
  group.highest_entry = std::max(group.highest_entry, head.next_index - 1);
  if (!is_new && !group.lost) {
    group.lost = !group.replay.Begin(head).ok();
    return;
  }
  // Entries that it does not repeat are lost with what came before. They may still be replaced.
  if (!is_new && head.start.index + 1 != head.next_index) return;
  LogReplay replay(head.next_index);
  group.lost = !replay.Begin(head).ok();
  if (!group.lost) group.replay = std::move(replay);
}

void Rest::OnRemoved(const GroupRanges& ranges) {
  for (const auto& [first, last] : ranges) {
    removed_.Add(first, last);
    groups_.erase(groups_.lower_bound(first), groups_.upper_bound(last));
  }
}

void Rest::OnDamaged(const RecordHeader& header) {
  if (static_cast<RecordType>(header.type) == RecordType::kGroupsRemoved) {
    forgotten_ = true;  // They come back, as they were when they were removed.
  } else {
    Lose(header.group);
  }
}

void Rest::OnGap() {
  for (auto& [id, group] : groups_) group.lost = true;
  forgotten_ = true;
}

SharedSalvage Rest::Take() && {
  SharedSalvage salvage;
  for (auto& [id, group] : groups_) {
    SharedSalvage::Group& one = salvage.groups[id];
    LogReplay& replay = group.replay;
    one.lost = group.lost || !replay.Check().ok();
    one.highest_entry = std::max(group.highest_entry, replay.last_index());
    if (!replay.started() || replay.has_gap()) continue;
    one.rest.emplace();
    one.rest->hard_state = replay.hard_state();
    one.rest->start = replay.start();
    one.rest->entries = std::move(replay).TakeEntries();
  }
  salvage.removed = removed_;
  salvage.forgotten = forgotten_;
  return salvage;
}

// Walks the files.
class Salvager {
 public:
  Salvager(FileSystem& fs, const std::string& dir, const std::optional<Identity>& expected)
      : fs_(fs), dir_(dir), expected_(expected) {}

  absl::StatusOr<SharedSalvage> Run();

 private:
  absl::Status ReadOne(uint64_t sequence, bool is_last);
  // What follows the head of the segment, or its damaged head.
  absl::Status Walk(SegmentReader& reader, bool is_last);
  void Gap() {
    rest_.OnGap();
    chain_.reset();
  }

  FileSystem& fs_;
  const std::string& dir_;
  const std::optional<Identity>& expected_;
  Rest rest_;
  uint64_t incarnation_ = 0;       // of the log; 0: unknown
  std::optional<uint32_t> chain_;  // of the last record, when nothing is lost since
};

absl::StatusOr<SharedSalvage> Salvager::Run() {
  KEELSON_ASSIGN_OR_RETURN(std::vector<uint64_t> sequences, ListSegments(fs_, dir_));
  KEELSON_ASSIGN_OR_RETURN(const size_t first, FirstOfLog(fs_, dir_, sequences));
  sequences.erase(sequences.begin(), sequences.begin() + static_cast<ptrdiff_t>(first));
  // Records can be read behind a damaged head when another one tells which log it is.
  for (const uint64_t sequence : sequences) {
    const absl::StatusOr<SegmentPlace> place = ReadSegmentPlace(fs_, dir_, sequence);
    if (!place.ok()) continue;  // Reading it says what is wrong.
    incarnation_ = place->head.incarnation;
    break;
  }
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (i > 0 && sequences[i] != sequences[i - 1] + 1) Gap();
    KEELSON_RETURN_IF_ERROR(ReadOne(sequences[i], i + 1 == sequences.size()));
  }
  return std::move(rest_).Take();
}

absl::Status Salvager::ReadOne(uint64_t sequence, bool is_last) {
  const std::string path = JoinPath(dir_, SegmentName(sequence));
  const absl::StatusOr<std::string> bytes = ReadSegment(fs_, path);
  if (absl::IsDataLoss(bytes.status())) {
    Gap();
    return absl::OkStatus();
  }
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<SegmentReader> reader = SegmentReader::Open(path, *bytes);
  if (!reader.ok() && !absl::IsDataLoss(reader.status())) return reader.status();
  if (!reader.ok() || reader->head().sequence != sequence) {
    Gap();
    SegmentReader behind = SegmentReader::WithoutHead(
        *bytes, {.incarnation = incarnation_, .sequence = sequence, .next_index = kManyGroups});
    return behind.Resync() ? Walk(behind, is_last) : absl::OkStatus();
  }
  const SegmentHead& head = reader->head();
  KEELSON_RETURN_IF_ERROR(CheckOwner(path, head, expected_));
  if (head.next_index != kManyGroups) {
    return absl::FailedPreconditionError(
        absl::StrCat("'", path, "': the log of one group, not one that many share"));
  }
  const bool follows =
      head.incarnation == incarnation_ && reader->head_record().header.previous_crc == chain_;
  if (chain_.has_value() && !follows) Gap();  // The end of the segment before is gone.
  incarnation_ = head.incarnation;
  rest_.OnSegment();
  return Walk(*reader, is_last);
}

absl::Status Salvager::Walk(SegmentReader& reader, bool is_last) {
  while (true) {
    while (const std::optional<Record> record = reader.Next()) {
      KEELSON_RETURN_IF_ERROR(rest_.OnRecord(*record));
    }
    chain_ = reader.chain();
    if (reader.CleanEnd()) return absl::OkStatus();
    // What a write cut short left was never acknowledged, nor what lies behind it.
    if (is_last && !reader.ProofOfSync().has_value() && reader.MayBeTorn()) {
      return absl::OkStatus();
    }
    if (const std::optional<RecordHeader> header = reader.HeaderAlone(); header.has_value()) {
      rest_.OnDamaged(*header);
      reader.SkipPayload();
      continue;
    }
    Gap();
    if (!reader.Resync()) return absl::OkStatus();
  }
}

// A log that starts over: see WholeLog in wal_repair.cc.
class WholeSharedLog final : public HeadSource {
 public:
  WholeSharedLog(const std::map<GroupId, Restart>& groups, const GroupIds& removed)
      : groups_(groups), removed_(EncodeGroupRanges(removed.ranges())), any_(!removed.empty()) {}

  [[nodiscard]] Index NextIndex() const override { return kManyGroups; }
  [[nodiscard]] uint64_t HeadBytes() const override {
    uint64_t bytes = any_ ? RecordBytes(removed_.size()) : 0;
    for (const auto& [id, group] : groups_) {
      bytes += RecordBytes(Head(group).size());
      for (const Entry& entry : group.entries) {
        bytes += RecordBytes(kEntryMetaBytes + entry.data.size());
      }
    }
    return bytes;
  }
  void EncodeHead(BatchEncoder& encoder) const override {
    if (any_) encoder.AddEncoded(RecordType::kGroupsRemoved, removed_);
    for (const auto& [id, group] : groups_) {
      encoder.SetGroup(id);
      encoder.AddEncoded(RecordType::kGroupHead, Head(group));
      for (const Entry& entry : group.entries) encoder.AddEntry(entry);
    }
  }

 private:
  static std::string Head(const Restart& group) {
    return EncodeGroupHead({.next_index = group.start.index + 1,
                            .hard_state = group.hard_state,
                            .start = group.start});
  }

  const std::map<GroupId, Restart>& groups_;
  const std::string removed_;
  const bool any_;  // group was ever removed
};

}  // namespace

absl::StatusOr<SharedSalvage> SalvageShared(FileSystem& fs, const std::string& dir,
                                            const std::optional<Identity>& expected) {
  return Salvager(fs, dir, expected).Run();
}

absl::Status StartOverShared(FileSystem& fs, const std::string& dir, const Identity& identity,
                             const std::map<GroupId, Restart>& groups, const GroupIds& removed,
                             const Wal::Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<uint64_t> old, ListSegments(fs, dir));
  return SegmentWriter::Create(fs, dir, identity, options, WholeSharedLog(groups, removed),
                               old.back() + 1);
}

}  // namespace keelson::raft::wal
