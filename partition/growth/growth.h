// A partition and the mounted file system in it grow to what the disk has room for.
//
//   KEELSON_ASSIGN_OR_RETURN(const Growth growth,
//                            Grow(*disk, {.partition = 9, .mount = "/sysroot"}, RealGrowthSystem()));
//
// Each step looks at what is there rather than at what the step before did, so a power cut between
// them is made good by calling it again:
//
//   1. the table is made whole for the size that the disk has now     (PlanRepair)
//   2. the partition grows into the free space behind it              one commit of the table
//   3. the kernel learns of it, while the partition is in use         BLKPG
//   4. the file system grows to the size of the partition             ext4, btrfs and xfs, mounted
#ifndef KEELSON_PARTITION_GROWTH_GROWTH_H_
#define KEELSON_PARTITION_GROWTH_GROWTH_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "partition/block_device.h"
#include "partition/gpt_disk.h"

namespace keelson::partition {

enum class FileSystemKind : uint8_t { kExt4, kBtrfs, kXfs };
std::string_view FileSystemKindName(FileSystemKind kind);

struct MountedFileSystem {
  FileSystemKind kind = FileSystemKind::kExt4;
  uint64_t bytes = 0;  // what it takes of its device; for btrfs, of the first one
  uint32_t block_bytes = 4096;
};

// What is asked of the kernel. A fake of it is in the test.
class GrowthSystem {
 public:
  virtual ~GrowthSystem() = default;

  // The size that the kernel holds partition `number` of `disk` to have, in bytes; empty where no
  // kernel looks at it, as for a plain file.
  virtual absl::StatusOr<std::optional<uint64_t>> KernelPartitionBytes(const BlockDevice& disk,
                                                                       int number) = 0;

  // Tells the kernel of the partition's new size. Its start does not change.
  virtual absl::Status ResizePartition(const BlockDevice& disk, int number, uint64_t start_bytes,
                                       uint64_t bytes) = 0;

  // What is mounted at `path`. INVALID_ARGUMENT: another kind of file system, or no mount point.
  virtual absl::StatusOr<MountedFileSystem> LookAt(const std::string& path) = 0;

  // Makes it `bytes` large, or as large as its kind can be within that.
  virtual absl::Status ResizeFileSystem(const std::string& path, const MountedFileSystem& mounted,
                                        uint64_t bytes) = 0;
};

// The real one. Needs CAP_SYS_ADMIN and CAP_SYS_RESOURCE. Lives for ever; thread-safe.
GrowthSystem& RealGrowthSystem();

struct GrowthRequest {
  int partition = 0;
  std::string mount;  // where its file system is mounted; empty: only the partition grows
  // Less is not worth a commit: a disk's last sectors are used or not as tools round them.
  uint64_t bytes_min = 2 << 20;
};

struct Growth {
  uint64_t partition_bytes_before = 0;
  uint64_t partition_bytes = 0;
  std::optional<uint64_t> file_system_bytes_before;
  std::optional<uint64_t> file_system_bytes;
};

// The first two steps as writes, and what the partition then is. Errors: as Grow.
struct PlannedGrowth {
  std::vector<DiskWrite> writes;
  GptEntry entry;
  uint64_t bytes_before = 0;  // of the partition
  uint64_t bytes = 0;
};
absl::StatusOr<PlannedGrowth> PlanGrowth(const BlockDevice& disk, const GrowthRequest& request);

// Errors:
//   NOT_FOUND            no such partition.
//   DATA_LOSS            the table contradicts itself: nothing is written.
//   INVALID_ARGUMENT     the file system is of another kind.
//   FAILED_PRECONDITION  the file system is larger than its partition: something is wrong.
//   any other            from the disk or the kernel; call it again.
absl::StatusOr<Growth> Grow(BlockDevice& disk, const GrowthRequest& request, GrowthSystem& system,
                            const WriteObserver& observer = nullptr);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_GROWTH_GROWTH_H_
