// Bytes of a GUID partition table: headers, entry arrays and the protective MBR. Pure.
#ifndef KEELSON_PARTITION_INTERNAL_GPT_CODEC_H_
#define KEELSON_PARTITION_INTERNAL_GPT_CODEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "partition/gpt.h"

namespace keelson::partition {

inline constexpr size_t kMbrBytes = 512;
// No reader needs more, and no damaged header may make us read more.
inline constexpr uint64_t kGptArrayBytesMax = uint64_t{1} << 20;

enum class GptCopy : uint8_t { kPrimary, kBackup };

// "primary" or "backup".
std::string_view GptCopyName(GptCopy copy);

struct GptHeader {
  uint64_t my_lba = 0;
  uint64_t alternate_lba = 0;
  uint64_t first_usable_lba = 0;
  uint64_t last_usable_lba = 0;
  Guid disk_guid;
  uint64_t array_lba = 0;
  uint32_t entry_count = 0;
  uint32_t entry_bytes = 0;
  uint32_t array_crc = 0;
  std::string tail;  // behind the first 92 bytes

  [[nodiscard]] uint64_t array_bytes() const { return uint64_t{entry_count} * entry_bytes; }
};

// CRC-32 of the format: polynomial 0xEDB88320, reflected.
uint32_t Crc32(std::string_view data);

// Decodes and checks the header in `sector` (one whole sector), read at `lba`.
// NOT_FOUND: no signature. DATA_LOSS: anything else that is wrong; says what, where, what was
// expected and what was found.
absl::StatusOr<GptHeader> DecodeHeader(std::string_view sector, GptCopy copy, uint64_t lba,
                                       const Geometry& geometry);

// The table of `header` and of `array` (header.array_bytes() bytes). DATA_LOSS: wrong CRC.
// What the copy does not say, the place of the other array, gets its usual value.
absl::StatusOr<GptTable> DecodeTable(const GptHeader& header, std::string_view array, GptCopy copy,
                                     const Geometry& geometry);

// The array, filled up with zeros to whole sectors.
std::string EncodeArray(const GptTable& table, uint32_t sector_bytes);

// One sector with the header of `copy`, for an array of EncodeArray.
std::string EncodeHeader(const GptTable& table, GptCopy copy, const Geometry& geometry);

// What is wrong with the MBR of a disk that has a GPT. A hybrid MBR (an 0xEE record beside
// others) is sound: people make them on purpose.
std::optional<GptFault> CheckMbr(std::string_view mbr, const Geometry& geometry);

// `mbr` with one protective record; boot code and disk signature (bytes 0 to 445) stay.
std::string MakeProtectiveMbr(std::string_view mbr, const Geometry& geometry);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_INTERNAL_GPT_CODEC_H_
