// Fixed-width little-endian numbers in bytes. The bytes must be there: nothing is checked.
#ifndef KEELSON_BASE_LITTLE_ENDIAN_H_
#define KEELSON_BASE_LITTLE_ENDIAN_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace keelson {

static_assert(std::endian::native == std::endian::little,
              "the copies below need byte swaps on a big-endian machine");

inline void StoreLe16(char* out, uint16_t value) { std::memcpy(out, &value, sizeof value); }
inline void StoreLe32(char* out, uint32_t value) { std::memcpy(out, &value, sizeof value); }
inline void StoreLe64(char* out, uint64_t value) { std::memcpy(out, &value, sizeof value); }

inline uint16_t LoadLe16(const char* in) {
  uint16_t value = 0;
  std::memcpy(&value, in, sizeof value);
  return value;
}
inline uint32_t LoadLe32(const char* in) {
  uint32_t value = 0;
  std::memcpy(&value, in, sizeof value);
  return value;
}
inline uint64_t LoadLe64(const char* in) {
  uint64_t value = 0;
  std::memcpy(&value, in, sizeof value);
  return value;
}

// The same in the middle of `bytes`.
inline uint16_t LoadLe16(std::string_view bytes, size_t offset) {
  return LoadLe16(bytes.data() + offset);
}
inline uint32_t LoadLe32(std::string_view bytes, size_t offset) {
  return LoadLe32(bytes.data() + offset);
}
inline void StoreLe16(std::string& bytes, size_t offset, uint16_t value) {
  StoreLe16(bytes.data() + offset, value);
}
inline void StoreLe32(std::string& bytes, size_t offset, uint32_t value) {
  StoreLe32(bytes.data() + offset, value);
}

}  // namespace keelson

#endif  // KEELSON_BASE_LITTLE_ENDIAN_H_
