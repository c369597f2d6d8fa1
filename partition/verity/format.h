// Puts a whole verity area on devices: superblock, hash tree and parity, as veritysetup does.
//
//   const VerityFormat format = {.params = params, .uuid = uuid, .fec = FecArea{.roots = 2}};
//   KEELSON_ASSIGN_OR_RETURN(const VerityAreas areas, AreasOf(format, devices));
//   ... make room for areas.hash_end and areas.fec_end ...
//   KEELSON_ASSIGN_OR_RETURN(const std::string root_hash, FormatVerity(format, devices, {}));
#ifndef KEELSON_PARTITION_VERITY_FORMAT_H_
#define KEELSON_PARTITION_VERITY_FORMAT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "partition/block_device.h"
#include "partition/verity/fec.h"
#include "partition/verity/superblock.h"
#include "partition/verity/verity_params.h"
#include "partition/verity/work_options.h"

namespace keelson::partition {

struct FecArea {
  int roots = 2;
  uint64_t offset = 0;  // in bytes, from the start of its device
};

struct VerityFormat {
  VerityParams params;
  bool superblock = true;
  VerityUuid uuid{};         // of the superblock
  uint64_t hash_offset = 0;  // in bytes, from the start of the hash device
  std::optional<FecArea> fec;
};

// Not owned. One object may stand in several places: then the areas follow each other on it.
struct VerityDevices {
  const BlockDevice* data = nullptr;
  BlockDevice* hash = nullptr;
  BlockDevice* fec = nullptr;  // only with VerityFormat::fec
};

struct VerityAreas {
  VerityPlace place;
  uint64_t hash_end = 0;  // behind the tree, in bytes from the start of the hash device
};

// INVALID_ARGUMENT: parameters as ShapeOf and TreeOffset, or areas that overlap.
absl::StatusOr<VerityAreas> AreasOf(const VerityFormat& format, const VerityDevices& devices);

// The parity's message and shape. The hash device must have its final size. Only with format.fec.
// INVALID_ARGUMENT: as MessageOf and FecShapeOf, or parity that overlaps what it protects.
absl::StatusOr<FecMessage> FecMessageOf(const VerityFormat& format, const VerityDevices& devices);

// Writes tree, parity and, last, the superblock; all durable when it returns the root hash (bytes).
//
// Errors: as AreasOf and FecMessageOf; OUT_OF_RANGE: a device is too short; those of reading and
// writing, after which the area is in an unknown state and without a new superblock.
absl::StatusOr<std::string> FormatVerity(const VerityFormat& format, const VerityDevices& devices,
                                         const WorkOptions& options);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_FORMAT_H_
