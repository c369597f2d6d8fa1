// The two ways to compute a CRC-32C, for base/crc32c.cc and its test.
#ifndef KEELSON_BASE_INTERNAL_CRC32C_H_
#define KEELSON_BASE_INTERNAL_CRC32C_H_

#include <cstddef>
#include <cstdint>

namespace keelson::crc32c_internal {

// Extends the raw register value `crc` (neither inverted before nor after) by n bytes at p.
using Extend = uint32_t (*)(uint32_t crc, const char* p, size_t n);

// With a table; runs everywhere.
uint32_t ExtendPortable(uint32_t crc, const char* p, size_t n);

// With the processor's instruction; null where there is none.
Extend HardwareExtend();

}  // namespace keelson::crc32c_internal

#endif  // KEELSON_BASE_INTERNAL_CRC32C_H_
