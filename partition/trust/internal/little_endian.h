// Little-endian numbers in the middle of bytes. Offsets must be inside them.
#ifndef KEELSON_PARTITION_TRUST_INTERNAL_LITTLE_ENDIAN_H_
#define KEELSON_PARTITION_TRUST_INTERNAL_LITTLE_ENDIAN_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace keelson::partition {

inline uint16_t LoadLe16(std::string_view bytes, size_t offset) {
  return static_cast<uint16_t>(static_cast<uint8_t>(bytes[offset]) |
                               static_cast<uint8_t>(bytes[offset + 1]) << 8);
}

inline uint32_t LoadLe32(std::string_view bytes, size_t offset) {
  return LoadLe16(bytes, offset) | uint32_t{LoadLe16(bytes, offset + 2)} << 16;
}

inline void StoreLe16(std::string& bytes, size_t offset, uint16_t value) {
  bytes[offset] = static_cast<char>(value);
  bytes[offset + 1] = static_cast<char>(value >> 8);
}

inline void StoreLe32(std::string& bytes, size_t offset, uint32_t value) {
  StoreLe16(bytes, offset, static_cast<uint16_t>(value));
  StoreLe16(bytes, offset + 2, static_cast<uint16_t>(value >> 16));
}

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_TRUST_INTERNAL_LITTLE_ENDIAN_H_
