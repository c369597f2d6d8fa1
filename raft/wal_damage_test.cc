// Every way to cut, tear and flip a small log, exhaustively (raft.md section 16, rule 3).
#include <catch2/catch.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/crc32c.h"
#include "base/testing/status_matchers.h"
#include "raft/internal/wal_format.h"
#include "raft/internal/wal_segment.h"
#include "raft/testing/wal_testing.h"

namespace keelson::raft {
namespace {

using absl::StatusCode;
using wal::SegmentReader;

const std::string kFirstSegment = "wal/0000000000000001.wal";

// Opens a log that consists of one segment with these bytes.
absl::StatusOr<Wal::Recovered> OpenBytes(const std::string& bytes) {
  auto fs = MakeDisk();
  KEELSON_REQUIRE_OK(fs->CreateDirectories(kDir));
  KEELSON_REQUIRE_OK(WriteFileAtomically(*fs, kFirstSegment, bytes));
  auto recovered = Reopen(*fs);
  if (!recovered.ok()) {
    KEELSON_ASSIGN_OR_FAIL(const std::string after, ReadFile(*fs, kFirstSegment, 1 << 20));
    CHECK(after == bytes);  // A refused log is left as it was found.
    return recovered;
  }
  // Recovery is idempotent, and leaves nothing torn behind.
  KEELSON_ASSIGN_OR_FAIL(const auto again, Reopen(*fs));
  CHECK(again.torn_bytes == 0);
  CHECK(again.entries == recovered->entries);
  CHECK(again.hard_state == recovered->hard_state);
  return recovered;
}

// A segment with entries 1 to 4, each synced alone, and 5 to 7, which one append wrote and no
// later record vouches for.
struct Fixture {
  Fixture() {
    auto fs = MakeDisk();
    auto wal = NewLog(*fs, SmallSegments(16384));
    for (Index index = 1; index <= 4; ++index) {
      AppendAndSync(*wal, {.entries = MakeEntries(index, index, 1, 40 + 150 * index)});
    }
    AppendAndSync(*wal, {.entries = MakeEntries(5, 7, 1, 700)});
    wal.reset();
    KEELSON_ASSIGN_OR_FAIL(bytes, ReadFile(*fs, kFirstSegment, 1 << 20));

    KEELSON_ASSIGN_OR_FAIL(SegmentReader reader, SegmentReader::Open("f", bytes));
    while (const auto record = reader.Next()) {
      if (record->header.type == static_cast<uint8_t>(wal::RecordType::kEntry)) {
        entry_offsets.push_back(record->offset);
      }
    }
    end = reader.offset();
    REQUIRE(entry_offsets.size() == 7);
  }

  // How many entries lie whole before `offset`.
  [[nodiscard]] size_t EntriesBefore(uint64_t offset) const {
    size_t n = 0;
    while (n < 7 && (n == 6 ? end : entry_offsets[n + 1]) <= offset) ++n;
    return n;
  }

  std::string bytes;
  std::vector<uint64_t> entry_offsets;  // of entries 1 to 7
  uint64_t end = 0;
};

TEST_CASE("A log cut at any byte keeps every record before the cut", "[raft][wal][damage]") {
  const Fixture log;
  for (uint64_t size = 0; size <= log.end; ++size) {
    INFO("cut at " << size);
    const auto recovered = OpenBytes(log.bytes.substr(0, size));
    if (size < log.entry_offsets[0]) {
      // The head, its start or its hard state are gone: nothing can be said about such a log.
      if (recovered.ok()) {
        CHECK(recovered->entries.empty());
      } else {
        KEELSON_CHECK_ERROR(recovered, StatusCode::kDataLoss, "'wal");
      }
      continue;
    }
    KEELSON_REQUIRE_OK(recovered);
    CHECK(recovered->entries.size() == log.EntriesBefore(size));
  }
}

// A torn write: the last append reached the disk in part, sector by sector, in any order.
TEST_CASE("Any set of lost sectors of the last write is a torn tail", "[raft][wal][damage]") {
  const Fixture log;
  constexpr uint64_t kSector = 512;
  const uint64_t first = log.entry_offsets[4];
  std::vector<uint64_t> sectors;
  for (uint64_t s = first / kSector; s * kSector < log.end; ++s) sectors.push_back(s * kSector);
  REQUIRE(sectors.size() <= 8);

  for (uint32_t lost = 1; lost < 1u << sectors.size(); ++lost) {
    INFO("lost sectors, as bits: " << lost);
    std::string bytes = log.bytes;
    uint64_t first_lost = log.end;
    for (size_t i = 0; i < sectors.size(); ++i) {
      if ((lost >> i & 1) == 0) continue;
      const uint64_t from = std::max(sectors[i], first);  // what shares the sector was there before
      const uint64_t to = sectors[i] + kSector;
      std::fill(bytes.begin() + static_cast<ptrdiff_t>(from),
                bytes.begin() + static_cast<ptrdiff_t>(to), '\0');
      first_lost = std::min(first_lost, from);
    }

    const auto recovered = OpenBytes(bytes);

    KEELSON_REQUIRE_OK(recovered);
    // A lost sector can hold nothing but padding of the record before.
    CHECK(recovered->entries.size() >= log.EntriesBefore(first_lost));
    CHECK(recovered->entries.size() <= log.EntriesBefore(first_lost) + 1);
    CHECK(recovered->entries.size() >= 4);
  }
}

TEST_CASE("A flipped bit in a record that was durable names file and offset",
          "[raft][wal][damage]") {
  const Fixture log;
  for (uint64_t offset = 0; offset < log.entry_offsets[4]; ++offset) {
    const int bit = static_cast<int>(offset % 8);
    INFO("byte " << offset << " bit " << bit);
    std::string bytes = log.bytes;
    bytes[offset] = static_cast<char>(bytes[offset] ^ (1 << bit));

    const auto recovered = OpenBytes(bytes);

    if (offset == 13) {  // The version byte of the head.
      CHECK(!recovered.ok());
      continue;
    }
    const auto record =
        std::upper_bound(log.entry_offsets.begin(), log.entry_offsets.end(), offset);
    if (record == log.entry_offsets.begin()) {
      KEELSON_CHECK_ERROR(recovered, StatusCode::kDataLoss, "'" + kFirstSegment + "' at ");
    } else {
      KEELSON_CHECK_ERROR(
          recovered, StatusCode::kDataLoss,
          absl::StrCat("'", kFirstSegment, "' at ", *(record - 1), ": a record is damaged"));
    }
  }
}

// No later record vouches for it, but a write cut short leaves zeros where something is missing.
TEST_CASE("A flipped bit in the last write is no torn write", "[raft][wal][damage]") {
  const Fixture log;
  for (uint64_t offset = log.entry_offsets[4]; offset < log.end; ++offset) {
    INFO("byte " << offset);
    std::string bytes = log.bytes;
    bytes[offset] = static_cast<char>(bytes[offset] ^ (1 << (offset % 8)));

    const auto recovered = OpenBytes(bytes);

    const size_t record = std::min<size_t>(log.EntriesBefore(offset), 6);
    KEELSON_CHECK_ERROR(recovered, StatusCode::kDataLoss,
                        absl::StrCat("'", kFirstSegment, "' at ", log.entry_offsets[record]));
  }
}

TEST_CASE("A sector of the last write that has become zeros cannot be told from a torn write",
          "[raft][wal][damage]") {
  const Fixture log;
  std::string bytes = log.bytes;
  const uint64_t sector = log.entry_offsets[5] / 512 * 512 + 512;
  std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(sector), 512, '\0');
  KEELSON_ASSIGN_OR_FAIL(const auto recovered, OpenBytes(bytes));
  CHECK(recovered.entries.size() == 5);
  CHECK(recovered.torn_bytes > 0);
}

TEST_CASE("A flipped bit anywhere in a segment that another follows is damage",
          "[raft][wal][damage]") {
  auto fs = MakeDisk();
  {
    auto wal = NewLog(*fs, SmallSegments(4096));
    KEELSON_REQUIRE_OK(wal->Append({.entries = MakeEntries(1, 2, 1, 400)}));
    KEELSON_REQUIRE_OK(wal->Append({.entries = MakeEntries(3, 3, 1, 4000)}));
  }
  KEELSON_ASSIGN_OR_FAIL(const std::string original, ReadFile(*fs, kFirstSegment, 1 << 20));
  KEELSON_ASSIGN_OR_FAIL(SegmentReader reader, SegmentReader::Open("f", original));
  while (reader.Next().has_value()) {
  }
  for (uint64_t offset = 0; offset < reader.offset(); offset += 3) {
    INFO("byte " << offset);
    KEELSON_REQUIRE_OK(fs->FlipBit(kFirstSegment, offset, 4));
    CHECK(!Reopen(*fs, SmallSegments(4096)).ok());
    KEELSON_REQUIRE_OK(fs->FlipBit(kFirstSegment, offset, 4));
  }
  KEELSON_REQUIRE_OK(Reopen(*fs, SmallSegments(4096)));
}

TEST_CASE("Leftovers behind the end never come back", "[raft][wal][damage]") {
  // The last append is torn in its first record: its second and third are intact on disk.
  const Fixture log;
  std::string bytes = log.bytes;
  const uint64_t sector = log.entry_offsets[4] / 512 * 512 + 512;
  const uint64_t end = std::min(sector + 512, log.entry_offsets[5]);
  std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(sector), end - sector, '\0');
  auto fs = MakeDisk();
  KEELSON_REQUIRE_OK(fs->CreateDirectories(kDir));
  KEELSON_REQUIRE_OK(WriteFileAtomically(*fs, kFirstSegment, bytes));
  {
    Wal::Recovered recovered;
    KEELSON_ASSIGN_OR_FAIL(auto wal, Wal::Open(*fs, kDir, kIdentity, SmallSegments(), &recovered));
    REQUIRE(recovered.entries.size() == 4);
    // The same entry 5, byte for byte: without the zeroing, 6 and 7 would follow it again.
    AppendAndSync(*wal, {.entries = MakeEntries(5, 5, 1, 700)});
  }
  KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));
  CHECK(recovered.entries.size() == 5);
}

// Appends a record with right checksums behind the last record of a log; the chain is right
// where header.previous_crc is 0.
std::string WithRecord(const Fixture& log, wal::RecordHeader header, const std::string& payload) {
  KEELSON_ASSIGN_OR_FAIL(SegmentReader reader, SegmentReader::Open("f", log.bytes));
  while (reader.Next().has_value()) {
  }
  header.payload_bytes = static_cast<uint32_t>(payload.size());
  header.payload_crc = Crc32c(payload);
  header.previous_crc ^= reader.chain();
  std::string bytes = log.bytes;
  wal::EncodeHeader(header,
                    {.incarnation = reader.head().incarnation,
                     .sequence = reader.head().sequence,
                     .offset = reader.offset()},
                    bytes.data() + reader.offset());
  bytes.replace(reader.offset() + wal::kHeaderBytes, payload.size(), payload);
  return bytes;
}

TEST_CASE("A sound record that contradicts the log is refused with its place",
          "[raft][wal][damage]") {
  const Fixture log;
  const auto entry = [](Index index, Term term, uint64_t type) {
    std::string payload(wal::kEntryMetaBytes, '\0');
    wal::EncodeEntryMeta(
        {.term = term, .index = index, .type = static_cast<EntryType>(type), .data = {}},
        payload.data());
    return payload;
  };
  const auto state = [](Term term, Index commit) {
    std::string payload(wal::kHardStateBytes, '\0');
    wal::EncodeHardState({.term = term, .vote = 1, .commit = commit}, payload.data());
    return payload;
  };
  struct Row {
    std::string name;
    uint8_t type;
    uint64_t group;
    std::string payload;
    StatusCode code;
    std::string text;
  };
  const std::vector<Row> rows = {
      {"reserved type", 9, 0, "x", StatusCode::kUnimplemented, "record of type 9"},
      {"other group", 2, 7, entry(8, 1, 0), StatusCode::kUnimplemented, "record of group 7"},
      {"second head", 1, 0, std::string(56, 'x'), StatusCode::kDataLoss, "in the middle"},
      {"gap", 2, 0, entry(9, 1, 0), StatusCode::kDataLoss, "entry 9 does not follow"},
      {"index 0", 2, 0, entry(0, 1, 0), StatusCode::kDataLoss, "entry 0 does not follow"},
      {"index 2^64-1", 2, 0, entry(~Index{0}, 1, 0), StatusCode::kDataLoss, "does not follow"},
      {"term goes back", 2, 0, entry(8, 0, 0), StatusCode::kDataLoss, "has term 0"},
      {"entry type", 2, 0, entry(8, 1, 3), StatusCode::kDataLoss, "entry type 3"},
      {"entry too short", 2, 0, "x", StatusCode::kDataLoss, "impossible length of 1"},
      {"empty entry", 2, 0, "", StatusCode::kDataLoss, "impossible length of 0"},
      {"hard state too long", 3, 0, state(1, 1) + "x", StatusCode::kDataLoss, "length of 25"},
      {"commit past the end", 3, 0, state(1, 8), StatusCode::kDataLoss, "commits 8"},
      {"start past the end", 4, 0, wal::EncodeSnapshotMetadata(MakeStart(8, 1)),
       StatusCode::kDataLoss, "start 8 lies outside"},
      {"start of another term", 4, 0, wal::EncodeSnapshotMetadata(MakeStart(3, 2)),
       StatusCode::kDataLoss, "start 3 has term 2"},
      {"start with a member missing", 4, 0,
       wal::EncodeSnapshotMetadata(MakeStart(3, 1)).substr(0, 56), StatusCode::kDataLoss,
       "length of 56"},
      {"start with 2^32-1 members", 4, 0,
       wal::EncodeSnapshotMetadata(MakeStart(3, 1)).replace(24, 4, "\xff\xff\xff\xff"),
       StatusCode::kDataLoss, "impossible length"},
      {"start with reserved bits", 4, 0,
       wal::EncodeSnapshotMetadata(MakeStart(3, 1)).replace(17, 1, "\x01"), StatusCode::kDataLoss,
       "reserved bits"},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      const auto recovered =
          OpenBytes(WithRecord(log, {.type = row.type, .group = row.group}, row.payload));
      KEELSON_CHECK_ERROR(recovered, row.code, row.text);
      KEELSON_CHECK_ERROR(recovered, row.code, "'wal");
    }
  }
}

TEST_CASE("A sound record that does not continue the chain is not read", "[raft][wal][damage]") {
  const Fixture log;
  std::string payload(wal::kEntryMetaBytes, '\0');
  wal::EncodeEntryMeta(MakeEntry(8, 1, ""), payload.data());
  KEELSON_ASSIGN_OR_FAIL(const auto with, OpenBytes(WithRecord(log, {.type = 2}, payload)));
  CHECK(with.entries.size() == 8);

  KEELSON_ASSIGN_OR_FAIL(const auto without,
                         OpenBytes(WithRecord(log, {.type = 2, .previous_crc = 1}, payload)));
  CHECK(without.entries.size() == 7);
  CHECK(without.torn_bytes > 0);
}

TEST_CASE("A newer format version is refused as such, a damaged version byte is damage",
          "[raft][wal][version]") {
  Fixture log;
  log.bytes[13] = 2;
  KEELSON_CHECK_ERROR(OpenBytes(log.bytes), StatusCode::kDataLoss, "the segment head is damaged");

  KEELSON_ASSIGN_OR_FAIL(const SegmentReader reader, SegmentReader::Open("f", Fixture().bytes));
  wal::RecordHeader header = reader.head_record().header;
  header.version = 2;
  wal::EncodeHeader(header, {}, log.bytes.data());
  KEELSON_CHECK_ERROR(OpenBytes(log.bytes), StatusCode::kUnimplemented,
                      "'wal/0000000000000001.wal' has log format version 2; this program reads "
                      "version 1");
}

TEST_CASE("A file that is no segment is refused", "[raft][wal][damage]") {
  const std::string bytes = GENERATE(as<std::string>(), "", "x", std::string(100, '\0'),
                                     std::string(8192, '\0'), std::string(8192, 'x'));
  KEELSON_CHECK_ERROR(OpenBytes(bytes), StatusCode::kDataLoss,
                      "'wal/0000000000000001.wal' at 0: the segment head is damaged");
}

// What an application stores must not pass for records of the log around it.
TEST_CASE("A log inside an entry of the same log proves nothing", "[raft][wal][damage]") {
  const Fixture inner;
  auto fs = MakeDisk();
  {
    auto wal = NewLog(*fs, SmallSegments(64 << 10));
    AppendAndSync(*wal, {.entries = MakeEntries(1, 1, 1, 100)});
    KEELSON_REQUIRE_OK(wal->Append({.entries = std::vector<Entry>{MakeEntry(2, 1, inner.bytes)}}));
  }
  KEELSON_ASSIGN_OR_FAIL(std::string bytes, ReadFile(*fs, kFirstSegment, 1 << 20));
  const size_t record = bytes.find("e1t1.") + 160 / 32 * 32;
  for (size_t i = record; i < record + 64; ++i) bytes[i] = '\0';

  const auto recovered = OpenBytes(bytes);

  KEELSON_REQUIRE_OK(recovered);
  CHECK(recovered->entries.size() <= 1);
}

}  // namespace
}  // namespace keelson::raft
