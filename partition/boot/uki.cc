#include "partition/boot/uki.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/little_endian.h"
#include "base/status.h"
#include "partition/trust/authenticode.h"
#include "partition/trust/pe_image.h"

namespace keelson::partition {
namespace {

constexpr uint32_t kPageBytes = 4096;
constexpr uint32_t kSectionHeaderBytes = 40;
constexpr uint32_t kReadableData = 0x40000040;
constexpr size_t kNameBytes = 8;
// A larger image could not be described in 32 bits with room to spare.
constexpr uint64_t kUkiBytesMax = uint64_t{1} << 31;

struct NamedPart {
  const char* name;
  std::string UkiParts::*contents;
};
// In the order of the sections.
constexpr NamedPart kParts[] = {
    {".osrel", &UkiParts::os_release}, {".cmdline", &UkiParts::cmdline},
    {".uname", &UkiParts::uname},      {".splash", &UkiParts::splash},
    {".dtb", &UkiParts::devicetree},   {".initrd", &UkiParts::initrd},
    {".linux", &UkiParts::linux},
};

uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

absl::Status CheckParts(const PeImage& stub, const UkiParts& parts) {
  if (parts.linux.empty()) return absl::InvalidArgumentError("there is no kernel");
  const absl::StatusOr<PeImage> kernel = ParsePe(parts.linux);
  if (!kernel.ok()) return Annotate(kernel.status(), "kernel");
  if (kernel->machine != stub.machine) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the kernel is for machine 0x%04x, the stub for 0x%04x", kernel->machine, stub.machine));
  }
  if (parts.cmdline.find_first_of(std::string_view("\n\0", 2)) != std::string::npos) {
    return absl::InvalidArgumentError("the command line has a line end or a zero in it");
  }
  uint64_t total = 0;
  for (const NamedPart& part : kParts) {
    total += (parts.*part.contents).size();
    if (!(parts.*part.contents).empty() && stub.Find(part.name) != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrFormat("the stub has a section '%s' already", part.name));
    }
  }
  if (total >= kUkiBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("the parts have ", total, " bytes: expected less than ", kUkiBytesMax));
  }
  return absl::OkStatus();
}

// Writes the headers and contents of sections behind those that an image has.
class SectionWriter {
 public:
  SectionWriter(const PeImage& stub, std::string image)
      : stub_(stub),
        image_(std::move(image)),
        header_(stub.section_table_offset +
                static_cast<uint32_t>(stub.sections.size()) * kSectionHeaderBytes),
        count_(static_cast<uint16_t>(stub.sections.size())),
        address_(RoundUp(stub.virtual_end(), kPageBytes)),
        end_(stub.virtual_end()) {}

  void Add(const char* name, const std::string& contents) {
    const auto size = static_cast<uint32_t>(contents.size());
    const auto padded = static_cast<uint32_t>(RoundUp(size, stub_.file_alignment));
    image_.replace(header_, kNameBytes, std::string(name).append(kNameBytes, '\0'), 0, kNameBytes);
    StoreLe32(image_, header_ + 8, size);
    StoreLe32(image_, header_ + 12, static_cast<uint32_t>(address_));
    StoreLe32(image_, header_ + 16, padded);
    StoreLe32(image_, header_ + 20, static_cast<uint32_t>(image_.size()));
    StoreLe32(image_, header_ + 36, kReadableData);
    image_ += contents;
    image_.append(padded - size, '\0');
    header_ += kSectionHeaderBytes;
    ++count_;
    data_bytes_ += padded;
    end_ = address_ + size;
    address_ = RoundUp(end_, kPageBytes);
  }

  std::string Finish() && {
    StoreLe16(image_, stub_.pe_offset + 6, count_);
    const uint32_t optional = stub_.optional_header_offset;
    StoreLe32(image_, optional + 8,  // SizeOfInitializedData
              LoadLe32(image_, optional + 8) + data_bytes_);
    StoreLe32(image_, optional + 56,  // SizeOfImage
              static_cast<uint32_t>(RoundUp(end_, stub_.section_alignment)));
    StoreLe32(image_, stub_.checksum_offset, PeChecksum(stub_, image_));
    return std::move(image_);
  }

 private:
  const PeImage& stub_;
  std::string image_;
  uint32_t header_;
  uint16_t count_;
  uint32_t data_bytes_ = 0;
  uint64_t address_;
  uint64_t end_;
};

std::string Unquoted(std::string_view value) {
  const bool quoted = value.size() >= 2 && (value.front() == '"' || value.front() == '\'') &&
                      value.back() == value.front();
  if (!quoted) return std::string(value);
  std::string out;
  value = value.substr(1, value.size() - 2);
  for (size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '\\' && i + 1 < value.size()) ++i;
    out += value[i];
  }
  return out;
}

}  // namespace

absl::StatusOr<std::string> AssembleUki(std::string_view stub, const UkiParts& parts) {
  const absl::StatusOr<std::string> unsigned_stub = RemovePeSignatures(stub);
  if (!unsigned_stub.ok()) return Annotate(unsigned_stub.status(), "stub");
  KEELSON_ASSIGN_OR_RETURN(const PeImage image, ParsePe(*unsigned_stub));
  KEELSON_RETURN_IF_ERROR(CheckParts(image, parts));

  const auto count = static_cast<size_t>(
      std::count_if(std::begin(kParts), std::end(kParts),
                    [&](const NamedPart& part) { return !(parts.*part.contents).empty(); }));
  uint64_t first_byte = image.headers_bytes;
  uint64_t first_address = image.headers_bytes;
  for (const PeSection& section : image.sections) {
    if (section.file_bytes != 0) first_byte = std::min<uint64_t>(first_byte, section.file_offset);
    first_address = std::min<uint64_t>(first_address, section.virtual_address);
  }
  const uint64_t table_end =
      image.section_table_offset + (image.sections.size() + count) * kSectionHeaderBytes;
  if (table_end > std::min(first_byte, first_address)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the stub's headers have no room: expected %d bytes for %d sections, found %d", table_end,
        image.sections.size() + count, std::min(first_byte, first_address)));
  }

  // Symbols behind the sections are of no use to firmware and would lie between sections.
  std::string bytes = unsigned_stub->substr(0, image.sections_end());
  bytes.append(RoundUp(bytes.size(), image.file_alignment) - bytes.size(), '\0');
  StoreLe32(bytes, image.pe_offset + 12, 0);  // PointerToSymbolTable
  StoreLe32(bytes, image.pe_offset + 16, 0);  // NumberOfSymbols
  SectionWriter writer(image, std::move(bytes));
  for (const NamedPart& part : kParts) {
    if (!(parts.*part.contents).empty()) writer.Add(part.name, parts.*part.contents);
  }
  return std::move(writer).Finish();
}

absl::StatusOr<UkiParts> ParseUki(std::string_view uki) {
  KEELSON_ASSIGN_OR_RETURN(const PeImage image, ParsePe(uki));
  UkiParts parts;
  for (const NamedPart& part : kParts) {
    const PeSection* section = image.Find(part.name);
    if (section != nullptr) parts.*part.contents = image.Contents(uki, *section);
  }
  if (parts.linux.empty()) {
    return absl::InvalidArgumentError("it is no unified kernel image: there is no '.linux' in it");
  }
  return parts;
}

std::map<std::string, std::string> ParseOsRelease(std::string_view text) {
  std::map<std::string, std::string> values;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos || equals == 0 || line[0] == '#') continue;
    values[std::string(line.substr(0, equals))] = Unquoted(line.substr(equals + 1));
  }
  return values;
}

UkiIdentity IdentityOf(const std::map<std::string, std::string>& os_release) {
  const auto first = [&](std::initializer_list<const char*> keys) {
    for (const char* key : keys) {
      const auto found = os_release.find(key);
      if (found != os_release.end() && !found->second.empty()) return found->second;
    }
    return std::string();
  };
  return {.title = first({"PRETTY_NAME", "IMAGE_ID", "NAME", "ID"}),
          .sort_key = first({"IMAGE_ID", "ID"}),
          .version = first({"IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"})};
}

}  // namespace keelson::partition
