// UEFI programs: where the parts of a PE/COFF file lie (Microsoft, "PE Format"; UEFI 2.10, 2.1.1).
//
//   KEELSON_ASSIGN_OR_RETURN(const PeImage image, ParsePe(bytes));
//   const PeSection* linux = image.Find(".linux");
//   std::string_view kernel = image.Contents(bytes, *linux);
//
// The reader is strict: each part lies inside the file and none overlaps another, so that code
// that uses an image needs no checks of its own.
//
// Threading: values.
#ifndef KEELSON_PARTITION_TRUST_PE_IMAGE_H_
#define KEELSON_PARTITION_TRUST_PE_IMAGE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace keelson::partition {

inline constexpr uint16_t kPeMachineX64 = 0x8664;
inline constexpr uint16_t kPeMachineArm64 = 0xaa64;

// Sizes and places are in bytes.
struct PeSection {
  std::string name;              // up to 8 bytes, such as ".text"
  uint32_t virtual_address = 0;  // from the image's base in memory
  uint32_t virtual_bytes = 0;    // what of it is meant: the rest of the file's part is padding
  uint32_t file_offset = 0;      // 0 when file_bytes is
  uint32_t file_bytes = 0;       // a multiple of the file alignment
  uint32_t characteristics = 0;

  friend bool operator==(const PeSection&, const PeSection&) = default;
};

struct PeImage {
  uint16_t machine = 0;
  bool is_64_bit = false;  // PE32+, else PE32
  uint32_t pe_offset = 0;  // of "PE\0\0"
  uint32_t optional_header_offset = 0;
  uint32_t checksum_offset = 0;
  uint32_t checksum = 0;
  uint32_t section_table_offset = 0;
  uint32_t headers_bytes = 0;  // SizeOfHeaders
  uint32_t section_alignment = 0;
  uint32_t file_alignment = 0;
  uint32_t image_bytes = 0;  // SizeOfImage, in memory
  uint32_t entry_point = 0;
  uint16_t subsystem = 0;  // 10 is an EFI application
  // The entry of the certificate table in the data directory: 8 bytes, a file offset and a size.
  uint32_t certificate_entry_offset = 0;
  uint32_t certificates_offset = 0;  // 0: there are none
  uint32_t certificates_bytes = 0;
  std::vector<PeSection> sections;  // in the order of the table

  // The first section of that name; null if there is none.
  [[nodiscard]] const PeSection* Find(std::string_view name) const;

  // min(virtual_bytes, file_bytes) bytes. `bytes` is what the image was parsed from.
  [[nodiscard]] std::string_view Contents(std::string_view bytes, const PeSection& section) const;

  // Where the last section of the file ends, or the headers if there is none.
  [[nodiscard]] uint32_t sections_end() const;

  // Where the section that is highest in memory ends.
  [[nodiscard]] uint32_t virtual_end() const;
};

// Errors:
//   DATA_LOSS  `bytes` is no PE file, is cut off, or contradicts itself. The message names the part
//              and says what was expected and found.
absl::StatusOr<PeImage> ParsePe(std::string_view bytes);

// As ParsePe for a file of `file_bytes` of which `start` is the beginning: enough if it holds the
// headers, which are seldom more than 4096 bytes.
absl::StatusOr<PeImage> ParsePeHeaders(std::string_view start, uint64_t file_bytes);

// The CheckSum of a whole file, with that field itself taken as zero.
uint32_t PeChecksum(const PeImage& image, std::string_view bytes);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_TRUST_PE_IMAGE_H_
