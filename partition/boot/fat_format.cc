// The first sector of a FAT volume, and its folders.
#include <algorithm>
#include <array>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/little_endian.h"
#include "base/status.h"
#include "partition/boot/fat_volume.h"
#include "partition/internal/utf16.h"

namespace keelson::partition {
namespace {

constexpr size_t kFirstSectorBytes = 512;
constexpr size_t kEntryBytes = 32;
// Below so many clusters it is FAT12, below so many FAT16.
constexpr uint64_t kFat12Clusters = 4085;
constexpr uint64_t kFat16Clusters = 65525;
constexpr uint64_t kFat32Clusters = 0x0ffffff5;

constexpr uint8_t kLabel = 0x08;
constexpr uint8_t kFolder = 0x10;
constexpr uint8_t kLongName = 0x0f;
constexpr uint8_t kLastPiece = 0x40;
constexpr size_t kPieceUnits = 13;
constexpr size_t kPiecesMax = 20;
// Of the byte at 12: the parts of the short name that are in small letters.
constexpr uint8_t kSmallBase = 0x08;
constexpr uint8_t kSmallExtension = 0x10;

absl::Status Wrong(size_t at, const std::string& expected, uint64_t found) {
  return absl::InvalidArgumentError(
      absl::StrCat("FAT: first sector, byte ", at, ": expected ", expected, ", found ", found));
}

bool IsPowerOfTwo(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }

uint8_t Byte(std::string_view bytes, size_t at) { return static_cast<uint8_t>(bytes[at]); }

std::string ShortName(std::string_view entry) {
  const auto part = [&](size_t at, size_t size, bool small) {
    std::string out(entry.substr(at, size));
    while (!out.empty() && out.back() == ' ') out.pop_back();
    for (char& c : out) {
      if (static_cast<uint8_t>(c) >= 0x80 || static_cast<uint8_t>(c) < 0x20) c = '?';
      if (small && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
  };
  const uint8_t small = Byte(entry, 12);
  std::string name = part(0, 8, (small & kSmallBase) != 0);
  const std::string extension = part(8, 3, (small & kSmallExtension) != 0);
  return extension.empty() ? name : absl::StrCat(name, ".", extension);
}

uint8_t ShortNameSum(std::string_view entry) {
  uint8_t sum = 0;
  for (size_t i = 0; i < 11; ++i) {
    sum = static_cast<uint8_t>((sum << 7) | (sum >> 1));
    sum = static_cast<uint8_t>(sum + Byte(entry, i));
  }
  return sum;
}

// Gathers the pieces of a long name, which lie before their short one, the last piece first.
class LongName {
 public:
  void Add(std::string_view entry) {
    const uint8_t order = Byte(entry, 0);
    const size_t number = order & 0x3f;
    if ((order & kLastPiece) != 0) {
      units_.assign(number * kPieceUnits, u'\0');
      left_ = number;
      sum_ = Byte(entry, 13);
      if (number == 0 || number > kPiecesMax) left_ = kNone;
    } else if (left_ == kNone || number != left_ || Byte(entry, 13) != sum_) {
      left_ = kNone;
    }
    if (left_ == kNone) return;
    --left_;
    size_t unit = left_ * kPieceUnits;
    for (const auto& [at, count] : {std::pair{1, 5}, std::pair{14, 6}, std::pair{28, 2}}) {
      for (int i = 0; i < count; ++i) {
        units_[unit++] = LoadLe16(entry.data() + at + 2 * i);
      }
    }
  }

  // The name if it is whole and belongs to the short one of `entry`. Forgets it.
  std::optional<std::string> Take(std::string_view entry) {
    const bool whole = left_ == 0 && sum_ == ShortNameSum(entry);
    left_ = kNone;
    if (!whole) return std::nullopt;
    const size_t end = std::min(units_.find(u'\0'), units_.size());
    if (end == 0) return std::nullopt;
    return Utf16ToUtf8(std::u16string_view(units_).substr(0, end));
  }

  void Forget() { left_ = kNone; }

 private:
  static constexpr size_t kNone = SIZE_MAX;

  std::u16string units_;
  size_t left_ = kNone;  // pieces still to come
  uint8_t sum_ = 0;
};

// The parts of the first sector as numbers.
struct Sector {
  explicit Sector(std::string_view bytes)
      : sector_bytes(LoadLe16(bytes.data() + 11)),
        cluster_sectors(Byte(bytes, 13)),
        reserved(LoadLe16(bytes.data() + 14)),
        tables(Byte(bytes, 16)),
        root_entries(LoadLe16(bytes.data() + 17)),
        sectors(LoadLe16(bytes.data() + 19) != 0 ? LoadLe16(bytes.data() + 19)
                                                 : LoadLe32(bytes.data() + 32)),
        is_fat32(LoadLe16(bytes.data() + 22) == 0),
        table_sectors(is_fat32 ? LoadLe32(bytes.data() + 36) : LoadLe16(bytes.data() + 22)),
        flags(is_fat32 ? LoadLe16(bytes.data() + 40) : 0),
        version(is_fat32 ? LoadLe16(bytes.data() + 42) : 0),
        root_cluster(is_fat32 ? LoadLe32(bytes.data() + 44) : 0) {}

  uint64_t sector_bytes;
  uint64_t cluster_sectors;
  uint64_t reserved;
  uint64_t tables;
  uint64_t root_entries;
  uint64_t sectors;
  bool is_fat32;
  uint64_t table_sectors;
  uint32_t flags;
  uint32_t version;
  uint32_t root_cluster;
};

absl::Status CheckNumbers(const Sector& sector) {
  if (!IsPowerOfTwo(sector.sector_bytes) || sector.sector_bytes < 512 ||
      sector.sector_bytes > 4096) {
    return Wrong(11, "sectors of 512 to 4096 bytes", sector.sector_bytes);
  }
  if (!IsPowerOfTwo(sector.cluster_sectors)) {
    return Wrong(13, "a power of two", sector.cluster_sectors);
  }
  if (sector.reserved == 0) return Wrong(14, "reserved sectors", 0);
  if (sector.tables == 0) return Wrong(16, "a table", 0);
  if (sector.is_fat32 == (sector.root_entries != 0)) {
    return Wrong(17, sector.is_fat32 ? "0" : "room for the root folder", sector.root_entries);
  }
  if (sector.table_sectors == 0) return Wrong(36, "sectors of a table", 0);
  if (sector.version != 0) return Wrong(42, "version 0", sector.version);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FatGeometry> ParseFatGeometry(std::string_view first_sector, uint64_t volume_bytes) {
  if (first_sector.size() < kFirstSectorBytes) {
    return absl::InvalidArgumentError("FAT: the first sector is cut off");
  }
  if (const uint16_t mark = LoadLe16(first_sector.data() + 510); mark != 0xaa55) {
    return Wrong(510, absl::StrCat(0xaa55), mark);
  }
  const Sector sector(first_sector);
  KEELSON_RETURN_IF_ERROR(CheckNumbers(sector));
  // Numbers of at most 32 bits, by at most 4096: no overflow in 64.
  if (sector.sectors * sector.sector_bytes > volume_bytes) {
    return Wrong(sector.is_fat32 ? 32 : 19,
                 absl::StrCat("at most ", volume_bytes / sector.sector_bytes, " sectors"),
                 sector.sectors);
  }
  const uint64_t root_sectors =
      (sector.root_entries * kEntryBytes + sector.sector_bytes - 1) / sector.sector_bytes;
  const uint64_t root_start = sector.reserved + sector.tables * sector.table_sectors;
  const uint64_t data_start = root_start + root_sectors;
  if (data_start >= sector.sectors) {
    return absl::InvalidArgumentError(absl::StrCat("FAT: tables end at sector ", data_start, " of ",
                                                   sector.sectors, ": no room for data"));
  }
  const uint64_t clusters = (sector.sectors - data_start) / sector.cluster_sectors;
  FatGeometry geometry = {
      .sector_bytes = static_cast<uint32_t>(sector.sector_bytes),
      .cluster_bytes = static_cast<uint32_t>(sector.sector_bytes * sector.cluster_sectors),
      .root_offset = root_start * sector.sector_bytes,
      .root_entries = static_cast<uint32_t>(sector.root_entries),
      .root_cluster = sector.root_cluster,
      .data_offset = data_start * sector.sector_bytes};
  // As Linux does it: whether it is FAT32 says the layout, not the number of clusters.
  geometry.bits = sector.is_fat32 ? 32 : clusters < kFat12Clusters ? 12 : 16;
  const uint64_t most = sector.is_fat32 ? kFat32Clusters : kFat16Clusters;
  const uint64_t room = sector.table_sectors * sector.sector_bytes * 8 / geometry.bits;
  if (clusters == 0 || clusters >= most || clusters + 2 > room) {
    return absl::InvalidArgumentError(absl::StrCat("FAT: ", clusters, " clusters: expected 1 to ",
                                                   std::min(most - 1, room < 2 ? 0 : room - 2)));
  }
  geometry.clusters = static_cast<uint32_t>(clusters);
  // Bit 7: one table counts, whose number is in the low bits.
  const uint64_t active = (sector.flags & 0x80) != 0 ? sector.flags & 0xf : 0;
  if (active >= sector.tables) return Wrong(40, "the number of a table", active);
  geometry.table_offset = (sector.reserved + active * sector.table_sectors) * sector.sector_bytes;
  return geometry;
}

std::vector<FatEntry> ParseFatFolder(std::string_view bytes) {
  std::vector<FatEntry> entries;
  LongName long_name;
  for (; bytes.size() >= kEntryBytes && bytes[0] != '\0'; bytes.remove_prefix(kEntryBytes)) {
    const std::string_view entry = bytes.substr(0, kEntryBytes);
    const uint8_t attributes = Byte(entry, 11) & 0x3f;
    if (Byte(entry, 0) == 0xe5) {  // removed
      long_name.Forget();
      continue;
    }
    if (attributes == kLongName) {
      long_name.Add(entry);
      continue;
    }
    const std::optional<std::string> name = long_name.Take(entry);
    if ((attributes & kLabel) != 0 || entry[0] == '.') continue;
    entries.push_back(
        {.name = name.value_or(ShortName(entry)),
         .folder = (attributes & kFolder) != 0,
         .first_cluster = uint32_t{LoadLe16(entry.data() + 20)} << 16 | LoadLe16(entry.data() + 26),
         .bytes = LoadLe32(entry.data() + 28)});
  }
  return entries;
}

}  // namespace keelson::partition
