#include "partition/growth/growth.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

absl::Status TellKernel(const BlockDevice& disk, const GrowthRequest& request,
                        const GptEntry& entry, GrowthSystem& system) {
  KEELSON_ASSIGN_OR_RETURN(const std::optional<uint64_t> known,
                           system.KernelPartitionBytes(disk, request.partition));
  const uint32_t sector_bytes = disk.geometry().sector_bytes;
  const uint64_t bytes = entry.sectors() * sector_bytes;
  if (!known.has_value() || *known == bytes) return absl::OkStatus();
  return system.ResizePartition(disk, request.partition, entry.first_lba * sector_bytes, bytes);
}

absl::Status GrowFileSystem(const GrowthRequest& request, GrowthSystem& system, Growth& growth) {
  KEELSON_ASSIGN_OR_RETURN(const MountedFileSystem mounted, system.LookAt(request.mount));
  growth.file_system_bytes_before = growth.file_system_bytes = mounted.bytes;
  if (mounted.bytes > growth.partition_bytes) {
    return absl::FailedPreconditionError(absl::StrCat(
        "file system at '", request.mount, "': ", mounted.bytes, " bytes on partition ",
        request.partition, " of ", growth.partition_bytes, " bytes; is it the one in it?"));
  }
  // Compared with the partition as it is, not with what this run made of it: an earlier run may
  // have been cut off before this step.
  if (growth.partition_bytes - mounted.bytes < mounted.block_bytes) return absl::OkStatus();
  KEELSON_RETURN_IF_ERROR(system.ResizeFileSystem(request.mount, mounted, growth.partition_bytes));
  KEELSON_ASSIGN_OR_RETURN(const MountedFileSystem grown, system.LookAt(request.mount));
  growth.file_system_bytes = grown.bytes;
  return absl::OkStatus();
}

}  // namespace

std::string_view FileSystemKindName(FileSystemKind kind) {
  switch (kind) {
    case FileSystemKind::kExt4:
      return "ext4";
    case FileSystemKind::kBtrfs:
      return "btrfs";
    case FileSystemKind::kXfs:
      return "xfs";
  }
  return "unknown";
}

absl::StatusOr<PlannedGrowth> PlanGrowth(const BlockDevice& disk, const GrowthRequest& request) {
  KEELSON_ASSIGN_OR_RETURN(const GptReading reading, ReadGpt(disk));
  KEELSON_RETURN_IF_ERROR(PlanRepair(reading).status());
  KEELSON_ASSIGN_OR_RETURN(const GptTable whole, Relocated(reading.table, reading.geometry));
  const auto index = static_cast<size_t>(request.partition) - 1;
  if (index >= whole.entries.size() || !whole.entries[index].used()) {
    return absl::NotFoundError(
        absl::StrCat("'", disk.name(), "' has no partition ", request.partition));
  }
  const uint32_t sector_bytes = reading.geometry.sector_bytes;
  PlannedGrowth planned = {.bytes_before = whole.entries[index].sectors() * sector_bytes};
  GptTable next = whole;
  KEELSON_ASSIGN_OR_RETURN(const uint64_t sectors,
                           GrowPartition(next, request.partition, std::nullopt));
  if (sectors * sector_bytes - planned.bytes_before < request.bytes_min) next = whole;
  KEELSON_ASSIGN_OR_RETURN(planned.writes, PlanCommit(reading, next));
  planned.entry = next.entries[index];
  planned.bytes = planned.entry.sectors() * sector_bytes;
  return planned;
}

absl::StatusOr<Growth> Grow(BlockDevice& disk, const GrowthRequest& request, GrowthSystem& system,
                            const WriteObserver& observer) {
  KEELSON_ASSIGN_OR_RETURN(const PlannedGrowth planned, PlanGrowth(disk, request));
  KEELSON_RETURN_IF_ERROR(Apply(disk, planned.writes, observer));
  Growth growth = {.partition_bytes_before = planned.bytes_before,
                   .partition_bytes = planned.bytes};
  KEELSON_RETURN_IF_ERROR(TellKernel(disk, request, planned.entry, system));
  if (!request.mount.empty()) KEELSON_RETURN_IF_ERROR(GrowFileSystem(request, system, growth));
  return growth;
}

}  // namespace keelson::partition
