// Finds blocks by their digests.
#ifndef KEELSON_PARTITION_INSTALLER_BLOCK_INDEX_H_
#define KEELSON_PARTITION_INSTALLER_BLOCK_INDEX_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "partition/block_device.h"
#include "partition/installer/image_source.h"
#include "partition/verity/verity_params.h"
#include "partition/verity/work_options.h"

namespace keelson::partition {

// Digests of the first `blocks` blocks of `device` as `params` make them, one behind the other.
// OUT_OF_RANGE: the device is shorter.
absl::StatusOr<std::string> DigestsOf(const BlockDevice& device, const VerityParams& params,
                                      uint64_t blocks, const WorkOptions& options);

// Digests one behind the other, sorted for look-up. A block that is there several times is found
// once.
class BlockIndex {
 public:
  BlockIndex(std::string digests, uint32_t digest_bytes);

  static constexpr uint64_t kNone = UINT64_MAX;
  // The block with `digest`, or kNone.
  [[nodiscard]] uint64_t Find(std::string_view digest) const;

 private:
  [[nodiscard]] std::string_view Digest(uint64_t block) const {
    return std::string_view(digests_).substr(block * digest_bytes_, digest_bytes_);
  }

  const std::string digests_;
  const uint32_t digest_bytes_;
  std::vector<uint64_t> order_;
};

// The indices for which `wanted` is true, as ranges.
std::vector<BlockRange> RangesOf(const std::vector<bool>& wanted);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_INSTALLER_BLOCK_INDEX_H_
