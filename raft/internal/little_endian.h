// Fixed-width little-endian numbers in byte buffers.
#ifndef KEELSON_RAFT_INTERNAL_LITTLE_ENDIAN_H_
#define KEELSON_RAFT_INTERNAL_LITTLE_ENDIAN_H_

#include <bit>
#include <cstdint>
#include <cstring>

namespace keelson::raft {

static_assert(std::endian::native == std::endian::little,
              "the copies below need byte swaps on a big-endian machine");

inline void StoreLe32(char* out, uint32_t value) { std::memcpy(out, &value, sizeof value); }
inline void StoreLe64(char* out, uint64_t value) { std::memcpy(out, &value, sizeof value); }

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

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_LITTLE_ENDIAN_H_
