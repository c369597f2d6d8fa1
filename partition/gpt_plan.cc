#include "partition/gpt_plan.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "partition/internal/gpt_codec.h"

namespace keelson::partition {
namespace {

// The array first: as long as it does not fit the header, the copy does not count.
void AppendCopy(const GptTable& table, GptCopy copy, const Geometry& geometry,
                std::vector<DiskWrite>& out) {
  const bool primary = copy == GptCopy::kPrimary;
  const uint64_t array_lba = primary ? table.primary_array_lba : table.backup_array_lba;
  const uint64_t header_lba = primary ? 1 : table.backup_header_lba;
  const std::string name(GptCopyName(copy));
  out.push_back({.offset = array_lba * geometry.sector_bytes,
                 .data = EncodeArray(table, geometry.sector_bytes),
                 .what = name + " entry array"});
  out.push_back({.offset = header_lba * geometry.sector_bytes,
                 .data = EncodeHeader(table, copy, geometry),
                 .what = name + " header"});
}

void AppendBoth(const GptTable& table, const Geometry& geometry, std::vector<DiskWrite>& out) {
  AppendCopy(table, GptCopy::kBackup, geometry, out);
  AppendCopy(table, GptCopy::kPrimary, geometry, out);
}

std::string Join(const std::vector<GptFault>& faults) {
  return absl::StrJoin(faults, "; ", [](std::string* out, const GptFault& fault) {
    absl::StrAppend(out, fault.message);
  });
}

absl::Status CheckNext(const Geometry& geometry, const GptTable& next) {
  if (const auto faults = CheckTable(next, geometry); !faults.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("the new table is unsound: ", Join(faults)));
  }
  const absl::StatusOr<GptTable> placed = Relocated(next, geometry);
  if (!placed.ok() || *placed != next) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the new table is not made for this disk: expected its backup header at sector ",
        geometry.sectors - 1, ", found it at ", next.backup_header_lba));
  }
  // What we write, we must be able to read.
  const auto header =
      DecodeHeader(EncodeHeader(next, GptCopy::kPrimary, geometry), GptCopy::kPrimary, 1, geometry);
  if (!header.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the new table cannot be written: ", header.status().message()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<DiskWrite>> PlanRepair(const GptReading& reading) {
  std::vector<GptFault> fatal;
  bool mend_mbr = false;
  for (const GptFault& fault : reading.faults) {
    if (!fault.mendable) fatal.push_back(fault);
    mend_mbr = mend_mbr || fault.where == GptFault::Where::kMbr;
  }
  if (!fatal.empty()) {
    return absl::DataLossError(absl::StrCat("nothing is written to this disk: ", Join(fatal)));
  }
  std::vector<DiskWrite> writes;
  if (reading.source == GptReading::Source::kBackup) {
    // At the old size of the disk: the only valid copy must not be overwritten by its successor.
    AppendCopy(reading.table, GptCopy::kPrimary, reading.geometry, writes);
  }
  if (!reading.at_end) {
    KEELSON_ASSIGN_OR_RETURN(const GptTable moved, Relocated(reading.table, reading.geometry));
    AppendBoth(moved, reading.geometry, writes);
  } else if (reading.source == GptReading::Source::kPrimary && !reading.copies_equal) {
    AppendCopy(reading.table, GptCopy::kBackup, reading.geometry, writes);
  }
  if (mend_mbr) {
    writes.push_back({.offset = 0,
                      .data = MakeProtectiveMbr(reading.mbr, reading.geometry),
                      .what = "protective MBR"});
  }
  return writes;
}

absl::StatusOr<std::vector<DiskWrite>> PlanCommit(const GptReading& reading, const GptTable& next) {
  KEELSON_ASSIGN_OR_RETURN(std::vector<DiskWrite> writes, PlanRepair(reading));
  KEELSON_RETURN_IF_ERROR(CheckNext(reading.geometry, next));
  KEELSON_ASSIGN_OR_RETURN(const GptTable whole, Relocated(reading.table, reading.geometry));
  if (next != whole) AppendBoth(next, reading.geometry, writes);
  return writes;
}

absl::StatusOr<std::vector<DiskWrite>> PlanCreate(const Geometry& geometry,
                                                  std::string_view first_sector,
                                                  const GptTable& table) {
  KEELSON_RETURN_IF_ERROR(CheckNext(geometry, table));
  std::vector<DiskWrite> writes;
  AppendBoth(table, geometry, writes);
  // The whole sector: with 4096 bytes its rest may hold the header of a table for 512.
  std::string sector = MakeProtectiveMbr(first_sector.substr(0, kMbrBytes), geometry);
  sector.resize(geometry.sector_bytes, '\0');
  writes.push_back({.offset = 0, .data = std::move(sector), .what = "protective MBR"});
  return writes;
}

}  // namespace keelson::partition
