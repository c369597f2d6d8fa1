#include "base/crc32c.h"

#include <array>
#include <cstddef>
#include <cstring>

#include "base/internal/crc32c.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace keelson {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // 0x1EDC6F41 with its bits reversed

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    table[i] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = MakeTable();

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t ExtendSse42(uint32_t crc, const char* p, size_t n) {
  uint64_t wide = crc;
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word = 0;
    std::memcpy(&word, p, sizeof word);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = static_cast<uint32_t>(wide);
  for (; n > 0; --n, ++p) crc = _mm_crc32_u8(crc, static_cast<unsigned char>(*p));
  return crc;
}
#endif

}  // namespace

namespace crc32c_internal {

uint32_t ExtendPortable(uint32_t crc, const char* p, size_t n) {
  for (; n > 0; --n, ++p) {
    crc = kTable[(crc ^ static_cast<unsigned char>(*p)) & 0xff] ^ (crc >> 8);
  }
  return crc;
}

Extend HardwareExtend() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return &ExtendSse42;
#endif
  return nullptr;
}

}  // namespace crc32c_internal

uint32_t ExtendCrc32c(uint32_t crc, std::string_view data) {
  static const crc32c_internal::Extend hardware = crc32c_internal::HardwareExtend();
  static const crc32c_internal::Extend extend =
      hardware != nullptr ? hardware : &crc32c_internal::ExtendPortable;
  return ~extend(~crc, data.data(), data.size());
}

}  // namespace keelson
