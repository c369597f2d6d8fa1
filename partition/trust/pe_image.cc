#include "partition/trust/pe_image.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/little_endian.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

// A program of more than 2 GiB would not fit its own 32-bit fields.
constexpr size_t kFileBytesMax = size_t{1} << 31;
constexpr size_t kDosHeaderBytes = 0x40;
constexpr size_t kCoffHeaderBytes = 24;  // with the signature before it
constexpr size_t kSectionHeaderBytes = 40;
constexpr int kSectionsMax = 96;  // the limit of Windows' loader
constexpr uint16_t kMagic32 = 0x10b;
constexpr uint16_t kMagic64 = 0x20b;
constexpr size_t kCertificateDirectory = 4;

absl::Status Broken(std::string_view what) {
  return absl::DataLossError(absl::StrCat("PE: ", absl::string_view(what.data(), what.size())));
}

absl::Status CheckInside(std::string_view what, uint64_t offset, uint64_t size, uint64_t limit) {
  if (offset <= limit && size <= limit - offset) return absl::OkStatus();
  return Broken(absl::StrFormat("%s is cut off: expected %d bytes from byte %d, found an end at %d",
                                what, size, offset, limit));
}

absl::Status ParseOptionalHeader(std::string_view bytes, size_t header_bytes, PeImage& image) {
  const size_t at = image.optional_header_offset;
  // The fields up to SizeOfHeaders and Subsystem lie at the same places in both forms.
  constexpr size_t kCommonBytes = 72;
  if (header_bytes < kCommonBytes) return Broken("the optional header is cut off");
  const uint16_t magic = LoadLe16(bytes, at);
  if (magic != kMagic32 && magic != kMagic64) {
    return Broken(absl::StrFormat("expected magic 0x10b or 0x20b, found 0x%x", magic));
  }
  image.is_64_bit = magic == kMagic64;
  image.entry_point = LoadLe32(bytes, at + 16);
  image.section_alignment = LoadLe32(bytes, at + 32);
  image.file_alignment = LoadLe32(bytes, at + 36);
  image.image_bytes = LoadLe32(bytes, at + 56);
  image.headers_bytes = LoadLe32(bytes, at + 60);
  image.checksum_offset = static_cast<uint32_t>(at + 64);
  image.checksum = LoadLe32(bytes, at + 64);
  image.subsystem = LoadLe16(bytes, at + 68);
  if (!std::has_single_bit(image.section_alignment) || !std::has_single_bit(image.file_alignment)) {
    return Broken(absl::StrCat("expected alignments that are powers of two, found ",
                               image.section_alignment, " and ", image.file_alignment));
  }
  const size_t directory = image.is_64_bit ? 112 : 96;
  const size_t needed = directory + (kCertificateDirectory + 1) * 8;
  if (header_bytes < needed || LoadLe32(bytes, at + directory - 4) <= kCertificateDirectory) {
    return Broken("expected a data directory with a certificate table");
  }
  image.certificate_entry_offset =
      static_cast<uint32_t>(at + directory + kCertificateDirectory * 8);
  image.certificates_offset = LoadLe32(bytes, image.certificate_entry_offset);
  image.certificates_bytes = LoadLe32(bytes, image.certificate_entry_offset + 4);
  return absl::OkStatus();
}

absl::StatusOr<PeSection> ParseSection(std::string_view bytes, size_t at) {
  PeSection section;
  const std::string_view name = bytes.substr(at, 8);
  section.name = name.substr(0, name.find('\0'));
  section.virtual_bytes = LoadLe32(bytes, at + 8);
  section.virtual_address = LoadLe32(bytes, at + 12);
  section.file_bytes = LoadLe32(bytes, at + 16);
  section.file_offset = LoadLe32(bytes, at + 20);
  section.characteristics = LoadLe32(bytes, at + 36);
  if (section.file_bytes == 0) section.file_offset = 0;
  if (uint64_t{section.virtual_address} + section.virtual_bytes > UINT32_MAX) {
    return Broken(absl::StrFormat("section '%s' ends above 4 GiB in memory", section.name));
  }
  return section;
}

// No two ranges of `sections` overlap, in the file or in memory.
absl::Status CheckOverlap(std::vector<PeSection> sections) {
  std::sort(sections.begin(), sections.end(),
            [](const PeSection& a, const PeSection& b) { return a.file_offset < b.file_offset; });
  const PeSection* before = nullptr;
  for (const PeSection& section : sections) {
    if (section.file_bytes == 0) continue;
    if (before != nullptr && before->file_offset + before->file_bytes > section.file_offset) {
      return Broken(absl::StrFormat("sections '%s' and '%s' overlap at byte %d of the file",
                                    before->name, section.name, section.file_offset));
    }
    before = &section;
  }
  std::sort(sections.begin(), sections.end(), [](const PeSection& a, const PeSection& b) {
    return a.virtual_address < b.virtual_address;
  });
  before = nullptr;
  for (const PeSection& section : sections) {
    if (section.virtual_bytes == 0) continue;
    if (before != nullptr &&
        before->virtual_address + before->virtual_bytes > section.virtual_address) {
      return Broken(absl::StrFormat("sections '%s' and '%s' overlap at 0x%x in memory",
                                    before->name, section.name, section.virtual_address));
    }
    before = &section;
  }
  return absl::OkStatus();
}

absl::Status ParseSections(std::string_view bytes, uint64_t file_bytes, int count, PeImage& image) {
  KEELSON_RETURN_IF_ERROR(CheckInside("the section table", image.section_table_offset,
                                      count * kSectionHeaderBytes, image.headers_bytes));
  for (int i = 0; i < count; ++i) {
    KEELSON_ASSIGN_OR_RETURN(PeSection section, ParseSection(bytes, image.section_table_offset +
                                                                        i * kSectionHeaderBytes));
    if (section.file_bytes != 0) {
      KEELSON_RETURN_IF_ERROR(CheckInside(absl::StrCat("section '", section.name, "'"),
                                          section.file_offset, section.file_bytes, file_bytes));
      if (section.file_offset < image.headers_bytes) {
        return Broken(absl::StrFormat("section '%s' starts at byte %d, inside the headers",
                                      section.name, section.file_offset));
      }
    }
    image.sections.push_back(std::move(section));
  }
  return CheckOverlap(image.sections);
}

// The table is the last thing in the file: what lies behind it would not be signed by anyone.
absl::Status CheckCertificates(uint64_t file_bytes, const PeImage& image) {
  const uint64_t offset = image.certificates_offset;
  const uint64_t size = image.certificates_bytes;
  if (offset == 0 && size == 0) return absl::OkStatus();
  KEELSON_RETURN_IF_ERROR(CheckInside("the certificate table", offset, size, file_bytes));
  if (offset % 8 != 0 || size == 0 || offset + size != file_bytes ||
      offset < image.sections_end()) {
    return Broken(
        absl::StrFormat("expected the certificate table behind byte %d, 8-aligned, up to "
                        "the end at %d; found %d bytes from byte %d",
                        image.sections_end(), file_bytes, size, offset));
  }
  return absl::OkStatus();
}

}  // namespace

const PeSection* PeImage::Find(std::string_view name) const {
  const auto found = std::find_if(sections.begin(), sections.end(),
                                  [&](const PeSection& section) { return section.name == name; });
  return found == sections.end() ? nullptr : &*found;
}

std::string_view PeImage::Contents(std::string_view bytes, const PeSection& section) const {
  return bytes.substr(section.file_offset, std::min(section.virtual_bytes, section.file_bytes));
}

uint32_t PeImage::sections_end() const {
  uint32_t end = headers_bytes;
  for (const PeSection& section : sections) {
    if (section.file_bytes != 0) end = std::max(end, section.file_offset + section.file_bytes);
  }
  return end;
}

uint32_t PeImage::virtual_end() const {
  uint32_t end = 0;
  for (const PeSection& section : sections) {
    end = std::max(end, section.virtual_address + section.virtual_bytes);
  }
  return end;
}

absl::StatusOr<PeImage> ParsePe(std::string_view bytes) {
  return ParsePeHeaders(bytes, bytes.size());
}

absl::StatusOr<PeImage> ParsePeHeaders(std::string_view bytes, uint64_t file_bytes) {
  if (file_bytes >= kFileBytesMax) return Broken("the file has 2 GiB or more");
  if (bytes.size() < kDosHeaderBytes || !bytes.starts_with("MZ")) {
    return Broken("expected 'MZ' at byte 0");
  }
  PeImage image;
  image.pe_offset = LoadLe32(bytes, 0x3c);
  KEELSON_RETURN_IF_ERROR(
      CheckInside("the COFF header", image.pe_offset, kCoffHeaderBytes, bytes.size()));
  if (image.pe_offset % 4 != 0) {
    return Broken(absl::StrCat("expected 'PE' at a multiple of 4, found byte ", image.pe_offset));
  }
  if (bytes.substr(image.pe_offset, 4) != std::string_view("PE\0\0", 4)) {
    return Broken(absl::StrCat("expected 'PE' at byte ", image.pe_offset));
  }
  image.machine = LoadLe16(bytes, image.pe_offset + 4);
  const int section_count = LoadLe16(bytes, image.pe_offset + 6);
  const size_t optional_bytes = LoadLe16(bytes, image.pe_offset + 20);
  image.optional_header_offset = image.pe_offset + kCoffHeaderBytes;
  KEELSON_RETURN_IF_ERROR(CheckInside("the optional header", image.optional_header_offset,
                                      optional_bytes, bytes.size()));
  KEELSON_RETURN_IF_ERROR(ParseOptionalHeader(bytes, optional_bytes, image));
  image.section_table_offset = static_cast<uint32_t>(image.optional_header_offset + optional_bytes);
  KEELSON_RETURN_IF_ERROR(CheckInside("the headers", 0, image.headers_bytes, bytes.size()));
  if (section_count < 1 || section_count > kSectionsMax) {
    return Broken(absl::StrCat("expected 1 to ", kSectionsMax, " sections, found ", section_count));
  }
  KEELSON_RETURN_IF_ERROR(ParseSections(bytes, file_bytes, section_count, image));
  KEELSON_RETURN_IF_ERROR(CheckCertificates(file_bytes, image));
  return image;
}

uint32_t PeChecksum(const PeImage& image, std::string_view bytes) {
  // The one's complement sum of 16-bit words, then the length.
  uint64_t sum = 0;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    if (i == image.checksum_offset || i == image.checksum_offset + 2) continue;
    sum += LoadLe16(bytes, i);
  }
  if (bytes.size() % 2 != 0) sum += static_cast<uint8_t>(bytes.back());
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint32_t>(sum + bytes.size());
}

}  // namespace keelson::partition
