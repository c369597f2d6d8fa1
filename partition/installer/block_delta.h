// A delta of two images, by blocks: the new hash tree and those blocks of the new image whose
// digests the old one does not have.
//
// Who has the old image installs it as it is. Applied to anything else it is refused, or, with
// blocks that the machine happens to have, gives the same new image: the installer checks each
// block against the new tree.
//
//   offset  bytes  field (integers are little-endian)
//        0      8  "KEELSDL1"
//        8    512  verity superblock of the new image
//      520      1  1: the image has that superblock, 0: it only says the parameters here
//      521      1  bytes of the root hash, then the root hash in 64 bytes, padded by zeros
//      586      2  bytes of the version, then the version
//        .      8  number of ranges, then each: first block, count (8 bytes both), ascending, apart
//        .      .  hash tree
//        .      .  the blocks of the ranges, in order
//
// Compression is for the transport: a delta compresses as an image does.
#ifndef KEELSON_PARTITION_INSTALLER_BLOCK_DELTA_H_
#define KEELSON_PARTITION_INSTALLER_BLOCK_DELTA_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "partition/block_device.h"
#include "partition/installer/image_source.h"

namespace keelson::partition {

struct DeltaSize {
  uint64_t image_blocks = 0;
  uint64_t changed_blocks = 0;  // in the delta
  uint64_t bytes = 0;           // of the delta
};

enum class DeltaPhase : uint8_t { kOldImage, kWrite };
// Told how many bytes of a phase are done, by one thread at a time.
using DeltaProgress =
    std::function<void(DeltaPhase phase, uint64_t done_bytes, uint64_t total_bytes)>;

// Writes the delta from the image on `old_image` to `source` into `out`, an empty file.
absl::StatusOr<DeltaSize> WriteBlockDelta(const BlockDevice& old_image, ImageSource& source,
                                          File& out, const DeltaProgress& progress = nullptr);

class BlockDeltaSource final : public ImageSource {
 public:
  // Takes `file`. INVALID_ARGUMENT: not a delta, cut off, or one that contradicts itself.
  static absl::StatusOr<std::unique_ptr<BlockDeltaSource>> Open(std::unique_ptr<File> file);

  [[nodiscard]] const ImageDescription& description() const override { return description_; }
  absl::Status ReadTree(std::span<char> tree) override;
  absl::Status Fetch(std::span<const BlockRange> wanted, const BlockSink& sink) override;

 private:
  BlockDeltaSource() = default;

  std::unique_ptr<File> file_;
  ImageDescription description_;
  std::vector<BlockRange> ranges_;
  uint64_t tree_at_ = 0;
  uint64_t tree_bytes_ = 0;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_INSTALLER_BLOCK_DELTA_H_
