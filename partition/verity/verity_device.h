// dm-verity devices: the kernel's table of one, and the rules that find its partitions.
//
//   KEELSON_ASSIGN_OR_RETURN(const std::string parameters, VerityTableText(table));
//   mapper.Create("usr", VerityDeviceUuid(uuid, "usr"), {{.sectors = table.sectors(), ...}});
#ifndef KEELSON_PARTITION_VERITY_VERITY_DEVICE_H_
#define KEELSON_PARTITION_VERITY_VERITY_DEVICE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "partition/block_device.h"
#include "partition/guid.h"
#include "partition/verity/device_mapper.h"
#include "partition/verity/superblock.h"
#include "partition/verity/verity_params.h"

namespace keelson::partition {

// What the kernel does when a block is damaged.
enum class OnCorruption : uint8_t { kFailRead, kIgnore, kRestart, kPanic };

struct VerityFecTable {
  std::string device;
  uint64_t start_block = 0;
  uint64_t blocks = 0;  // of the message: FecShape::message_blocks
  int roots = 2;

  friend bool operator==(const VerityFecTable&, const VerityFecTable&) = default;
};

struct VerityTable {
  VerityParams params;
  std::string data_device;  // a path, or MAJOR:MINOR
  std::string hash_device;
  uint64_t hash_start_block = 0;  // of the tree, in hash blocks from the start of the device
  std::string root_hash;          // bytes
  OnCorruption on_corruption = OnCorruption::kFailRead;
  bool ignore_zero_blocks = false;
  bool check_at_most_once = false;
  bool use_tasklets = false;
  std::optional<VerityFecTable> fec;
  // Description of the key with the signature of the root hash; empty: not signed.
  std::string signature_key;

  [[nodiscard]] uint64_t sectors() const { return params.data_bytes() / 512; }
  friend bool operator==(const VerityTable&, const VerityTable&) = default;
};

// The parameters of the target "verity".
// INVALID_ARGUMENT: parameters as ShapeOf, a root hash of another length, or a device or key whose
// name is empty or has blanks, which the table cannot say.
absl::StatusOr<std::string> VerityTableText(const VerityTable& table);

// What the kernel gives back of a table. INVALID_ARGUMENT names the word that is not understood.
absl::StatusOr<VerityTable> ParseVerityTable(std::string_view text);

// "CRYPT-VERITY-<32 digits>-NAME", by which cryptsetup knows its devices.
std::string VerityDeviceUuid(const VerityUuid& uuid, std::string_view name);

// The GUIDs that partitions of a system have (Discoverable Partitions Specification): the first and
// the last 16 bytes of the root hash, in the order of its hexadecimal digits. So a root hash on the
// kernel's command line finds both partitions.
// INVALID_ARGUMENT: fewer than 32 bytes.
struct VerityPartitionGuids {
  Guid data;
  Guid hash;
};
absl::StatusOr<VerityPartitionGuids> PartitionGuidsOf(std::string_view root_hash);

struct VerityActivation {
  std::string name;  // of the device: /dev/mapper/NAME
  VerityUuid uuid{};
  VerityTable table;
};

// Opens the device that stands at a path: as OpenBlockDevice for reading. Comes in from outside for
// tests.
using OpenDevice =
    std::function<absl::StatusOr<std::unique_ptr<BlockDevice>>(const std::string& path)>;

// Makes the device and reads its first and last block through it: the kernel looks at nothing when
// it makes one, so a device with a wrong root hash comes up like any other.
//
// Errors, with no device left: as VerityTableText and DeviceMapper::Create; DATA_LOSS: a block that
// was read, or the tree above it, is damaged. Damage is not asked for with OnCorruption::kIgnore.
absl::StatusOr<DmDevice> ActivateVerity(DeviceMapper& mapper, const VerityActivation& activation,
                                        const OpenDevice& open);

// Makes the kernel verify signatures: puts `signature` (PKCS#7, DER) where a table that names the
// key `description` finds it, for as long as the calling thread lives.
absl::Status AddSignatureKey(const std::string& description, std::string_view signature);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_VERITY_DEVICE_H_
