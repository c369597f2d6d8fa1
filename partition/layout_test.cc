#include "partition/layout.h"

#include <catch2/catch.hpp>

#include "base/file_system.h"
#include "base/testing/status_matchers.h"
#include "partition/partition_types.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

GuidSource Counting() {
  return [n = uint8_t{0}]() mutable {
    Guid guid;
    guid.bytes[0] = ++n;
    return guid;
  };
}

std::string OnePartition(const std::string& more) {
  return R"({"partitions": [{"number": 1, "type": "linux", "size": "1MiB")" + more + "}]}";
}

TEST_CASE("Sizes have a number and a unit", "[partition][layout]") {
  KEELSON_ASSIGN_OR_FAIL(const uint64_t mebi, ParseSize("128MiB"));
  CHECK(mebi == 134217728);
  KEELSON_ASSIGN_OR_FAIL(const uint64_t bytes, ParseSize("7B"));
  CHECK(bytes == 7);
  for (const char* bad : {"", "B", "MiB", "1", "1M", "1MB", "-1B", "+1B", " 1B", "1.5MiB", "1 MiB",
                          "8388608TiB", "99999999999999999999B"}) {
    KEELSON_CHECK_ERROR(ParseSize(bad), Code::kInvalidArgument, "is no size");
  }
  CHECK(SizeText(0) == "0B");
  CHECK(SizeText(1000) == "1000B");
  CHECK(SizeText(uint64_t{3} << 30) == "3GiB");
}

// flatcar/scripts disk_layout.json, as laid out on a disk.
TEST_CASE("Container Linux's partitions start where they always did", "[partition][layout]") {
  KEELSON_ASSIGN_OR_FAIL(
      const std::string text,
      ReadFile(RealFileSystem(), "partition/layouts/container_linux.json", 1 << 20));
  KEELSON_ASSIGN_OR_FAIL(const Layout layout, ParseLayout(text));
  const Geometry geometry = {.sector_bytes = 512, .sectors = 9289728};

  KEELSON_ASSIGN_OR_FAIL(const GptTable table, MakeTable(layout, geometry, Counting()));

  CHECK(table.entries[0].first_lba == 4096);
  CHECK(table.entries[1].first_lba == 266240);
  CHECK(table.entries[2].first_lba == 270336);
  CHECK(table.entries[3].first_lba == 2367488);
  CHECK(table.entries[3].sectors() == 2097152);
  CHECK(table.entries[8].last_lba == geometry.sectors - 34 - 7);
  CHECK(table.entries[2].type == CoreOsUsrType());
  CHECK(table.entries[2].attributes == (uint64_t{1} << 48 | uint64_t{1} << 56));
  CHECK(ToString(table.entries[2].unique) == "7130c94a-213a-4e5a-8e26-6cce9662f132");
  CHECK(NameOf(table.entries[8]) == "ROOT");
  CHECK_FALSE(table.entries[4].used());
}

TEST_CASE("Flatcar's layout makes a sound table for both sector sizes", "[partition][layout]") {
  KEELSON_ASSIGN_OR_FAIL(const std::string text,
                         ReadFile(RealFileSystem(), "partition/layouts/flatcar.json", 1 << 20));
  KEELSON_ASSIGN_OR_FAIL(const Layout layout, ParseLayout(text));
  const uint32_t sector = GENERATE(512u, 4096u);
  const Geometry geometry = {.sector_bytes = sector, .sectors = (uint64_t{9} << 30) / sector};

  KEELSON_ASSIGN_OR_FAIL(const GptTable table, MakeTable(layout, geometry, Counting()));
  CHECK(CheckTable(table, geometry).empty());
  CHECK(table.entries[2].sectors() * sector == uint64_t{2} << 30);
}

TEST_CASE("A layout may say how large a disk it is made for", "[partition][layout]") {
  const char kOne[] = R"("partitions": [{"number": 1, "type": "linux", "size": "rest"}]})";
  CHECK(!ParseLayout(std::string("{") + kOne)->disk_bytes.has_value());
  CHECK(ParseLayout(std::string(R"({"disk_size": "3MiB", )") + kOne)->disk_bytes == 3 << 20);
  for (const char* layout : {"container_linux", "flatcar"}) {
    const std::string path = std::string("partition/layouts/") + layout + ".json";
    KEELSON_ASSIGN_OR_FAIL(const std::string text, ReadFile(RealFileSystem(), path, 1 << 20));
    KEELSON_ASSIGN_OR_FAIL(const Layout shipped, ParseLayout(text));
    REQUIRE(shipped.disk_bytes.has_value());
    KEELSON_REQUIRE_OK(MakeTable(shipped, {.sectors = *shipped.disk_bytes / 512}, Counting()));
  }
}

TEST_CASE("What does not fit says how much it needed", "[partition][layout]") {
  KEELSON_ASSIGN_OR_FAIL(const Layout layout, ParseLayout(OnePartition("")));
  const Geometry small = {.sector_bytes = 512, .sectors = 4000};
  KEELSON_CHECK_ERROR(MakeTable(layout, small, Counting()), Code::kInvalidArgument,
                      "partition 1 does not fit: expected room for 1048576 bytes from byte "
                      "1048576, found 982528");
  KEELSON_CHECK_ERROR(MakeTable(layout, {512, 100}, Counting()), Code::kInvalidArgument, "found 0");
}

TEST_CASE("Two partitions with one GUID are refused", "[partition][layout]") {
  const std::string guid = R"("type": "linux", "size": "4KiB", "guid": )"
                           R"("7130c94a-213a-4e5a-8e26-6cce9662f132")";
  KEELSON_ASSIGN_OR_FAIL(const Layout layout,
                         ParseLayout(R"({"alignment": "4KiB", "partitions": [{"number": 1, )" +
                                     guid + R"(}, {"number": 2, )" + guid + "}]}"));
  KEELSON_CHECK_ERROR(MakeTable(layout, {512, 1000}, Counting()), Code::kInvalidArgument,
                      "expected a GUID of its own");
}

TEST_CASE("A bad layout is refused with the place", "[partition][layout]") {
  struct Row {
    std::string json;
    std::string message;
  };
  const auto row = GENERATE(values<Row>({
      {"", "not JSON"},
      {"{", "not JSON"},
      {"[]", "layout: expected an object"},
      {"{}", "layout.partitions: expected an array"},
      {R"({"partitions": {}})", "layout.partitions: expected an array"},
      {R"({"partitions": [], "size": 1})", "layout: unknown key 'size'"},
      {R"({"partitions": [], "alignment": 5})", "layout.alignment: expected a string"},
      {R"({"partitions": [], "alignment": "3MiB"})", "layout.alignment: expected a power of two"},
      {R"({"partitions": [], "alignment": "256B"})", "layout.alignment: expected a power of two"},
      {R"({"partitions": [], "disk_guid": "x"})", "layout.disk_guid: 'x' is no GUID"},
      {R"({"partitions": [7]})", "partitions[0]: expected an object"},
      {R"({"partitions": [{}]})", "partitions[0].number: expected a number from 1 to 128"},
      {R"({"partitions": [{"number": 0}]})", "partitions[0].number"},
      {R"({"partitions": [{"number": 129}]})", "partitions[0].number"},
      {R"({"partitions": [{"number": -1}]})", "partitions[0].number"},
      {R"({"partitions": [{"number": "1"}]})", "partitions[0].number"},
      {R"({"partitions": [{"number": 1}]})", "partitions[0].type: expected a partition type"},
      {R"({"partitions": [{"number": 1, "type": "zfs"}]})", "partitions[0].type: 'zfs'"},
      {R"({"partitions": [{"number": 1, "type": "esp"}]})", "partitions[0].size: expected a size"},
      {R"({"partitions": [{"number": 1, "type": "esp", "size": "big"}]})",
       "partitions[0].size: 'big' is no size"},
      {R"({"partitions": [{"number": 1, "type": "esp", "size": "0B"}]})", "more than nothing"},
      {R"({"disk_size": 5, "partitions": []})", "layout.disk_size"},
      {R"({"disk_size": "5", "partitions": []})", "layout.disk_size: '5' is no size"},
      {OnePartition(R"(, "name": "x")"), "partitions[0]: unknown key 'name'"},
      {OnePartition(R"(, "guid": "1")"), "partitions[0].guid: '1' is no GUID"},
      {OnePartition(R"(, "label": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")"),
       "partitions[0].label: the partition name"},
      {OnePartition(R"(, "attributes": 48)"), "partitions[0].attributes: expected an array"},
      {OnePartition(R"(, "attributes": ["boot"])"), "partitions[0].attributes: 'boot'"},
      {OnePartition(R"(, "attributes": [64])"), "partitions[0].attributes: '64'"},
      {OnePartition(R"(}, {"number": 1, "type": "esp", "size": "1B")"),
       "partitions[1].number: 1 is there twice"},
      {R"({"partitions": [{"number": 1, "type": "esp", "size": "rest"},
                          {"number": 2, "type": "esp", "size": "1B"}]})",
       "partitions[0].size: only the last partition can have the rest"},
  }));
  DYNAMIC_SECTION(row.json) {
    KEELSON_CHECK_ERROR(ParseLayout(row.json), Code::kInvalidArgument, row.message);
  }
}

}  // namespace
}  // namespace keelson::partition
