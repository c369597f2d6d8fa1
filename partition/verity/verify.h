// Checks data against a dm-verity hash tree, without the kernel.
//
//   KEELSON_ASSIGN_OR_RETURN(const VerityReport report, VerifyTree(place, root_hash, {}));
//   if (!report.ok()) return absl::DataLossError(report.faults.front().message);
//
// Works from the root hash down: a block counts only if the block above it is right. So the blocks
// under a damaged hash block cannot be judged; they are counted, and are no faults of their own.
#ifndef KEELSON_PARTITION_VERITY_VERIFY_H_
#define KEELSON_PARTITION_VERITY_VERIFY_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "partition/block_device.h"
#include "partition/verity/verity_params.h"
#include "partition/verity/work_options.h"

namespace keelson::partition {

// Where data and tree are. The devices may be one and the same; not owned.
struct VerityPlace {
  const BlockDevice* data = nullptr;
  const BlockDevice* hash = nullptr;
  uint64_t tree_offset = 0;  // in bytes, from the start of `hash`: see TreeOffset
  VerityParams params;
};

struct VerityFault {
  static constexpr int kData = -1;

  int level = kData;     // of the tree, 0 being above the data; or kData
  uint64_t block = 0;    // in its level, or of the data
  uint64_t offset = 0;   // in bytes, from the start of its device
  std::string expected;  // digest, as bytes
  std::string message;   // "data block 4 at byte 16384 of 'x': expected sha256 ..., found ..."
};

struct VerityReport {
  std::vector<VerityFault> faults;  // of the tree from the top down, then of the data; in order
  uint64_t unjudged_blocks = 0;     // data blocks under a damaged hash block

  [[nodiscard]] bool ok() const { return faults.empty(); }
};

// Reads the whole tree and all data. Faults are in the report.
//
// Errors:
//   INVALID_ARGUMENT, UNAVAILABLE  as BlockHasher::Create; or `root_hash` (bytes) has another size.
//   OUT_OF_RANGE                   a device is too short for what `place` says.
//   any other                      passed through from reading.
absl::StatusOr<VerityReport> VerifyTree(const VerityPlace& place, std::string_view root_hash,
                                        const WorkOptions& options);

// Checks that both devices are long enough. OUT_OF_RANGE names the one that is not.
absl::Status CheckPlace(const VerityPlace& place);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_VERIFY_H_
