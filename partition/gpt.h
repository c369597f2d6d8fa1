// A GUID partition table as a value: what is in it, whether it is sound, and how it may change.
//
//   KEELSON_ASSIGN_OR_RETURN(GptTable table, EmptyTable(disk.geometry(), RandomGuid()));
//   table.entries[0] = {.type = esp, .unique = RandomGuid(), .first_lba = 2048, .last_lba = 4095};
//   KEELSON_RETURN_IF_ERROR(SetName(table.entries[0], "EFI-SYSTEM"));
//   if (!CheckTable(table, disk.geometry()).empty()) ...
//
// Nothing here reads or writes a disk: see gpt_disk.h. Format: UEFI 2.10, chapter 5.
// Partitions are numbered from 1, as everywhere else; `entries[n - 1]` is partition n.
// "LBA" is the index of a logical sector. Ranges of LBAs are [first, last], as in the format.
//
// Threading: values.
#ifndef KEELSON_PARTITION_GPT_H_
#define KEELSON_PARTITION_GPT_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "partition/block_device.h"
#include "partition/guid.h"

namespace keelson::partition {

inline constexpr uint32_t kGptEntryBytes = 128;
inline constexpr uint32_t kGptEntryCount = 128;
inline constexpr size_t kGptNameUnits = 36;

// Attribute bits that all partition types share (UEFI 2.10, table 5.8).
inline constexpr int kAttributeRequired = 0;
inline constexpr int kAttributeNoBlockIo = 1;
inline constexpr int kAttributeLegacyBoot = 2;
// And those of the Discoverable Partitions Specification.
inline constexpr int kAttributeGrow = 59;
inline constexpr int kAttributeReadOnly = 60;
inline constexpr int kAttributeNoAuto = 63;

struct GptEntry {
  Guid type;  // all zeros: unused
  Guid unique;
  uint64_t first_lba = 0;
  uint64_t last_lba = 0;
  uint64_t attributes = 0;
  std::array<char16_t, kGptNameUnits> name{};  // UTF-16, zeros behind its end
  // What a table with larger entries holds behind these fields. Kept as it is.
  std::string tail;

  [[nodiscard]] bool used() const { return !type.IsZero(); }
  [[nodiscard]] uint64_t sectors() const { return last_lba - first_lba + 1; }
  friend bool operator==(const GptEntry&, const GptEntry&) = default;
};

struct GptTable {
  Guid disk_guid;
  uint64_t first_usable_lba = 0;
  uint64_t last_usable_lba = 0;
  uint64_t primary_array_lba = 2;
  uint64_t backup_array_lba = 0;
  uint64_t backup_header_lba = 0;
  uint32_t entry_bytes = kGptEntryBytes;
  std::vector<GptEntry> entries;  // all, also the unused ones
  // What the header holds behind the fields of revision 1.0. Kept as it is.
  std::string header_tail;

  friend bool operator==(const GptTable&, const GptTable&) = default;
};

// Something wrong with what is on a disk.
struct GptFault {
  enum class Where : uint8_t { kMbr, kPrimary, kBackup, kPartition };

  Where where = Where::kPrimary;
  int partition = 0;     // with kPartition: its number
  uint64_t offset = 0;   // of the faulty thing, in bytes from the start of the disk
  bool mendable = true;  // PlanRepair puts it right; else nothing is written to this disk
  std::string message;   // "partition 3, entry at byte 1280: expected ..., found ..."

  friend bool operator==(const GptFault&, const GptFault&) = default;
};

// Sectors that one entry array occupies.
uint64_t ArraySectors(const GptTable& table, uint32_t sector_bytes);

// A table of 128 unused entries that fills the disk, with the backup at its end.
// INVALID_ARGUMENT: the disk is too small for one.
absl::StatusOr<GptTable> EmptyTable(const Geometry& geometry, const Guid& disk_guid);

// The same partitions with the backup, and the end of the usable area, at the end of the disk as
// it is now. FAILED_PRECONDITION, naming the partition, if one would no longer fit.
absl::StatusOr<GptTable> Relocated(GptTable table, const Geometry& geometry);

// Every fault of the partitions: ranges upside down or outside of the usable area, overlaps,
// GUIDs used twice. In the order of partitions.
std::vector<GptFault> CheckTable(const GptTable& table, const Geometry& geometry);

// Lets partition `number` grow to `sectors`, or as far as it can without (a multiple of 8 sectors).
// Its start stays.
// Returns the new size in sectors.
//
// Errors:
//   NOT_FOUND            no such partition.
//   FAILED_PRECONDITION  what lies behind it leaves less room; the message says how much there is.
//   INVALID_ARGUMENT     `sectors` is less than it has: a partition never shrinks here.
absl::StatusOr<uint64_t> GrowPartition(GptTable& table, int number,
                                       std::optional<uint64_t> sectors);

// The name as UTF-8; a unit that is half of a pair becomes U+FFFD.
std::string NameOf(const GptEntry& entry);

// INVALID_ARGUMENT: not UTF-8, a NUL inside, or more than 36 UTF-16 units. Then `entry` stays.
absl::Status SetName(GptEntry& entry, std::string_view utf8);

// "no-auto, 48": attribute bits that are set, by name where there is one.
std::string AttributesText(uint64_t attributes);

// The bit that `text` names or numbers (0 to 63). INVALID_ARGUMENT for anything else.
absl::StatusOr<int> ParseAttribute(std::string_view text);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_GPT_H_
