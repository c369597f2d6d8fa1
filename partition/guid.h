// GUIDs of disks, partitions and partition types.
//
//   KEELSON_ASSIGN_OR_RETURN(const Guid esp, ParseGuid("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"));
//
// Threading: values.
#ifndef KEELSON_PARTITION_GUID_H_
#define KEELSON_PARTITION_GUID_H_

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace keelson::partition {

// Bytes as on the disk: the first three groups of the text are little-endian, the last two are in
// the order of the text (UEFI 2.10, appendix A).
struct Guid {
  std::array<uint8_t, 16> bytes{};

  // All zeros: the type of an unused entry.
  [[nodiscard]] bool IsZero() const;

  friend bool operator==(const Guid&, const Guid&) = default;
  friend bool operator<(const Guid& a, const Guid& b) { return a.bytes < b.bytes; }
};

// Takes 8-4-4-4-12 hexadecimal digits of any case; INVALID_ARGUMENT for anything else.
absl::StatusOr<Guid> ParseGuid(std::string_view text);

// 8-4-4-4-12 in lower case, the form of PARTUUID.
std::string ToString(const Guid& guid);

// Makes GUIDs that are in use nowhere else. Comes in from outside so that tests repeat.
using GuidSource = std::function<Guid()>;

// Version 4 GUIDs from the kernel's random numbers. Thread-safe.
Guid RandomGuid();

// The version 4 GUID that `bits` make; 6 bits of them are replaced by version and variant.
Guid GuidFromRandomBits(std::array<uint8_t, 16> bits);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_GUID_H_
