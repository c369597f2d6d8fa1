#include "partition/gpt.h"

#include <algorithm>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "partition/internal/utf16.h"

namespace keelson::partition {
namespace {

struct AttributeName {
  int bit;
  std::string_view name;
};

constexpr AttributeName kAttributeNames[] = {
    {kAttributeRequired, "required"},      {kAttributeNoBlockIo, "no-block-io"},
    {kAttributeLegacyBoot, "legacy-boot"}, {kAttributeGrow, "grow"},
    {kAttributeReadOnly, "read-only"},     {kAttributeNoAuto, "no-auto"},
};

// 4096 bytes in the smaller kind of sector.
constexpr uint64_t kSectorsMultiple = 8;

absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

// Collects the faults of the partitions of one table.
class Checker {
 public:
  Checker(const GptTable& table, const Geometry& geometry) : table_(table), geometry_(geometry) {}

  std::vector<GptFault> Run() {
    const uint64_t last = std::min(table_.last_usable_lba, geometry_.sectors - 1);
    for (size_t i = 0; i < table_.entries.size(); ++i) {
      const GptEntry& entry = table_.entries[i];
      if (!entry.used()) continue;
      by_start_.push_back(i);
      CheckUnique(i);
      if (entry.first_lba > entry.last_lba) {
        Add(i, absl::StrCat("expected a last LBA of at least ", entry.first_lba, ", found ",
                            entry.last_lba));
      } else if (entry.first_lba < table_.first_usable_lba || entry.last_lba > last) {
        Add(i, absl::StrCat("expected sectors in [", table_.first_usable_lba, ", ", last,
                            "], found [", entry.first_lba, ", ", entry.last_lba, "]"));
      }
    }
    CheckOverlaps();
    std::stable_sort(faults_.begin(), faults_.end(), [](const GptFault& a, const GptFault& b) {
      return a.partition < b.partition;
    });
    return std::move(faults_);
  }

 private:
  void Add(size_t index, const std::string& what) {
    const uint64_t offset =
        table_.primary_array_lba * geometry_.sector_bytes + index * table_.entry_bytes;
    faults_.push_back(
        {.where = GptFault::Where::kPartition,
         .partition = static_cast<int>(index) + 1,
         .offset = offset,
         .mendable = false,
         .message = absl::StrCat("partition ", index + 1, ", entry at byte ", offset, ": ", what)});
  }

  void CheckUnique(size_t index) {
    const Guid& unique = table_.entries[index].unique;
    const auto [other, is_new] = seen_.emplace(unique, index);
    if (is_new) return;
    Add(index, absl::StrCat("expected a GUID of its own, found ", ToString(unique),
                            " of partition ", other->second + 1));
  }

  // Of all partitions so far, the one that reaches farthest is compared with the next one.
  void CheckOverlaps() {
    const auto& entries = table_.entries;
    std::stable_sort(by_start_.begin(), by_start_.end(), [&](size_t a, size_t b) {
      return entries[a].first_lba < entries[b].first_lba;
    });
    std::optional<size_t> farthest;
    for (const size_t i : by_start_) {
      if (entries[i].first_lba > entries[i].last_lba) continue;
      if (farthest.has_value() && entries[i].first_lba <= entries[*farthest].last_lba) {
        Add(i, absl::StrCat("expected sectors of its own, found [", entries[i].first_lba, ", ",
                            entries[i].last_lba, "] over partition ", *farthest + 1, " at [",
                            entries[*farthest].first_lba, ", ", entries[*farthest].last_lba, "]"));
      }
      if (!farthest.has_value() || entries[i].last_lba > entries[*farthest].last_lba) farthest = i;
    }
  }

  const GptTable& table_;
  const Geometry geometry_;
  std::map<Guid, size_t> seen_;
  std::vector<size_t> by_start_;
  std::vector<GptFault> faults_;
};

}  // namespace

uint64_t ArraySectors(const GptTable& table, uint32_t sector_bytes) {
  return (table.entries.size() * table.entry_bytes + sector_bytes - 1) / sector_bytes;
}

absl::StatusOr<GptTable> EmptyTable(const Geometry& geometry, const Guid& disk_guid) {
  GptTable table = {.disk_guid = disk_guid, .entries = std::vector<GptEntry>(kGptEntryCount)};
  const uint64_t array = ArraySectors(table, geometry.sector_bytes);
  // The MBR, two headers, two arrays and one sector for data.
  const uint64_t least = 2 * array + 4;
  if (geometry.sectors < least) {
    return absl::InvalidArgumentError(absl::StrCat("the disk is too small: expected at least ",
                                                   least * geometry.sector_bytes, " bytes, found ",
                                                   geometry.bytes()));
  }
  table.first_usable_lba = table.primary_array_lba + array;
  return Relocated(std::move(table), geometry);
}

absl::StatusOr<GptTable> Relocated(GptTable table, const Geometry& geometry) {
  const uint64_t array = ArraySectors(table, geometry.sector_bytes);
  if (geometry.sectors < array + 2 || geometry.sectors - array - 2 < table.first_usable_lba) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the disk is too small: no room for a backup of ", array + 1, " sectors behind sector ",
        table.first_usable_lba, " on a disk of ", geometry.sectors));
  }
  const uint64_t last = geometry.sectors - 1;
  // Where all is in place already, a gap that someone left there is theirs.
  if (table.backup_header_lba != last || table.backup_array_lba <= table.last_usable_lba) {
    table.backup_header_lba = last;
    table.backup_array_lba = last - array;
    table.last_usable_lba = table.backup_array_lba - 1;
  }
  for (size_t i = 0; i < table.entries.size(); ++i) {
    const GptEntry& entry = table.entries[i];
    if (entry.used() && entry.last_lba > table.last_usable_lba) {
      return absl::FailedPreconditionError(
          absl::StrCat("partition ", i + 1, " ends at sector ", entry.last_lba,
                       ", but with the backup at the end of this disk the last usable sector is ",
                       table.last_usable_lba));
    }
  }
  return table;
}

std::vector<GptFault> CheckTable(const GptTable& table, const Geometry& geometry) {
  return Checker(table, geometry).Run();
}

absl::StatusOr<uint64_t> GrowPartition(GptTable& table, int number,
                                       std::optional<uint64_t> sectors) {
  if (number < 1 || static_cast<size_t>(number) > table.entries.size() ||
      !table.entries[number - 1].used()) {
    return absl::NotFoundError(absl::StrCat("there is no partition ", number));
  }
  GptEntry& entry = table.entries[number - 1];
  uint64_t limit = table.last_usable_lba;
  for (const GptEntry& other : table.entries) {
    if (other.used() && other.first_lba > entry.last_lba) {
      limit = std::min(limit, other.first_lba - 1);
    }
  }
  const uint64_t room = limit - entry.first_lba + 1;
  // As far as it can: in whole blocks of 4096 bytes, or a file system could not use the end.
  const uint64_t wanted =
      sectors.value_or(std::max(room - room % kSectorsMultiple, entry.sectors()));
  if (wanted < entry.sectors()) {
    return absl::InvalidArgumentError(absl::StrCat("partition ", number, " has ", entry.sectors(),
                                                   " sectors and does not shrink to ", wanted));
  }
  if (wanted > room) {
    return absl::FailedPreconditionError(
        absl::StrCat("partition ", number, " has room for ", room, " sectors, not for ", wanted));
  }
  entry.last_lba = entry.first_lba + wanted - 1;
  return wanted;
}

std::string NameOf(const GptEntry& entry) {
  const auto end = std::find(entry.name.begin(), entry.name.end(), u'\0');
  return Utf16ToUtf8({entry.name.data(), static_cast<size_t>(end - entry.name.begin())});
}

absl::Status SetName(GptEntry& entry, std::string_view utf8) {
  const std::optional<std::u16string> units = Utf8ToUtf16(utf8);
  if (!units.has_value() || units->find(u'\0') != std::u16string::npos) {
    return absl::InvalidArgumentError("a partition name must be UTF-8 without NUL");
  }
  if (units->size() > kGptNameUnits) {
    return absl::InvalidArgumentError(absl::StrCat("the partition name '", ToAbsl(utf8), "' has ",
                                                   units->size(),
                                                   " UTF-16 units; expected at most 36"));
  }
  entry.name.fill(u'\0');
  std::copy(units->begin(), units->end(), entry.name.begin());
  return absl::OkStatus();
}

std::string AttributesText(uint64_t attributes) {
  std::vector<std::string> parts;
  for (int bit = 0; bit < 64; ++bit) {
    if ((attributes >> bit & 1) == 0) continue;
    std::string text = std::to_string(bit);
    for (const AttributeName& known : kAttributeNames) {
      if (known.bit == bit) text = known.name;
    }
    parts.push_back(std::move(text));
  }
  return absl::StrJoin(parts, ", ");
}

absl::StatusOr<int> ParseAttribute(std::string_view text) {
  for (const AttributeName& known : kAttributeNames) {
    if (known.name == text) return known.bit;
  }
  int bit = 0;
  if (absl::SimpleAtoi(ToAbsl(text), &bit) && bit >= 0 && bit < 64) return bit;
  return absl::InvalidArgumentError(
      absl::StrCat("'", ToAbsl(text), "' is no attribute: expected a name or a bit from 0 to 63"));
}

}  // namespace keelson::partition
