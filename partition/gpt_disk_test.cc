#include "partition/gpt_disk.h"

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/testing/status_matchers.h"
#include "partition/internal/gpt_codec.h"
#include "partition/partition_types.h"
#include "partition/testing/fake_disk.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

constexpr Geometry kSmall = {.sector_bytes = 512, .sectors = 256};
constexpr Geometry kLarge = {.sector_bytes = 4096, .sectors = 64};

Guid Numbered(uint8_t n) {
  Guid guid;
  guid.bytes[0] = n;
  return guid;
}

GptTable TwoPartitions(const Geometry& geometry) {
  absl::StatusOr<GptTable> table = EmptyTable(geometry, Numbered(99));
  KEELSON_REQUIRE_OK(table);
  table->entries[0] = {
      .type = CoreOsUsrType(), .unique = Numbered(1), .first_lba = 40, .last_lba = 49};
  table->entries[4] = {
      .type = CoreOsUsrType(), .unique = Numbered(2), .first_lba = 50, .last_lba = 57};
  KEELSON_REQUIRE_OK(SetName(table->entries[4], "USR-B"));
  return *table;
}

FakeDisk MakeDisk(const Geometry& geometry) {
  FakeDisk disk(geometry);
  for (size_t i = 0; i < 446; ++i) disk.image()[i] = static_cast<char>(i * 7);  // boot code
  const auto writes =
      PlanCreate(geometry, disk.image().substr(0, geometry.sector_bytes), TwoPartitions(geometry));
  KEELSON_REQUIRE_OK(writes);
  KEELSON_REQUIRE_OK(Apply(disk, *writes));
  disk.ForgetHistory();
  return disk;
}

GptReading Read(const FakeDisk& disk) {
  absl::StatusOr<GptReading> reading = ReadGpt(disk);
  KEELSON_REQUIRE_OK(reading);
  return *std::move(reading);
}

absl::Status Repair(FakeDisk& disk) {
  KEELSON_ASSIGN_OR_RETURN(const GptReading reading, ReadGpt(disk));
  KEELSON_ASSIGN_OR_RETURN(const auto writes, PlanRepair(reading));
  return Apply(disk, writes);
}

std::string Faults(const GptReading& reading) {
  std::string out;
  for (const GptFault& fault : reading.faults) absl::StrAppend(&out, fault.message, "\n");
  return out;
}

// The header of `copy` as written, with `change` made and its CRC put right again.
void ChangeHeader(FakeDisk& disk, uint64_t lba, size_t at, uint64_t value, int bytes) {
  const size_t start = lba * disk.geometry().sector_bytes;
  std::string& image = disk.image();
  for (int i = 0; i < bytes; ++i) image[start + at + i] = static_cast<char>(value >> (8 * i));
  for (int i = 0; i < 4; ++i) image[start + 16 + i] = 0;
  const uint32_t crc = Crc32(std::string_view(image).substr(start, 92));
  for (int i = 0; i < 4; ++i) image[start + 16 + i] = static_cast<char>(crc >> (8 * i));
}

TEST_CASE("The CRC-32 is zlib's", "[partition][gpt]") {
  CHECK(Crc32("123456789") == 0xcbf43926);
  CHECK(Crc32("") == 0);
}

TEST_CASE("A table that was created reads back, and is sound", "[partition][gpt]") {
  const Geometry geometry = GENERATE(kSmall, kLarge);
  const FakeDisk disk = MakeDisk(geometry);

  const GptReading reading = Read(disk);

  CHECK(reading.table == TwoPartitions(geometry));
  CHECK(Faults(reading).empty());
  CHECK(reading.copies_equal);
  CHECK(reading.at_end);
  for (size_t i = 0; i < 446; ++i) REQUIRE(disk.image()[i] == static_cast<char>(i * 7));
}

TEST_CASE("A disk without a table is told from a damaged one", "[partition][gpt]") {
  FakeDisk disk(kSmall);
  KEELSON_CHECK_ERROR(ReadGpt(disk), Code::kNotFound,
                      "primary header at byte 512: expected the signature 'EFI PART', found none");

  disk = MakeDisk(kSmall);
  disk.image()[512 + 60] ^= 1;
  disk.image()[255 * 512] ^= 1;
  KEELSON_CHECK_ERROR(ReadGpt(disk), Code::kDataLoss, "CRC-32 of the header");
}

TEST_CASE("Any single damaged byte of a copy is seen and mended by the other", "[partition][gpt]") {
  const FakeDisk whole = MakeDisk(kSmall);
  const GptTable table = Read(whole).table;
  // Headers, entries in use, entries not in use.
  const auto offset = GENERATE(512, 512 + 14, 512 + 50, 512 + 91, 1024, 1024 + 4 * 128 + 60,
                               34 * 512 - 1, 223 * 512, 254 * 512 + 511, 255 * 512 + 24);
  FakeDisk disk = whole;
  disk.image()[offset] ^= 0x20;

  const GptReading reading = Read(disk);
  CHECK(reading.table == table);
  CHECK(reading.primary_valid == (offset > 100 * 512));
  CHECK(reading.backup_valid == (offset < 100 * 512));
  REQUIRE(reading.faults.size() == 1);
  CHECK(reading.faults[0].mendable);

  KEELSON_REQUIRE_OK(Repair(disk));
  CHECK(disk.image() == whole.image());
}

TEST_CASE("A copy that cannot be read is a damaged one", "[partition][gpt]") {
  FakeDisk disk = MakeDisk(kSmall);
  disk.BreakSector(10);

  const GptReading reading = Read(disk);
  CHECK(reading.source == GptReading::Source::kBackup);
  CHECK(Faults(reading).find("I/O error") != std::string::npos);
}

TEST_CASE("A header's lies are refused although its CRC is right", "[partition][gpt]") {
  struct Row {
    std::string name;
    size_t at;
    int bytes;
    uint64_t value;
    std::string message;
  };
  const auto row = GENERATE(values<Row>({
      {"revision", 8, 4, 0x00020000, "revision: expected 0x10000, found 0x20000"},
      {"place", 24, 8, 2, "its own LBA: expected 1, found 2"},
      {"backup inside", 32, 8, 100, "LBA of the backup header: expected above 222, found 100"},
      {"usable area upside down", 40, 8, 300, "last usable LBA: expected at least 300, found 222"},
      {"usable area over the array", 40, 8, 33, "first usable LBA: expected at least 34, found 33"},
      {"array over itself", 72, 8, 1,
       "LBA of the entry array: expected room for 32 sectors in [2, 34), found 1"},
      {"array in the data", 72, 8, 3,
       "LBA of the entry array: expected room for 32 sectors in [2, 34), found 3"},
      {"array beyond all", 72, 8, UINT64_MAX - 3, "LBA of the entry array"},
      {"no entries", 80, 4, 0, "number of entries: expected 1 to 8192, found 0"},
      {"too many entries", 80, 4, 8193, "number of entries: expected 1 to 8192, found 8193"},
      {"all entries", 80, 4, 0xffffffff, "number of entries"},
      {"small entries", 84, 4, 64, "size of an entry: expected 128 * 2^n, found 64"},
      {"odd entries", 84, 4, 384, "size of an entry: expected 128 * 2^n, found 384"},
      {"huge entries", 84, 4, 0x80000000, "number of entries"},
  }));
  DYNAMIC_SECTION(row.name) {
    FakeDisk disk = MakeDisk(kSmall);
    ChangeHeader(disk, 1, row.at, row.value, row.bytes);

    const GptReading reading = Read(disk);

    CHECK(reading.source == GptReading::Source::kBackup);
    CHECK(reading.faults[0].message.find("primary header at byte 512: " + row.message) == 0);
  }
}

TEST_CASE("The size of a header is checked before it is used", "[partition][gpt]") {
  FakeDisk disk = MakeDisk(kSmall);
  const auto size = GENERATE(0, 91, 513, 0x7fffffff);
  for (int i = 0; i < 4; ++i) disk.image()[512 + 12 + i] = static_cast<char>(size >> (8 * i));

  CHECK(Faults(Read(disk)).find("size of the header: expected 92 to 512 bytes") !=
        std::string::npos);
}

TEST_CASE("Two valid copies that differ: the primary wins", "[partition][gpt]") {
  FakeDisk disk = MakeDisk(kSmall);
  GptTable other = TwoPartitions(kSmall);
  other.entries[4].attributes = 7;
  disk.image().replace(223 * 512, 32 * 512, EncodeArray(other, 512));
  disk.image().replace(255 * 512, 512, EncodeHeader(other, GptCopy::kBackup, kSmall));

  const GptReading reading = Read(disk);
  CHECK(reading.table == TwoPartitions(kSmall));
  CHECK(Faults(reading) ==
        "backup header at byte 130560: expected the same table as the primary, found another entry "
        "of partition 5\n");

  KEELSON_REQUIRE_OK(Repair(disk));
  CHECK(Read(disk).sound());
  CHECK(Read(disk).table == TwoPartitions(kSmall));
}

TEST_CASE("On a disk that grew, repair moves the backup to its end", "[partition][gpt]") {
  // By less than the backup needs, by as much, by more.
  const uint64_t sectors = GENERATE(257, 270, 289, 1000);
  FakeDisk disk = MakeDisk(kSmall);
  disk.Resize(sectors);
  SECTION("both copies are sound") {}
  SECTION("the primary is damaged, and the protective MBR says where the backup is") {
    disk.image()[600] ^= 1;
    CHECK(Read(disk).source == GptReading::Source::kBackup);
  }

  const GptReading reading = Read(disk);
  CHECK_FALSE(reading.at_end);
  CHECK(Faults(reading).find("backup header at byte 130560: expected it at byte") !=
        std::string::npos);

  KEELSON_REQUIRE_OK(Repair(disk));
  const GptReading after = Read(disk);
  CHECK(Faults(after).empty());
  CHECK(after.table.last_usable_lba == sectors - 34);
  CHECK(after.table.entries == reading.table.entries);
}

TEST_CASE("On a disk that shrank, repair needs the partitions to fit", "[partition][gpt]") {
  FakeDisk disk = MakeDisk(kSmall);
  SECTION("they do") {
    disk.Resize(91);
    KEELSON_REQUIRE_OK(Repair(disk));
    CHECK(Read(disk).sound());
  }
  SECTION("they do not") {
    disk.Resize(90);
    const std::string before = disk.image();
    KEELSON_CHECK_ERROR(Repair(disk), Code::kDataLoss, "partition 5 ends at sector 57");
    CHECK(disk.image() == before);
  }
}

TEST_CASE("The protective MBR is kept or mended, never guessed", "[partition][gpt]") {
  FakeDisk disk = MakeDisk(kSmall);
  std::string& image = disk.image();
  const std::string mbr = image.substr(0, 512);

  SECTION("a hybrid one is sound and stays byte for byte") {
    image[446 + 16 + 4] = 0x0c;
    image[446 + 12] = 33;
    const std::string hybrid = image.substr(0, 512);
    CHECK(Read(disk).sound());
    disk.image()[600] ^= 1;
    KEELSON_REQUIRE_OK(Repair(disk));
    CHECK(disk.image().substr(0, 512) == hybrid);
  }
  SECTION("a record for any size is sound") {
    for (int i = 0; i < 4; ++i) image[446 + 12 + i] = '\xff';
    CHECK(Read(disk).sound());
  }
  SECTION("a record of another size is mended") {
    image[446 + 12] = 1;
    CHECK(Faults(Read(disk)) ==
          "protective MBR at byte 446: expected a record of 255 sectors, found 1\n");
    KEELSON_REQUIRE_OK(Repair(disk));
    CHECK(image.substr(0, 512) == mbr);
  }
  SECTION("one that is not there is made") {
    image.replace(446, 66, 66, '\0');
    CHECK(Read(disk).faults.size() == 1);
    KEELSON_REQUIRE_OK(Repair(disk));
    CHECK(image.substr(0, 512) == mbr);
  }
  SECTION("one of another kind forbids every write") {
    image[446 + 4] = static_cast<char>(0x83);
    const std::string before = image;
    KEELSON_CHECK_ERROR(Repair(disk), Code::kDataLoss, "found only records of other types");
    CHECK(image == before);
  }
}

TEST_CASE("A damaged table never leads to a write", "[partition][gpt]") {
  FakeDisk disk = MakeDisk(kSmall);
  GptTable table = TwoPartitions(kSmall);
  table.entries[4].first_lba = 45;
  for (const GptCopy copy : {GptCopy::kPrimary, GptCopy::kBackup}) {
    const uint64_t array = copy == GptCopy::kPrimary ? 2 : 223;
    const uint64_t header = copy == GptCopy::kPrimary ? 1 : 255;
    disk.image().replace(array * 512, 32 * 512, EncodeArray(table, 512));
    disk.image().replace(header * 512, 512, EncodeHeader(table, copy, kSmall));
  }

  const GptReading reading = Read(disk);
  KEELSON_CHECK_ERROR(PlanRepair(reading), Code::kDataLoss, "partition 5, entry at byte 1536");
  KEELSON_CHECK_ERROR(PlanCommit(reading, TwoPartitions(kSmall)), Code::kDataLoss, "partition 5");
}

TEST_CASE("A new table is checked before it is written", "[partition][gpt]") {
  const FakeDisk disk = MakeDisk(kSmall);
  const GptReading reading = Read(disk);
  GptTable next = reading.table;

  SECTION("its partitions") {
    next.entries[0].last_lba = 52;
    KEELSON_CHECK_ERROR(PlanCommit(reading, next), Code::kInvalidArgument, "partition 5");
    KEELSON_CHECK_ERROR(PlanCreate(kSmall, reading.mbr, next), Code::kInvalidArgument,
                        "partition 5");
  }
  SECTION("its place") {
    KEELSON_ASSIGN_OR_FAIL(next, Relocated(next, {512, 1000}));
    KEELSON_CHECK_ERROR(PlanCommit(reading, next), Code::kInvalidArgument,
                        "expected its backup header at sector 255, found it at 999");
  }
  SECTION("its own header") {
    next.primary_array_lba = 3;
    KEELSON_CHECK_ERROR(PlanCommit(reading, next), Code::kInvalidArgument, "cannot be written");
  }
}

TEST_CASE("A commit that changes nothing writes nothing", "[partition][gpt]") {
  const GptReading reading = Read(MakeDisk(kSmall));
  KEELSON_ASSIGN_OR_FAIL(const auto writes, PlanCommit(reading, reading.table));
  CHECK(writes.empty());
}

TEST_CASE("Entries larger than 128 bytes keep what is behind them", "[partition][gpt]") {
  GptTable table = TwoPartitions(kSmall);
  table.entry_bytes = 256;
  table.entries.resize(64);
  for (GptEntry& entry : table.entries) entry.tail = std::string(128, 'k');
  table.header_tail = "more of a header";
  FakeDisk disk(kSmall);
  KEELSON_ASSIGN_OR_FAIL(const auto writes, PlanCreate(kSmall, std::string(512, '\0'), table));
  KEELSON_REQUIRE_OK(Apply(disk, writes));

  const GptReading reading = Read(disk);
  CHECK(reading.sound());
  CHECK(reading.table == table);
}

TEST_CASE("An error of the disk stops a commit", "[partition][gpt]") {
  FakeDisk disk = MakeDisk(kSmall);
  const GptReading reading = Read(disk);
  GptTable next = reading.table;
  next.entries[0].attributes = 1;
  KEELSON_ASSIGN_OR_FAIL(const auto writes, PlanCommit(reading, next));
  disk.FailAfter(3);

  KEELSON_CHECK_ERROR(Apply(disk, writes), Code::kUnknown, "backup header: write 'fake'");
  CHECK(disk.history().size() == 3);
}

// Reads the disk after every power cut; the partitions must be the old ones or the new ones, and a
// repair must end with a sound disk that says the same.
uint64_t CheckEveryPowerCut(const FakeDisk& start, const FakeDisk& written, const GptTable& before,
                            const GptTable& after) {
  return ForEachPowerCut(start.image(), written, [&](FakeDisk& disk, const std::string& when) {
    const absl::StatusOr<GptReading> reading = ReadGpt(disk);
    if (!reading.ok()) FAIL(when << ": " << reading.status());
    const bool is_old = reading->table.entries == before.entries;
    const bool is_new = reading->table.entries == after.entries;
    if (!is_old && !is_new) FAIL(when << ": neither old nor new");
    FakeDisk repaired = disk;
    const absl::Status status = Repair(repaired);
    if (!status.ok()) FAIL(when << ": " << status);
    const GptReading again = Read(repaired);
    if (!again.sound() || again.table.entries != reading->table.entries) {
      FAIL(when << ": repair changed the table\n" << Faults(again));
    }
  });
}

TEST_CASE("A power cut at any sector leaves the old table or the new one", "[partition][crash]") {
  const Geometry geometry = GENERATE(kSmall, kLarge);
  FakeDisk start = MakeDisk(geometry);
  SECTION("on a whole disk") {}
  SECTION("on a disk that grew by a little") { start.Resize(geometry.sectors + 5); }
  SECTION("on a disk that grew by a lot") { start.Resize(geometry.sectors + 200); }
  SECTION("on a disk that grew and lost its primary") {
    start.Resize(geometry.sectors + 5);
    start.image()[geometry.sector_bytes + 60] ^= 1;
  }
  SECTION("on a disk that lost its primary") { start.image()[geometry.sector_bytes] = 0; }
  SECTION("on a disk that lost its backup") { start.image().back() = 1; }
  SECTION("on a disk that lost the header of its backup") {
    start.image()[(geometry.sectors - 1) * geometry.sector_bytes] = 0;
  }
  const GptReading reading = Read(start);
  KEELSON_ASSIGN_OR_FAIL(GptTable next, Relocated(reading.table, reading.geometry));
  next.entries[0].attributes = 0x11;
  next.entries[100] = {.type = Numbered(5), .unique = Numbered(6), .first_lba = 36, .last_lba = 37};
  KEELSON_ASSIGN_OR_FAIL(const auto writes, PlanCommit(reading, next));
  FakeDisk written = start;
  KEELSON_REQUIRE_OK(Apply(written, writes));
  CHECK(Read(written).sound());

  CHECK(CheckEveryPowerCut(start, written, reading.table, next) > 40);
}

TEST_CASE("A new layout over an old one is old or new at every power cut", "[partition][crash]") {
  const FakeDisk start = MakeDisk(kSmall);
  GptTable next = TwoPartitions(kSmall);
  next.disk_guid = Numbered(77);
  next.entries[3] = {.type = Numbered(5), .unique = Numbered(6), .first_lba = 100, .last_lba = 110};
  KEELSON_ASSIGN_OR_FAIL(const auto writes, PlanCreate(kSmall, start.image().substr(0, 512), next));
  FakeDisk written = start;
  KEELSON_REQUIRE_OK(Apply(written, writes));

  CHECK(CheckEveryPowerCut(start, written, TwoPartitions(kSmall), next) > 250);
}

TEST_CASE("Random damage is repaired to the same table or refused", "[partition][gpt]") {
  const FakeDisk whole = MakeDisk(kSmall);
  const GptTable table = Read(whole).table;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    FakeDisk disk = whole;
    for (uint64_t i = random.Below(4) + 1; i > 0; --i) {
      const uint64_t sector = random.Bernoulli(0.5) ? random.Below(34) : 222 + random.Below(34);
      disk.image()[sector * 512 + random.Below(512)] = static_cast<char>(random());
    }
    const std::string before = disk.image();
    const absl::Status status = Repair(disk);
    if (status.ok()) {
      REQUIRE(Read(disk).table == table);
      REQUIRE(Read(disk).sound());
    } else {
      REQUIRE(disk.image() == before);
    }
  }
}

}  // namespace
}  // namespace keelson::partition
