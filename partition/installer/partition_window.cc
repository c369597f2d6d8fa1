#include "partition/installer/partition_window.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::partition {

absl::StatusOr<PartitionWindow> PartitionWindow::Open(BlockDevice& disk, const GptTable& table,
                                                      int number) {
  const auto index = static_cast<size_t>(number) - 1;
  const Geometry geometry = disk.geometry();
  if (index >= table.entries.size() || !table.entries[index].used() ||
      table.entries[index].last_lba >= geometry.sectors ||
      table.entries[index].first_lba > table.entries[index].last_lba) {
    return absl::NotFoundError(absl::StrCat("'", disk.name(), "' has no partition ", number));
  }
  const GptEntry& entry = table.entries[index];
  return PartitionWindow(
      disk, absl::StrCat(disk.name(), ", partition ", number),
      entry.first_lba * geometry.sector_bytes,
      Geometry{.sector_bytes = geometry.sector_bytes, .sectors = entry.sectors()});
}

absl::Status PartitionWindow::CheckRange(uint64_t offset, size_t size) const {
  const uint64_t end = geometry_.bytes();
  if (offset <= end && size <= end - offset) return absl::OkStatus();
  return absl::OutOfRangeError(
      absl::StrCat("'", name_, "': [", offset, ", ", offset + size, ") passes the end at ", end));
}

absl::Status PartitionWindow::Read(uint64_t offset, std::span<char> buffer) const {
  KEELSON_RETURN_IF_ERROR(CheckRange(offset, buffer.size()));
  return disk_->Read(start_ + offset, buffer);
}

absl::Status PartitionWindow::Write(uint64_t offset, std::string_view data) {
  KEELSON_RETURN_IF_ERROR(CheckRange(offset, data.size()));
  return disk_->Write(start_ + offset, data);
}

}  // namespace keelson::partition
