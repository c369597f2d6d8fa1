#include "partition/verity/verity_params.h"

#include <array>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

constexpr std::array<std::pair<std::string_view, uint32_t>, 5> kAlgorithms = {
    {{"sha1", 20}, {"sha224", 28}, {"sha256", 32}, {"sha384", 48}, {"sha512", 64}}};

constexpr uint32_t kSuperblockBytes = 512;

absl::Status CheckBlockBytes(const char* which, uint32_t bytes) {
  if (std::has_single_bit(bytes) && bytes >= kVerityBlockBytesMin &&
      bytes <= kVerityBlockBytesMax) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(which, " block size ", bytes, ": expected a power of two from ",
                   kVerityBlockBytesMin, " to ", kVerityBlockBytesMax));
}

absl::Status CheckParams(const VerityParams& params) {
  if (params.hash_type > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("hash type ", params.hash_type, ": expected 0 or 1"));
  }
  if (DigestBytes(params.algorithm) == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("hash algorithm '", params.algorithm,
                     "': expected sha1, sha224, sha256, sha384 or sha512"));
  }
  KEELSON_RETURN_IF_ERROR(CheckBlockBytes("data", params.data_block_bytes));
  KEELSON_RETURN_IF_ERROR(CheckBlockBytes("hash", params.hash_block_bytes));
  if (params.salt.size() > kVeritySaltBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("salt of ", params.salt.size(), " bytes: at most ", kVeritySaltBytesMax));
  }
  if (params.data_blocks == 0) {
    return absl::InvalidArgumentError("no data blocks: at least one is needed");
  }
  if (params.data_blocks > (uint64_t{1} << 63) / params.data_block_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(params.data_blocks, " data blocks of ",
                                                   params.data_block_bytes,
                                                   " bytes: more than 2^63 bytes"));
  }
  return absl::OkStatus();
}

}  // namespace

uint32_t DigestBytes(std::string_view algorithm) {
  for (const auto& [name, bytes] : kAlgorithms) {
    if (name == algorithm) return bytes;
  }
  return 0;
}

absl::StatusOr<TreeShape> ShapeOf(const VerityParams& params) {
  KEELSON_RETURN_IF_ERROR(CheckParams(params));
  TreeShape shape = {.digest_bytes = DigestBytes(params.algorithm)};
  shape.slot_bytes = params.hash_type == 0 ? shape.digest_bytes : std::bit_ceil(shape.digest_bytes);
  // Also with digests side by side a block holds a power of two of them.
  shape.digests_per_block = std::bit_floor(params.hash_block_bytes / shape.digest_bytes);
  for (uint64_t below = params.data_blocks; below > 1;) {
    below = (below + shape.digests_per_block - 1) / shape.digests_per_block;
    shape.levels.push_back({.blocks = below});
  }
  // The top comes first.
  for (auto level = shape.levels.rbegin(); level != shape.levels.rend(); ++level) {
    level->first_block = shape.blocks;
    shape.blocks += level->blocks;
  }
  return shape;
}

absl::StatusOr<uint64_t> TreeOffset(uint64_t hash_offset, bool superblock,
                                    uint32_t hash_block_bytes) {
  const uint32_t unit = superblock ? kSuperblockBytes : hash_block_bytes;
  if (hash_offset % unit != 0 || hash_offset >> 62 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("hash offset ", hash_offset, ": expected a multiple of ", unit));
  }
  if (!superblock) return hash_offset;
  return (hash_offset + kSuperblockBytes + hash_block_bytes - 1) / hash_block_bytes *
         hash_block_bytes;
}

}  // namespace keelson::partition
