#include "partition/gpt_disk.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "partition/internal/gpt_codec.h"

namespace keelson::partition {
namespace {

absl::StatusOr<std::string> ReadBytes(const BlockDevice& disk, uint64_t offset, uint64_t size) {
  std::string bytes(size, '\0');
  KEELSON_RETURN_IF_ERROR(disk.Read(offset, {bytes.data(), bytes.size()}));
  return bytes;
}

absl::StatusOr<GptTable> ReadCopy(const BlockDevice& disk, GptCopy copy, uint64_t lba) {
  const Geometry geometry = disk.geometry();
  const uint64_t offset = lba * geometry.sector_bytes;
  if (lba >= geometry.sectors) {
    return absl::DataLossError(absl::StrCat("backup header: expected it at sector ", lba,
                                            ", found a disk of ", geometry.sectors, " sectors"));
  }
  KEELSON_ASSIGN_OR_RETURN(const std::string sector,
                           ReadBytes(disk, offset, geometry.sector_bytes));
  KEELSON_ASSIGN_OR_RETURN(const GptHeader header, DecodeHeader(sector, copy, lba, geometry));
  KEELSON_ASSIGN_OR_RETURN(
      const std::string array,
      ReadBytes(disk, header.array_lba * geometry.sector_bytes, header.array_bytes()));
  return DecodeTable(header, array, copy, geometry);
}

// Where the disk ended when its protective MBR was made; 0 when that does not say.
uint64_t LastSectorOfMbr(std::string_view mbr) {
  uint64_t sectors = 0;
  for (int i = 3; i >= 0; --i) sectors = sectors << 8 | static_cast<uint8_t>(mbr[458 + i]);
  return static_cast<uint8_t>(mbr[450]) == 0xee ? sectors : 0;
}

// The backup of a disk whose primary is damaged.
absl::StatusOr<GptTable> FindBackup(const BlockDevice& disk, std::string_view mbr) {
  const uint64_t last = disk.geometry().sectors - 1;
  absl::StatusOr<GptTable> at_end = ReadCopy(disk, GptCopy::kBackup, last);
  const uint64_t old_last = LastSectorOfMbr(mbr);
  if (at_end.ok() || old_last <= 1 || old_last >= last) return at_end;
  absl::StatusOr<GptTable> at_old_end = ReadCopy(disk, GptCopy::kBackup, old_last);
  return at_old_end.ok() ? std::move(at_old_end) : std::move(at_end);
}

// How the copies differ; empty if they do not. Neither says where the other's array is.
std::string Difference(const GptTable& primary, GptTable backup) {
  backup.primary_array_lba = primary.primary_array_lba;
  backup.backup_array_lba = primary.backup_array_lba;
  if (primary == backup) return "";
  const size_t count = std::min(primary.entries.size(), backup.entries.size());
  for (size_t i = 0; i < count; ++i) {
    if (primary.entries[i] != backup.entries[i]) {
      return absl::StrCat("another entry of partition ", i + 1);
    }
  }
  return "another header";
}

void AddCopyFault(GptFault::Where where, uint64_t offset, const absl::Status& status,
                  GptReading& reading) {
  reading.faults.push_back(
      {.where = where, .offset = offset, .message = std::string(status.message())});
}

void CompareCopies(const GptTable& primary, const GptTable& backup, GptReading& reading) {
  const std::string difference = Difference(primary, backup);
  reading.copies_equal = difference.empty();
  // The primary only guessed where the backup's array is.
  reading.table.backup_array_lba = backup.backup_array_lba;
  if (reading.copies_equal) return;
  const uint64_t offset = backup.backup_header_lba * reading.geometry.sector_bytes;
  reading.faults.push_back(
      {.where = GptFault::Where::kBackup,
       .offset = offset,
       .message = absl::StrCat("backup header at byte ", offset,
                               ": expected the same table as the primary, found ", difference)});
}

void CheckPlace(GptReading& reading) {
  const absl::StatusOr<GptTable> moved = Relocated(reading.table, reading.geometry);
  reading.at_end = moved.ok() && *moved == reading.table;
  if (reading.at_end) return;
  const uint64_t offset = reading.table.backup_header_lba * reading.geometry.sector_bytes;
  const std::string why = moved.ok() ? "" : absl::StrCat("; ", moved.status().message());
  reading.faults.push_back(
      {.where = GptFault::Where::kBackup,
       .offset = offset,
       .mendable = moved.ok(),
       .message = absl::StrCat("backup header at byte ", offset, ": expected it at byte ",
                               (reading.geometry.sectors - 1) * reading.geometry.sector_bytes,
                               " and its array behind the usable area", why)});
}

}  // namespace

absl::StatusOr<GptReading> ReadGpt(const BlockDevice& disk) {
  GptReading reading = {.geometry = disk.geometry()};
  KEELSON_ASSIGN_OR_RETURN(reading.mbr, ReadBytes(disk, 0, kMbrBytes));
  const absl::StatusOr<GptTable> primary = ReadCopy(disk, GptCopy::kPrimary, 1);
  const absl::StatusOr<GptTable> backup =
      primary.ok() ? ReadCopy(disk, GptCopy::kBackup, primary->backup_header_lba)
                   : FindBackup(disk, reading.mbr);
  if (!primary.ok() && !backup.ok()) {
    const bool none = absl::IsNotFound(primary.status()) && absl::IsNotFound(backup.status());
    const std::string message = absl::StrCat("'", disk.name(), "': ", primary.status().message(),
                                             "; ", backup.status().message());
    return none ? absl::NotFoundError(message) : absl::DataLossError(message);
  }
  reading.primary_valid = primary.ok();
  reading.backup_valid = backup.ok();
  reading.source = primary.ok() ? GptReading::Source::kPrimary : GptReading::Source::kBackup;
  reading.table = primary.ok() ? *primary : *backup;

  if (std::optional<GptFault> fault = CheckMbr(reading.mbr, reading.geometry)) {
    reading.faults.push_back(*std::move(fault));
  }
  const uint32_t sector_bytes = reading.geometry.sector_bytes;
  if (!primary.ok()) {
    AddCopyFault(GptFault::Where::kPrimary, sector_bytes, primary.status(), reading);
  }
  if (!backup.ok()) {
    AddCopyFault(GptFault::Where::kBackup, reading.table.backup_header_lba * sector_bytes,
                 backup.status(), reading);
  }
  if (primary.ok() && backup.ok()) CompareCopies(*primary, *backup, reading);
  CheckPlace(reading);
  for (GptFault& fault : CheckTable(reading.table, reading.geometry)) {
    reading.faults.push_back(std::move(fault));
  }
  return reading;
}

absl::Status Apply(BlockDevice& disk, std::span<const DiskWrite> writes,
                   const WriteObserver& observer) {
  for (const DiskWrite& write : writes) {
    if (observer) observer(write);
    KEELSON_RETURN_IF_ERROR(Annotate(disk.Write(write.offset, write.data), write.what));
    KEELSON_RETURN_IF_ERROR(Annotate(disk.Flush(), write.what));
  }
  return absl::OkStatus();
}

}  // namespace keelson::partition
