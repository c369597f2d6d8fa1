// Layout files: which partitions a new disk gets.
//
//   {
//     "disk_size": "8GiB",
//     "alignment": "2MiB",
//     "partitions": [
//       {"number": 1, "label": "EFI-SYSTEM", "type": "esp", "size": "128MiB",
//        "attributes": ["legacy-boot"]},
//       {"number": 3, "label": "USR-A", "type": "coreos-usr", "size": "1GiB",
//        "guid": "7130c94a-213a-4e5a-8e26-6cce9662f132"},
//       {"number": 9, "label": "ROOT", "type": "coreos-resize", "size": "rest"}
//     ]
//   }
//
// Partitions lie on the disk in the order of the file, each on the next multiple of `alignment`.
// "size" is a number with B, KiB, MiB, GiB or TiB, rounded up to sectors, or "rest" for the last
// one (a multiple of 4096 bytes). "disk_size" is that of a disk that is made for the layout and
// nothing else was said. It, "guid", "disk_guid" and "attributes" may be left out; "type" and
// "attributes" take the names of partition_types.h and gpt.h, or a GUID and bit numbers. A key that
// is not one of these is an error. The tables of Container Linux and Flatcar are in
// partition/layouts/.
//
// Threading: values.
#ifndef KEELSON_PARTITION_LAYOUT_H_
#define KEELSON_PARTITION_LAYOUT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "partition/gpt.h"
#include "partition/guid.h"

namespace keelson::partition {

struct LayoutPartition {
  int number = 0;  // from 1
  std::string label;
  Guid type;
  std::optional<Guid> unique;     // made when the disk is, if empty
  std::optional<uint64_t> bytes;  // empty: the rest of the disk
  uint64_t attributes = 0;
};

struct Layout {
  std::optional<Guid> disk_guid;
  std::optional<uint64_t> disk_bytes;
  uint64_t alignment_bytes = uint64_t{1} << 20;
  std::vector<LayoutPartition> partitions;
};

// INVALID_ARGUMENT names the place: "partitions[2].size: ...".
absl::StatusOr<Layout> ParseLayout(std::string_view json);

// The table of `layout` on a disk. GUIDs that the layout leaves open come from `guids`.
// INVALID_ARGUMENT: the partitions do not fit (the message says by how much), or overlap in number,
// GUID or name length.
absl::StatusOr<GptTable> MakeTable(const Layout& layout, const Geometry& geometry,
                                   const GuidSource& guids);

// "128MiB" and the like, in bytes. INVALID_ARGUMENT: no number, no unit, or 2^63 and more.
absl::StatusOr<uint64_t> ParseSize(std::string_view text);

// The shortest exact form: 1048576 is "1MiB", 1000 is "1000B".
std::string SizeText(uint64_t bytes);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_LAYOUT_H_
