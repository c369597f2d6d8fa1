// The superblock that veritysetup puts before a hash tree: 512 bytes that say how it was made.
//
// The root hash does not cover it and the kernel never reads it: what it says is a hint, which
// verification then proves or refutes.
//
//   offset  bytes  field (integers are little-endian)
//        0      8  "verity", two zeros
//        8      4  version: 1
//       12      4  hash type: 0 or 1
//       16     16  UUID, in the order of its text
//       32     32  name of the hash algorithm, padded by zeros
//       64      4  bytes of a data block
//       68      4  bytes of a hash block
//       72      8  data blocks
//       80      2  bytes of salt
//       82      6  zero
//       88    256  salt, padded by zeros
//      344    168  zero
#ifndef KEELSON_PARTITION_VERITY_SUPERBLOCK_H_
#define KEELSON_PARTITION_VERITY_SUPERBLOCK_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "partition/verity/verity_params.h"

namespace keelson::partition {

inline constexpr size_t kVeritySuperblockBytes = 512;

// Bytes in the order of the text: unlike the GUIDs of a partition table.
using VerityUuid = std::array<uint8_t, 16>;

struct VeritySuperblock {
  VerityUuid uuid{};
  VerityParams params;

  friend bool operator==(const VeritySuperblock&, const VeritySuperblock&) = default;
};

// `superblock.params` must be sound (see ShapeOf). Returns 512 bytes.
std::string EncodeSuperblock(const VeritySuperblock& superblock);

// Reads the first 512 of `bytes`. Bytes that must be zero are not looked at.
//
// Errors:
//   NOT_FOUND         no signature: not a superblock.
//   INVALID_ARGUMENT  fewer than 512 bytes, another version, or parameters that ShapeOf refuses.
absl::StatusOr<VeritySuperblock> DecodeSuperblock(std::string_view bytes);

// 8-4-4-4-12 hexadecimal digits. INVALID_ARGUMENT for anything else.
absl::StatusOr<VerityUuid> ParseVerityUuid(std::string_view text);
std::string ToString(const VerityUuid& uuid);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_SUPERBLOCK_H_
