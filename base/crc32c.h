// CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected, RFC 3720 appendix B.4).
#ifndef KEELSON_BASE_CRC32C_H_
#define KEELSON_BASE_CRC32C_H_

#include <cstdint>
#include <string_view>

namespace keelson {

// The checksum of the bytes that gave `crc` followed by `data`. Start with 0:
// Crc32c("123456789") == 0xe3069283. Uses the SSE 4.2 instruction where there is one.
uint32_t ExtendCrc32c(uint32_t crc, std::string_view data);

inline uint32_t Crc32c(std::string_view data) { return ExtendCrc32c(0, data); }

}  // namespace keelson

#endif  // KEELSON_BASE_CRC32C_H_
