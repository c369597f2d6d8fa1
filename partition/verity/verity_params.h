// The parameters of a dm-verity hash tree, and the shape that follows from them.
//
//   VerityParams params = {.data_blocks = device.bytes() / 4096, .salt = salt};
//   KEELSON_ASSIGN_OR_RETURN(const TreeShape shape, ShapeOf(params));
//   const uint64_t bytes = shape.blocks * params.hash_block_bytes;
//
// The tree in its stored order, for two levels: the top block, then the leaves.
//
//   [level 1: 1 block][level 0: ceil(data_blocks / digests_per_block) blocks]
//
// Each hash block holds the digests of the blocks below it, in order; unused space is zero. The
// digest of the top block is the root hash. One data block needs no tree: its digest is the root
// hash. Source: Linux Documentation/admin-guide/device-mapper/verity.rst, and what veritysetup
// writes.
//
// Threading: values.
#ifndef KEELSON_PARTITION_VERITY_VERITY_PARAMS_H_
#define KEELSON_PARTITION_VERITY_VERITY_PARAMS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keelson::partition {

inline constexpr uint32_t kVerityBlockBytesMin = 512;
inline constexpr uint32_t kVerityBlockBytesMax = 512 * 1024;
inline constexpr size_t kVeritySaltBytesMax = 256;

struct VerityParams {
  // 1: digest of salt and block, each digest padded to a power of two. 0, of ChromeOS: digest of
  // block and salt, digests side by side.
  uint32_t hash_type = 1;
  std::string algorithm = "sha256";  // sha1, sha224, sha256, sha384 or sha512
  uint32_t data_block_bytes = 4096;  // a power of two, kVerityBlockBytesMin to Max
  uint32_t hash_block_bytes = 4096;  // likewise
  uint64_t data_blocks = 0;          // at least 1
  std::string salt;                  // bytes, at most kVeritySaltBytesMax

  [[nodiscard]] uint64_t data_bytes() const { return data_blocks * data_block_bytes; }
  friend bool operator==(const VerityParams&, const VerityParams&) = default;
};

struct TreeLevel {
  uint64_t first_block = 0;  // counted from the start of the tree
  uint64_t blocks = 0;

  friend bool operator==(const TreeLevel&, const TreeLevel&) = default;
};

struct TreeShape {
  uint32_t digest_bytes = 0;
  uint32_t slot_bytes = 0;         // what a digest takes in a hash block
  uint64_t digests_per_block = 0;  // a power of two
  std::vector<TreeLevel> levels;   // [0] holds the digests of data blocks, back() is the top block
  uint64_t blocks = 0;             // of all levels

  friend bool operator==(const TreeShape&, const TreeShape&) = default;
};

// INVALID_ARGUMENT names the parameter that is out of range, or a size beyond 2^63 bytes.
absl::StatusOr<TreeShape> ShapeOf(const VerityParams& params);

// Where the tree starts, in bytes from the start of the hash device: behind the superblock at
// `hash_offset`, or at `hash_offset` without one.
// INVALID_ARGUMENT: `hash_offset` is not a multiple of 512, or without a superblock of a hash
// block.
absl::StatusOr<uint64_t> TreeOffset(uint64_t hash_offset, bool superblock,
                                    uint32_t hash_block_bytes);

// Bytes of one digest; 0 for an algorithm that is not supported.
uint32_t DigestBytes(std::string_view algorithm);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_VERITY_PARAMS_H_
