// A disk, or a plain file that holds the image of one.
//
//   KEELSON_ASSIGN_OR_RETURN(const auto disk, OpenBlockDevice("/dev/vda", {.write = true}));
//   KEELSON_RETURN_IF_ERROR(disk->Write(512, header));
//   KEELSON_RETURN_IF_ERROR(disk->Flush());   // survives a power cut from here on
//
// What a power cut leaves: all that a successful Flush covered. Each sector of a later write is
// the old one or the new one, in any mixture; nothing else changes. After a failed Write or Flush
// the contents of the touched sectors are unknown: read the disk anew.
#ifndef KEELSON_PARTITION_BLOCK_DEVICE_H_
#define KEELSON_PARTITION_BLOCK_DEVICE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace keelson::partition {

struct Geometry {
  uint32_t sector_bytes = 512;  // logical: 512 or 4096
  uint64_t sectors = 0;

  [[nodiscard]] uint64_t bytes() const { return sector_bytes * sectors; }
  friend bool operator==(const Geometry&, const Geometry&) = default;
};

// Not thread-safe, except that Read may run beside any call.
class BlockDevice {
 public:
  virtual ~BlockDevice() = default;

  // For messages.
  [[nodiscard]] virtual const std::string& name() const = 0;

  // Constant while open. A file's incomplete last sector does not count.
  [[nodiscard]] virtual Geometry geometry() const = 0;

  // Fills `buffer` from byte `offset`. OUT_OF_RANGE if that passes the end.
  virtual absl::Status Read(uint64_t offset, std::span<char> buffer) const = 0;

  // Writes all of `data` at byte `offset`. OUT_OF_RANGE, with nothing written, if that passes the
  // end: a device never grows.
  virtual absl::Status Write(uint64_t offset, std::string_view data) = 0;

  // Makes all that was written durable (fdatasync, which empties the disk's own cache too).
  virtual absl::Status Flush() = 0;

  // Makes later reads come from the medium rather than from memory, as far as the system can: to
  // see what a flush really wrote. Best effort; what is not flushed yet stays in memory.
  virtual void ForgetCache() const {}

  // Has the kernel read the partition table again, where there is one to read it: needed after
  // partitions came, went or moved, not after their attributes changed.
  // FAILED_PRECONDITION: a partition is in use; the kernel goes on with the old table.
  virtual absl::Status RereadPartitions() = 0;
};

struct DeviceOptions {
  // Else Write and Flush fail with PERMISSION_DENIED. A writer is alone: see OpenBlockDevice.
  bool write = false;
  // Its partitions may be mounted or mapped meanwhile: for whoever writes the table alone, or a
  // partition that is held by HoldPartition. Writers still exclude each other.
  bool in_use = false;
  // 0: ask the disk; for a file, where its partition table is found, and 512 without one.
  uint32_t sector_bytes = 0;
};

// Opens a block device or a plain file.
//
// For writing, the open is exclusive: O_EXCL on a block device, which the kernel refuses while
// any of its partitions is mounted or mapped, and an exclusive flock on both, which udev and sfdisk
// honour. Held until the device is destroyed.
//
// Errors:
//   NOT_FOUND            no such file.
//   PERMISSION_DENIED    by the system.
//   FAILED_PRECONDITION  someone holds it; the message names the processes, mounts and mappings.
//   INVALID_ARGUMENT     neither file nor block device, or a sector size that is not 512 or 4096.
absl::StatusOr<std::unique_ptr<BlockDevice>> OpenBlockDevice(const std::string& path,
                                                             const DeviceOptions& options);

// The device of partition `number` of the disk at `path`, such as "/dev/vda3"; empty if that is not
// a block device. NOT_FOUND: the kernel knows no such partition.
absl::StatusOr<std::string> PartitionDevicePath(const std::string& path, int number);

// Keeps a partition from being mounted or mapped until the result is closed. Holds nothing for a
// plain file. FAILED_PRECONDITION: it is in use; the message names by whom. NOT_FOUND: as above.
absl::StatusOr<UniqueFd> HoldPartition(const std::string& path, int number);

// Who uses the file or device `path`, as far as /proc and /sys show to this user: "process 71
// (sfdisk), mounted on /boot". Empty when nobody is seen.
std::string DescribeHolders(const std::string& path);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_BLOCK_DEVICE_H_
