// Short names of partition types, for layout files and for people.
//
// Sources: UEFI 2.10 table 5.7; Discoverable Partitions Specification (UAPI.2), x86-64;
// ChromiumOS disk format; Container Linux and Flatcar disk_layout.json.
#ifndef KEELSON_PARTITION_PARTITION_TYPES_H_
#define KEELSON_PARTITION_PARTITION_TYPES_H_

#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "partition/guid.h"

namespace keelson::partition {

struct PartitionType {
  std::string_view name;  // "esp"
  std::string_view guid;  // text in lower case
  std::string_view what;  // "EFI system partition"
};

std::span<const PartitionType> PartitionTypes();

// The type called `text`, or the GUID that it spells. INVALID_ARGUMENT for neither.
absl::StatusOr<Guid> ParsePartitionType(std::string_view text);

// The short name of `type`, or its GUID.
std::string PartitionTypeName(const Guid& type);

// What gptprio and our slots look at.
Guid CoreOsUsrType();
// What cgpt and ChromeOS firmware look at.
Guid ChromeOsKernelType();

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_PARTITION_TYPES_H_
