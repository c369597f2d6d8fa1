// Which partition of which disk is mounted somewhere.
#ifndef KEELSON_PARTITION_GROWTH_MOUNTED_PARTITION_H_
#define KEELSON_PARTITION_GROWTH_MOUNTED_PARTITION_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace keelson::partition {

// What is mounted last at a place, by the kernel's list of mounts.
struct MountSource {
  std::string device_number;  // "254:9"; of btrfs one that stands for no device
  std::string source;         // "/dev/vda9"; of a root that the kernel mounted "/dev/root"

  friend bool operator==(const MountSource&, const MountSource&) = default;
};

// Looks in the text of /proc/self/mountinfo. NOT_FOUND: nothing is mounted at `mount`.
absl::StatusOr<MountSource> FindMountSource(std::string_view mountinfo, std::string_view mount);

struct MountedPartition {
  std::string disk;  // "/dev/vda"
  int number = 0;
};

// NOT_FOUND: as FindMountSource. FAILED_PRECONDITION: what is mounted there is no partition of a
// disk, as with a device mapping, an overlay or memory.
absl::StatusOr<MountedPartition> FindMountedPartition(const std::string& mount);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_GROWTH_MOUNTED_PARTITION_H_
