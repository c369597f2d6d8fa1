#include "partition/gpt.h"

#include <catch2/catch.hpp>

#include "base/random.h"
#include "base/testing/status_matchers.h"
#include "partition/internal/utf16.h"
#include "partition/partition_types.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

Guid Numbered(uint8_t n) {
  Guid guid;
  guid.bytes[0] = n;
  return guid;
}

GptEntry Entry(uint8_t n, uint64_t first, uint64_t last) {
  return {.type = CoreOsUsrType(), .unique = Numbered(n), .first_lba = first, .last_lba = last};
}

GptTable Table(const Geometry& geometry, const std::vector<GptEntry>& entries) {
  absl::StatusOr<GptTable> table = EmptyTable(geometry, Numbered(99));
  KEELSON_REQUIRE_OK(table);
  for (size_t i = 0; i < entries.size(); ++i) table->entries[i] = entries[i];
  return *table;
}

constexpr Geometry kDisk = {.sector_bytes = 512, .sectors = 2048};

// UEFI 2.10, appendix A and table 5.7: the bytes of the ESP's type on a disk.
TEST_CASE("A GUID's first three groups are little-endian on the disk", "[partition][guid]") {
  KEELSON_ASSIGN_OR_FAIL(const Guid esp, ParseGuid("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"));

  const std::array<uint8_t, 16> bytes = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
                                         0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};
  CHECK(esp.bytes == bytes);
  CHECK(ToString(esp) == "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
}

TEST_CASE("What is no GUID is refused", "[partition][guid]") {
  const auto text =
      GENERATE(as<std::string>(), "", "c12a7328", "c12a7328-f81f-11d2-ba4b-00a0c93ec93",
               "c12a7328-f81f-11d2-ba4b-00a0c93ec93bb", "c12a7328f81f-11d2-ba4b-00a0c93ec93b-",
               "g12a7328-f81f-11d2-ba4b-00a0c93ec93b", "{12a7328-f81f-11d2-ba4b-00a0c93ec93}");
  KEELSON_CHECK_ERROR(ParseGuid(text), Code::kInvalidArgument, "'" + text + "' is no GUID");
}

TEST_CASE("Random GUIDs are version 4, variant 1, and differ", "[partition][guid]") {
  const Guid a = RandomGuid();
  CHECK(ToString(a)[14] == '4');
  CHECK((a.bytes[8] & 0xc0) == 0x80);
  CHECK(a != RandomGuid());
}

TEST_CASE("Partition types go by name and by GUID", "[partition][guid]") {
  for (const PartitionType& type : PartitionTypes()) {
    KEELSON_ASSIGN_OR_FAIL(const Guid by_name, ParsePartitionType(type.name));
    KEELSON_ASSIGN_OR_FAIL(const Guid by_guid, ParsePartitionType(type.guid));
    CHECK(by_name == by_guid);
    CHECK(PartitionTypeName(by_name) == type.name);
  }
  KEELSON_CHECK_ERROR(ParsePartitionType("efi"), Code::kInvalidArgument, "'efi'");
  KEELSON_CHECK_ERROR(ParsePartitionType("00000000-0000-0000-0000-000000000000"),
                      Code::kInvalidArgument, "neither");
}

TEST_CASE("An empty table fills the disk", "[partition][gpt]") {
  const GptTable small = Table(kDisk, {});
  CHECK(small.first_usable_lba == 34);
  CHECK(small.last_usable_lba == 2048 - 34);
  CHECK(small.backup_array_lba == 2048 - 33);
  CHECK(small.backup_header_lba == 2047);

  const GptTable large = Table({.sector_bytes = 4096, .sectors = 2048}, {});
  CHECK(large.first_usable_lba == 6);
  CHECK(large.last_usable_lba == 2048 - 6);
}

TEST_CASE("A disk must hold both copies and one sector", "[partition][gpt]") {
  KEELSON_REQUIRE_OK(EmptyTable({.sector_bytes = 512, .sectors = 68}, {}));
  KEELSON_CHECK_ERROR(EmptyTable({.sector_bytes = 512, .sectors = 67}, {}), Code::kInvalidArgument,
                      "expected at least 34816 bytes, found 34304");
  KEELSON_REQUIRE_OK(EmptyTable({.sector_bytes = 4096, .sectors = 12}, {}));
  KEELSON_CHECK_ERROR(EmptyTable({.sector_bytes = 4096, .sectors = 11}, {}), Code::kInvalidArgument,
                      "too small");
}

TEST_CASE("Every faulty partition is named, with place, expectation and finding",
          "[partition][gpt]") {
  struct Row {
    std::string name;
    std::vector<GptEntry> entries;
    std::vector<std::string> faults;
  };
  const auto row = GENERATE(values<Row>({
      {"sound", {Entry(1, 34, 40), Entry(2, 41, 2014)}, {}},
      {"upside down",
       {Entry(1, 40, 39)},
       {"partition 1, entry at byte 1024: expected a last LBA of at least 40, found 39"}},
      {"too early",
       {Entry(1, 40, 41), Entry(2, 33, 39)},
       {"partition 2, entry at byte 1152: expected sectors in [34, 2014], found [33, 39]"}},
      {"too late",
       {Entry(1, 2000, 2015)},
       {"partition 1, entry at byte 1024: expected sectors in [34, 2014], found [2000, 2015]"}},
      {"beyond any disk",
       {Entry(1, 2000, UINT64_MAX)},
       {"partition 1, entry at byte 1024: expected sectors in [34, 2014], found [2000, "
        "18446744073709551615]"}},
      {"over another",
       {Entry(1, 50, 60), Entry(2, 60, 70)},
       {"partition 2, entry at byte 1152: expected sectors of its own, found [60, 70] over "
        "partition 1 at [50, 60]"}},
      {"within one that others follow",
       {Entry(1, 50, 500), Entry(2, 60, 70), Entry(3, 80, 90)},
       {"partition 2, entry at byte 1152: expected sectors of its own, found [60, 70] over "
        "partition 1 at [50, 500]",
        "partition 3, entry at byte 1280: expected sectors of its own, found [80, 90] over "
        "partition 1 at [50, 500]"}},
      {"same GUID",
       {Entry(1, 50, 60), Entry(1, 61, 70)},
       {"partition 2, entry at byte 1152: expected a GUID of its own, found "
        "00000001-0000-0000-0000-000000000000 of partition 1"}},
  }));
  DYNAMIC_SECTION(row.name) {
    std::vector<std::string> faults;
    for (const GptFault& fault : CheckTable(Table(kDisk, row.entries), kDisk)) {
      CHECK_FALSE(fault.mendable);
      faults.push_back(fault.message);
    }
    CHECK(faults == row.faults);
  }
}

TEST_CASE("Relocation moves the backup and the end of the usable area", "[partition][gpt]") {
  const GptTable table = Table(kDisk, {Entry(1, 50, 60)});

  KEELSON_ASSIGN_OR_FAIL(const GptTable grown, Relocated(table, {512, 4096}));
  CHECK(grown.backup_header_lba == 4095);
  CHECK(grown.last_usable_lba == 4096 - 34);
  CHECK(grown.entries == table.entries);

  KEELSON_ASSIGN_OR_FAIL(const GptTable shrunk, Relocated(table, {512, 94}));
  CHECK(shrunk.last_usable_lba == 60);
  KEELSON_CHECK_ERROR(Relocated(table, {512, 93}), Code::kFailedPrecondition,
                      "partition 1 ends at sector 60");
  KEELSON_CHECK_ERROR(Relocated(table, {512, 40}), Code::kFailedPrecondition, "too small");
}

TEST_CASE("Relocation leaves a table alone whose backup is in place", "[partition][gpt]") {
  GptTable table = Table(kDisk, {});
  table.last_usable_lba = 1900;

  KEELSON_ASSIGN_OR_FAIL(const GptTable same, Relocated(table, kDisk));
  CHECK(same == table);
}

TEST_CASE("A usable area that reaches into the backup is cut, not overwritten",
          "[partition][gpt]") {
  GptTable table = Table(kDisk, {Entry(1, 50, 2020)});
  table.last_usable_lba = 2046;
  KEELSON_CHECK_ERROR(Relocated(table, kDisk), Code::kFailedPrecondition, "partition 1 ends");

  table.entries[0].last_lba = 2000;
  KEELSON_ASSIGN_OR_FAIL(const GptTable cut, Relocated(table, kDisk));
  CHECK(cut.last_usable_lba == 2014);
}

TEST_CASE("A partition grows up to its neighbour or the end", "[partition][gpt]") {
  GptTable table = Table(kDisk, {Entry(1, 50, 60), Entry(2, 100, 110), Entry(3, 40, 49)});

  SECTION("as far as it can") {
    KEELSON_ASSIGN_OR_FAIL(const uint64_t first, GrowPartition(table, 1, std::nullopt));
    CHECK(first == 48);
    CHECK(table.entries[0].last_lba == 97);
    KEELSON_ASSIGN_OR_FAIL(const uint64_t second, GrowPartition(table, 2, std::nullopt));
    CHECK(second == 1912);
    KEELSON_ASSIGN_OR_FAIL(const uint64_t full, GrowPartition(table, 3, std::nullopt));
    CHECK(full == 10);
    CHECK(CheckTable(table, kDisk).empty());
  }
  SECTION("to a size") {
    KEELSON_REQUIRE_OK(GrowPartition(table, 1, 20));
    CHECK(table.entries[0].last_lba == 69);
  }
  SECTION("but not farther, not smaller, and not what is not there") {
    const GptTable before = table;
    KEELSON_CHECK_ERROR(GrowPartition(table, 1, 51), Code::kFailedPrecondition,
                        "room for 50 sectors, not for 51");
    KEELSON_CHECK_ERROR(GrowPartition(table, 1, 10), Code::kInvalidArgument, "does not shrink");
    KEELSON_CHECK_ERROR(GrowPartition(table, 0, 10), Code::kNotFound, "no partition 0");
    KEELSON_CHECK_ERROR(GrowPartition(table, 4, 10), Code::kNotFound, "no partition 4");
    KEELSON_CHECK_ERROR(GrowPartition(table, 129, 10), Code::kNotFound, "no partition 129");
    CHECK(table == before);
  }
}

TEST_CASE("Names hold 36 units of UTF-16", "[partition][gpt]") {
  GptEntry entry;
  KEELSON_REQUIRE_OK(SetName(entry, "Größe \xf0\x9f\x9a\xa2"));
  CHECK(NameOf(entry) == "Größe \xf0\x9f\x9a\xa2");
  CHECK(entry.name[6] == 0xd83d);
  CHECK(entry.name[7] == 0xdea2);

  KEELSON_REQUIRE_OK(SetName(entry, std::string(36, 'x')));
  CHECK(NameOf(entry) == std::string(36, 'x'));
  KEELSON_CHECK_ERROR(SetName(entry, std::string(37, 'y')), Code::kInvalidArgument,
                      "37 UTF-16 units");
  KEELSON_CHECK_ERROR(SetName(entry, std::string("a\0b", 3)), Code::kInvalidArgument, "NUL");
  CHECK(NameOf(entry) == std::string(36, 'x'));
  KEELSON_REQUIRE_OK(SetName(entry, "y"));
  CHECK(NameOf(entry) == "y");
}

TEST_CASE("What is not UTF-8 is no name", "[partition][gpt]") {
  const auto text = GENERATE(as<std::string>(), "\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf",
                             "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "a\xe2\x82", "\xc3(");
  CHECK_FALSE(Utf8ToUtf16(text).has_value());
}

TEST_CASE("Half of a pair is shown as a replacement", "[partition][gpt]") {
  GptEntry entry;
  entry.name[0] = 0xd83d;
  entry.name[1] = u'x';
  entry.name[2] = 0xdea2;
  CHECK(NameOf(entry) == "\xef\xbf\xbdx\xef\xbf\xbd");
}

TEST_CASE("Every sound character survives both ways", "[partition][gpt]") {
  Random random(7);
  for (int i = 0; i < 2000; ++i) {
    std::u16string units;
    uint64_t c = random.Below(0x110000);
    if (c >= 0xd800 && c < 0xe000) c = 'x';
    if (c >= 0x10000) {
      units += static_cast<char16_t>(0xd800 + ((c - 0x10000) >> 10));
      units += static_cast<char16_t>(0xdc00 + (c & 0x3ff));
    } else {
      units += static_cast<char16_t>(c);
    }
    INFO(c);
    REQUIRE(Utf8ToUtf16(Utf16ToUtf8(units)) == units);
  }
}

TEST_CASE("Attributes go by name and by number", "[partition][gpt]") {
  CHECK(AttributesText(0).empty());
  CHECK(AttributesText(uint64_t{1} << 63 | uint64_t{1} << 48 | 5) ==
        "required, legacy-boot, 48, no-auto");
  KEELSON_ASSIGN_OR_FAIL(const int grow, ParseAttribute("grow"));
  CHECK(grow == 59);
  KEELSON_ASSIGN_OR_FAIL(const int number, ParseAttribute("63"));
  CHECK(number == 63);
  for (const char* bad : {"", "64", "-1", "boot", "1x"}) {
    KEELSON_CHECK_ERROR(ParseAttribute(bad), Code::kInvalidArgument, "no attribute");
  }
}

}  // namespace
}  // namespace keelson::partition
