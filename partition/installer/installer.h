// Writes a new system into the passive slot of a disk, so that a power cut or a kill at any moment
// leaves the old system bootable, and installing again goes on where it stopped.
//
//   InstallTarget target = {.disk = *disk, .slot_type = CoreOsUsrType(), .running = 3};
//   KEELSON_ASSIGN_OR_RETURN(const InstallResult result,
//                            Install(target, source, {.trusted_root_hash = root_hash}));
//
// The steps:
//   1. the hash tree is read from the source and checked against the trusted root hash;
//      until here nothing is written
//   2. the slot can no longer boot                                       one commit of the table
//   3. each block whose digest is not right already: taken from another slot that has it, else
//      from the source; checked, then written
//   4. tree and superblock are written; all is flushed
//   5. all is read back, from the medium, and checked
//   6. the slot boots next, a given number of times                      one commit of the table
//
// There is no journal: what a killed installation wrote is found by reading it. A block counts only
// if its digest is right, whatever was on the disk. So this is also how a delta works: old and new
// image are compared by their digests, and only blocks that the machine does not have are fetched.
#ifndef KEELSON_PARTITION_INSTALLER_INSTALLER_H_
#define KEELSON_PARTITION_INSTALLER_INSTALLER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "partition/block_device.h"
#include "partition/gpt_disk.h"
#include "partition/guid.h"
#include "partition/installer/image_source.h"
#include "partition/slots/failed_versions.h"

namespace keelson::partition {

struct InstallTarget {
  BlockDevice& disk;  // opened for writing; used by nobody else meanwhile
  Guid slot_type;
  std::optional<int> running;      // the slot that this system booted from
  FailedVersions failed_versions;  // versions that are refused
};

struct InstallRequest {
  std::string trusted_root_hash;  // bytes; what a signature vouches for
  std::optional<int> slot;        // empty: PassiveSlot
  // The partition of the hash tree. 0: it follows the data in the slot.
  int hash_partition = 0;
  int tries = 3;
  bool force = false;  // as BeginInstall::force
  // The GUIDs of the partitions become those of the root hash (see PartitionGuidsOf).
  bool rename_guids = true;
};

enum class InstallPhase : uint8_t { kSurvey, kCopy, kFetch, kReadBack };

struct InstallObserver {
  std::function<void(InstallPhase phase, uint64_t done_bytes, uint64_t total_bytes)> progress;
  WriteObserver table_write;  // of each commit
};

struct InstallResult {
  int slot = 0;
  uint64_t kept_blocks = 0;     // were right in the slot already
  uint64_t copied_blocks = 0;   // came from another slot
  uint64_t fetched_blocks = 0;  // came from the source
};

// Errors. Of the first group nothing was written:
//   INVALID_ARGUMENT     the image does not fit the slot, or its description is not sound.
//   PERMISSION_DENIED    the source offers another root hash than the trusted one.
//   FAILED_PRECONDITION  as BeginInstall; or there is no slot to take.
//   DATA_LOSS            the tree does not match the root hash; or the partition table is damaged.
// Of the second, the slot does not boot, and the installation can be repeated:
//   DATA_LOSS            a block of the source, or one that was read back, is not right.
//   any other            from the source or the disk.
absl::StatusOr<InstallResult> Install(const InstallTarget& target, ImageSource& source,
                                      const InstallRequest& request,
                                      const InstallObserver& observer = {});

// What an installation would have to fetch, without writing anything: the data blocks that neither
// the slot nor another one has.
absl::StatusOr<std::vector<BlockRange>> BlocksToFetch(const InstallTarget& target,
                                                      ImageSource& source,
                                                      const InstallRequest& request);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_INSTALLER_INSTALLER_H_
