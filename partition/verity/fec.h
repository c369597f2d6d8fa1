// dm-verity's forward error correction: parity that lets damaged blocks be restored.
//
//   KEELSON_ASSIGN_OR_RETURN(const FecShape shape, FecShapeOf(message, roots));
//   KEELSON_RETURN_IF_ERROR(EncodeFec(message, roots, write_parity, {}));
//   ...
//   KEELSON_ASSIGN_OR_RETURN(const auto result, RepairVerity(devices, root_hash, {}));
//
// The message is the data and behind it the hash area, padded by zeros to `rounds` times 255 -
// roots blocks. Byte i of the codewords' area belongs to codeword i: its symbols are the message's
// bytes i, i + stride, i + 2 * stride, ..., with stride = rounds * block_bytes, so that a long
// damage hits many codewords once. Its parity is at byte i * roots of the parity area, which has no
// header. These are the bytes that veritysetup --fec-device writes.
#ifndef KEELSON_PARTITION_VERITY_FEC_H_
#define KEELSON_PARTITION_VERITY_FEC_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "partition/block_device.h"
#include "partition/verity/verify.h"
#include "partition/verity/work_options.h"

namespace keelson::partition {

inline constexpr int kFecRootsMin = 2;
inline constexpr int kFecRootsMax = 24;

// What the parity covers. Devices are not owned.
struct FecMessage {
  VerityPlace place;  // data and hash blocks must have one size
  uint64_t hash_blocks =
      0;  // from the start of the tree; more than it has if something lies behind
};

struct FecShape {
  uint64_t message_blocks = 0;  // without padding: the kernel's fec_blocks
  uint64_t rounds = 0;
  uint64_t bytes = 0;  // of parity

  friend bool operator==(const FecShape&, const FecShape&) = default;
};

// INVALID_ARGUMENT: `roots` out of [2, 24], or block sizes that differ.
absl::StatusOr<FecShape> FecShapeOf(const FecMessage& message, int roots);

// The message that veritysetup makes of `place`: up to the end of the hash device, or up to
// `fec_offset` where the parity is on the same one. INVALID_ARGUMENT: that is not a whole number of
// blocks, or too short for the tree.
absl::StatusOr<FecMessage> MessageOf(const VerityPlace& place, bool fec_on_hash_device,
                                     uint64_t fec_offset);

// Takes parity that belongs at byte `offset` of the parity area. In order.
using ParitySink = std::function<absl::Status(uint64_t offset, std::string_view bytes)>;

// Errors: as FecShapeOf; OUT_OF_RANGE if a device is too short; those of reading and of the sink.
absl::Status EncodeFec(const FecMessage& message, int roots, const ParitySink& sink,
                       const WorkOptions& options);

struct VerityRepair {
  // What was found damaged first. Each of these is then in exactly one of the lists below, and so
  // are blocks that could be judged only after a repair.
  uint64_t damaged_blocks = 0;
  std::vector<VerityFault> repaired;
  std::vector<VerityFault> beyond_repair;
};

struct RepairDevices {
  FecMessage message;
  BlockDevice* data = nullptr;  // as in `message`, to be written
  BlockDevice* hash = nullptr;  // likewise
  const BlockDevice* fec = nullptr;
  uint64_t fec_offset = 0;
  int roots = 2;
};

// Restores what VerifyTree finds damaged. A block is written only if its digest is then right, so
// parity that is damaged itself does no harm. Flushes what it wrote. To try without writing, put
// copy_on_write.h between.
//
// Errors: as VerifyTree and FecShapeOf; OUT_OF_RANGE: the parity is shorter than it must be.
absl::StatusOr<VerityRepair> RepairVerity(const RepairDevices& devices, std::string_view root_hash,
                                          const WorkOptions& options);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_FEC_H_
