#include "partition/boot/fat_volume.h"

#include <catch2/catch.hpp>

#include "base/little_endian.h"
#include "base/testing/status_matchers.h"
#include "partition/testing/fake_disk.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

constexpr uint64_t kSectors = 100;
constexpr size_t kTable = 512;
constexpr size_t kRoot = 2 * 512;
constexpr size_t kData = 3 * 512;

std::string Entry(const std::string& short_name, uint8_t attributes, uint16_t cluster,
                  uint32_t bytes) {
  std::string entry(32, '\0');
  entry.replace(0, 11, short_name);
  entry[11] = static_cast<char>(attributes);
  StoreLe16(entry, 26, cluster);
  StoreLe32(entry, 28, bytes);
  return entry;
}

// A piece of a long name of 13 units; `sum` is that of the short one.
std::string Piece(uint8_t order, const std::u16string& units, uint8_t sum) {
  std::string entry(32, '\xff');
  entry[0] = static_cast<char>(order);
  entry[11] = 0x0f;
  entry[12] = entry[26] = entry[27] = 0;
  entry[13] = static_cast<char>(sum);
  size_t unit = 0;
  for (const auto& [at, count] : {std::pair<size_t, size_t>{1, 5}, {14, 6}, {28, 2}}) {
    for (size_t i = 0; i < count && unit <= units.size(); ++i, ++unit) {
      StoreLe16(entry, at + 2 * i, unit < units.size() ? units[unit] : u'\0');
    }
  }
  return entry;
}

uint8_t Sum(const std::string& short_name) {
  uint8_t sum = 0;
  for (const char c : short_name) {
    sum = static_cast<uint8_t>((sum & 1) << 7 | sum >> 1);
    sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(c));
  }
  return sum;
}

// FAT12, one sector a cluster: boot sector, table, a sector for the root folder, 97 clusters.
std::string FirstSector() {
  std::string sector(512, '\0');
  StoreLe16(sector, 11, 512);
  sector[13] = 1;
  StoreLe16(sector, 14, 1);
  sector[16] = 1;
  StoreLe16(sector, 17, 16);
  StoreLe16(sector, 19, kSectors);
  StoreLe16(sector, 22, 1);
  StoreLe16(sector, 510, 0xaa55);
  return sector;
}

void SetNext(std::string& image, uint32_t cluster, uint16_t next) {
  const size_t at = kTable + cluster * 3 / 2;
  const uint16_t pair = LoadLe16(image, at);
  StoreLe16(image, at,
            cluster % 2 == 0 ? static_cast<uint16_t>((pair & 0xf000) | next)
                             : static_cast<uint16_t>((pair & 0x000f) | next << 4));
}

// "FILE" in clusters 2, 5, 3, and the folder "DIR" in cluster 4 with an empty file.
FakeDisk Volume() {
  FakeDisk disk({.sectors = kSectors});
  std::string& image = disk.image();
  image.replace(0, 512, FirstSector());
  SetNext(image, 2, 5);
  SetNext(image, 5, 3);
  SetNext(image, 3, 0xfff);
  SetNext(image, 4, 0xff8);
  image.replace(kRoot, 64, Entry("FILE    TXT", 0x20, 2, 1100) + Entry("DIR        ", 0x10, 4, 0));
  image.replace(kData, 512, std::string(512, 'a'));
  image.replace(kData + 3 * 512, 512, std::string(512, 'b'));
  image.replace(kData + 512, 512, std::string(512, 'c'));
  image.replace(kData + 2 * 512, 32, Entry("EMPTY      ", 0x20, 0, 0));
  return disk;
}

TEST_CASE("Files and folders are read along their chains", "[partition][boot]") {
  const FakeDisk disk = Volume();
  KEELSON_ASSIGN_OR_FAIL(const auto volume, FatVolume::Open(disk));
  CHECK(volume->geometry().bits == 12);
  CHECK(volume->geometry().clusters == 97);
  CHECK(*volume->List("/") == std::vector<std::string>{"DIR", "FILE.TXT"});
  CHECK(*volume->List("dir") == std::vector<std::string>{"EMPTY"});
  CHECK(*ReadFile(*volume, "file.txt", 4096) ==
        std::string(512, 'a') + std::string(512, 'b') + std::string(76, 'c'));
  CHECK(*ReadFile(*volume, "DIR/EMPTY", 4096) == "");
  CHECK(*volume->Exists("DIR/EMPTY"));
  CHECK_FALSE(*volume->Exists("DIR/FULL"));
  CHECK(volume->Space("")->free_bytes == 93 * 512);
}

TEST_CASE("Nothing is written", "[partition][boot]") {
  const FakeDisk disk = Volume();
  KEELSON_ASSIGN_OR_FAIL(const auto volume, FatVolume::Open(disk));
  KEELSON_CHECK_ERROR(volume->Open("new", {.write = true, .create = true}).status(),
                      Code::kPermissionDenied, "'new'");
  KEELSON_CHECK_ERROR(volume->Remove("FILE.TXT"), Code::kPermissionDenied, "'FILE.TXT'");
  KEELSON_CHECK_ERROR(volume->Rename("FILE.TXT", "b"), Code::kPermissionDenied, "'FILE.TXT'");
}

TEST_CASE("Chains that end early, leave the volume or lead in circles are refused",
          "[partition][boot]") {
  struct Damage {
    uint32_t cluster;
    uint16_t next;
    const char* message;
  };
  for (const auto& [cluster, next, message] :
       {Damage{5, 0xfff, "expected 3 clusters, found 2"}, Damage{5, 99, "leads to 99"},
        Damage{5, 1, "leads to 1"}, Damage{5, 0xff7, "leads to 4087"},
        Damage{5, 2, "found more"}}) {
    INFO(next);
    FakeDisk disk = Volume();
    SetNext(disk.image(), cluster, next);
    KEELSON_ASSIGN_OR_FAIL(const auto volume, FatVolume::Open(disk));
    KEELSON_CHECK_ERROR(ReadFile(*volume, "FILE.TXT", 4096).status(), Code::kDataLoss, message);
  }
  FakeDisk disk = Volume();
  SetNext(disk.image(), 4, 4);
  KEELSON_ASSIGN_OR_FAIL(const auto volume, FatVolume::Open(disk));
  KEELSON_CHECK_ERROR(volume->List("DIR").status(), Code::kDataLoss, "found more");
}

TEST_CASE("A first sector that contradicts itself is refused by place", "[partition][boot]") {
  struct Damage {
    size_t at;
    uint16_t value;
    const char* message;
  };
  for (const auto& [at, value, message] :
       {Damage{510, 0, "byte 510"}, Damage{11, 500, "byte 11"}, Damage{11, 8192, "byte 11"},
        Damage{13, 3, "byte 13"}, Damage{14, 0, "byte 14"}, Damage{17, 0, "byte 17"},
        Damage{19, 101, "byte 19"}, Damage{19, 3, "no room for data"}, Damage{22, 98, "no room"},
        Damage{22, 0, "byte 17"}}) {
    INFO(at << " " << value);
    std::string sector = FirstSector();
    StoreLe16(sector, at, value);
    if (at == 13) sector[14] = 1;
    KEELSON_CHECK_ERROR(ParseFatGeometry(sector, kSectors * 512).status(), Code::kInvalidArgument,
                        message);
  }
  std::string none = FirstSector();
  none[16] = 0;
  KEELSON_CHECK_ERROR(ParseFatGeometry(none, kSectors * 512).status(), Code::kInvalidArgument,
                      "byte 16");
  KEELSON_CHECK_ERROR(ParseFatGeometry("short", 5).status(), Code::kInvalidArgument, "cut off");
}

TEST_CASE("A long name counts if it is whole and belongs to its short one", "[partition][boot]") {
  const std::string name = "KEELSO~1EFI";
  const std::string short_one = Entry(name, 0x20, 2, 5);
  const uint8_t sum = Sum(name);
  const std::string second = Piece(0x42, u"3-1.efi", sum);
  const std::string first = Piece(1, u"keelson_1.10+", sum);
  const auto names = [](const std::string& bytes) {
    std::vector<std::string> out;
    for (const FatEntry& entry : ParseFatFolder(bytes)) out.push_back(entry.name);
    return out;
  };
  using Names = std::vector<std::string>;
  CHECK(names(second + first + short_one) == Names{"keelson_1.10+3-1.efi"});
  CHECK(names(first + short_one) == Names{"KEELSO~1.EFI"});
  CHECK(names(second + short_one) == Names{"KEELSO~1.EFI"});
  CHECK(names(first + second + short_one) == Names{"KEELSO~1.EFI"});
  CHECK(names(second + Piece(1, u"keelson_1.10+", sum + 1) + short_one) == Names{"KEELSO~1.EFI"});
  CHECK(names(second + first + Entry("OTHER   EFI", 0x20, 2, 5)) == Names{"OTHER.EFI"});
  std::string removed = second + first + short_one;
  removed[64] = '\xe5';
  CHECK(names(removed + short_one) == Names{"KEELSO~1.EFI"});
  std::string small = short_one;
  small[12] = 0x18;
  CHECK(names(Entry("LABEL      ", 0x08, 0, 0) + small) == Names{"keelso~1.efi"});
  CHECK(names(std::string(32, '\0') + short_one).empty());
}

}  // namespace
}  // namespace keelson::partition
