// Hashes and salts as text.
#ifndef KEELSON_PARTITION_HEX_H_
#define KEELSON_PARTITION_HEX_H_

#include <string>
#include <string_view>

#include "absl/strings/escaping.h"

namespace keelson::partition {

// Lower-case hexadecimal digits.
inline std::string Hex(std::string_view bytes) {
  return absl::BytesToHexString(absl::string_view(bytes.data(), bytes.size()));
}

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_HEX_H_
