#include "partition/internal/gpt_codec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

constexpr std::string_view kSignature = "EFI PART";
constexpr uint32_t kRevision = 0x00010000;
constexpr uint32_t kHeaderBytes = 92;

// Places in the header.
constexpr size_t kAtHeaderBytes = 12;
constexpr size_t kAtHeaderCrc = 16;

// Places in an MBR.
constexpr size_t kAtRecords = 446;
constexpr size_t kRecordBytes = 16;
constexpr size_t kAtMbrSignature = 510;
constexpr uint8_t kProtectiveType = 0xee;

template <typename T>
T Get(std::string_view bytes, size_t at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<T>(static_cast<T>(static_cast<uint8_t>(bytes[at + i])) << (8 * i));
  }
  return value;
}

template <typename T>
void Put(std::string& bytes, size_t at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) bytes[at + i] = static_cast<char>(value >> (8 * i));
}

Guid GetGuid(std::string_view bytes, size_t at) {
  Guid guid;
  for (size_t i = 0; i < guid.bytes.size(); ++i)
    guid.bytes[i] = static_cast<uint8_t>(bytes[at + i]);
  return guid;
}

void PutGuid(std::string& bytes, size_t at, const Guid& guid) {
  for (size_t i = 0; i < guid.bytes.size(); ++i) bytes[at + i] = static_cast<char>(guid.bytes[i]);
}

constexpr std::array<uint32_t, 256> kCrcTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
    table[i] = crc;
  }
  return table;
}();

std::string Hex(uint64_t value) { return absl::StrFormat("0x%x", value); }

// Builds the errors of one header.
class HeaderErrors {
 public:
  HeaderErrors(GptCopy copy, uint64_t offset) : copy_(copy), offset_(offset) {}

  [[nodiscard]] std::string Message(const std::string& what) const {
    const std::string_view name = GptCopyName(copy_);
    return absl::StrCat(absl::string_view(name.data(), name.size()), " header at byte ", offset_,
                        ": ", what);
  }
  [[nodiscard]] absl::Status Lost(const char* what, const std::string& expected,
                                  const std::string& found) const {
    return absl::DataLossError(
        Message(absl::StrCat(what, ": expected ", expected, ", found ", found)));
  }

 private:
  const GptCopy copy_;
  const uint64_t offset_;
};

absl::Status CheckRanges(const GptHeader& header, GptCopy copy, const Geometry& geometry,
                         const HeaderErrors& errors) {
  const bool sound_size =
      header.entry_bytes >= kGptEntryBytes && std::has_single_bit(header.entry_bytes);
  if (!sound_size) {
    return errors.Lost("size of an entry", "128 * 2^n", std::to_string(header.entry_bytes));
  }
  if (header.entry_count == 0 || header.array_bytes() > kGptArrayBytesMax) {
    return errors.Lost("number of entries",
                       absl::StrCat("1 to ", kGptArrayBytesMax / header.entry_bytes),
                       std::to_string(header.entry_count));
  }
  if (header.first_usable_lba > header.last_usable_lba) {
    return errors.Lost("last usable LBA", absl::StrCat("at least ", header.first_usable_lba),
                       std::to_string(header.last_usable_lba));
  }
  const uint64_t array = (header.array_bytes() + geometry.sector_bytes - 1) / geometry.sector_bytes;
  if (header.first_usable_lba < 2 + array) {
    // A backup says nothing of where the primary's array is, which may be written from it.
    return errors.Lost("first usable LBA", absl::StrCat("at least ", 2 + array),
                       std::to_string(header.first_usable_lba));
  }
  // [low, high): where the array may be.
  const bool primary = copy == GptCopy::kPrimary;
  const uint64_t low = primary ? header.my_lba + 1 : header.last_usable_lba + 1;
  const uint64_t high = primary ? header.first_usable_lba : header.my_lba;
  const bool fits = low <= high && high <= geometry.sectors && array <= high - low &&
                    header.array_lba >= low && header.array_lba <= high - array;
  if (!fits) {
    return errors.Lost("LBA of the entry array",
                       absl::StrCat("room for ", array, " sectors in [", low, ", ", high, ")"),
                       std::to_string(header.array_lba));
  }
  return absl::OkStatus();
}

GptEntry DecodeEntry(std::string_view bytes) {
  GptEntry entry = {.type = GetGuid(bytes, 0),
                    .unique = GetGuid(bytes, 16),
                    .first_lba = Get<uint64_t>(bytes, 32),
                    .last_lba = Get<uint64_t>(bytes, 40),
                    .attributes = Get<uint64_t>(bytes, 48),
                    .tail = std::string(bytes.substr(kGptEntryBytes))};
  for (size_t i = 0; i < kGptNameUnits; ++i) entry.name[i] = Get<uint16_t>(bytes, 56 + 2 * i);
  return entry;
}

void EncodeEntry(const GptEntry& entry, uint32_t entry_bytes, size_t at, std::string& out) {
  PutGuid(out, at, entry.type);
  PutGuid(out, at + 16, entry.unique);
  Put<uint64_t>(out, at + 32, entry.first_lba);
  Put<uint64_t>(out, at + 40, entry.last_lba);
  Put<uint64_t>(out, at + 48, entry.attributes);
  for (size_t i = 0; i < kGptNameUnits; ++i) Put<uint16_t>(out, at + 56 + 2 * i, entry.name[i]);
  KEELSON_CHECK(entry.tail.size() <= entry_bytes - kGptEntryBytes) << entry.tail.size();
  std::copy(entry.tail.begin(), entry.tail.end(),
            out.begin() + static_cast<std::ptrdiff_t>(at + kGptEntryBytes));
}

uint32_t ProtectiveSectors(const Geometry& geometry) {
  return static_cast<uint32_t>(std::min<uint64_t>(geometry.sectors - 1, 0xffffffff));
}

}  // namespace

std::string_view GptCopyName(GptCopy copy) {
  return copy == GptCopy::kPrimary ? "primary" : "backup";
}

uint32_t Crc32(std::string_view data) {
  uint32_t crc = 0xffffffff;
  for (const char c : data) crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return ~crc;
}

absl::StatusOr<GptHeader> DecodeHeader(std::string_view sector, GptCopy copy, uint64_t lba,
                                       const Geometry& geometry) {
  KEELSON_CHECK(sector.size() == geometry.sector_bytes) << sector.size();
  const HeaderErrors errors(copy, lba * geometry.sector_bytes);
  if (!sector.starts_with(kSignature)) {
    return absl::NotFoundError(errors.Message("expected the signature 'EFI PART', found none"));
  }
  if (const auto revision = Get<uint32_t>(sector, 8); revision >> 16 != kRevision >> 16) {
    return errors.Lost("revision", Hex(kRevision), Hex(revision));
  }
  const auto header_bytes = Get<uint32_t>(sector, kAtHeaderBytes);
  if (header_bytes < kHeaderBytes || header_bytes > sector.size()) {
    return errors.Lost("size of the header",
                       absl::StrCat(kHeaderBytes, " to ", sector.size(), " bytes"),
                       std::to_string(header_bytes));
  }
  std::string covered(sector.substr(0, header_bytes));
  Put<uint32_t>(covered, kAtHeaderCrc, 0);
  const auto crc = Get<uint32_t>(sector, kAtHeaderCrc);
  if (const uint32_t actual = Crc32(covered); actual != crc) {
    return errors.Lost("CRC-32 of the header", Hex(crc), Hex(actual));
  }
  GptHeader header = {.my_lba = Get<uint64_t>(sector, 24),
                      .alternate_lba = Get<uint64_t>(sector, 32),
                      .first_usable_lba = Get<uint64_t>(sector, 40),
                      .last_usable_lba = Get<uint64_t>(sector, 48),
                      .disk_guid = GetGuid(sector, 56),
                      .array_lba = Get<uint64_t>(sector, 72),
                      .entry_count = Get<uint32_t>(sector, 80),
                      .entry_bytes = Get<uint32_t>(sector, 84),
                      .array_crc = Get<uint32_t>(sector, 88),
                      .tail = covered.substr(kHeaderBytes)};
  if (header.my_lba != lba) {
    return errors.Lost("its own LBA", std::to_string(lba), std::to_string(header.my_lba));
  }
  if (copy == GptCopy::kBackup && header.alternate_lba != 1) {
    return errors.Lost("LBA of the primary header", "1", std::to_string(header.alternate_lba));
  }
  if (copy == GptCopy::kPrimary && header.alternate_lba <= header.last_usable_lba) {
    return errors.Lost("LBA of the backup header", absl::StrCat("above ", header.last_usable_lba),
                       std::to_string(header.alternate_lba));
  }
  KEELSON_RETURN_IF_ERROR(CheckRanges(header, copy, geometry, errors));
  return header;
}

absl::StatusOr<GptTable> DecodeTable(const GptHeader& header, std::string_view array, GptCopy copy,
                                     const Geometry& geometry) {
  KEELSON_CHECK(array.size() == header.array_bytes()) << array.size();
  if (const uint32_t actual = Crc32(array); actual != header.array_crc) {
    const std::string_view name = GptCopyName(copy);
    return absl::DataLossError(
        absl::StrCat(absl::string_view(name.data(), name.size()), " entry array at byte ",
                     header.array_lba * geometry.sector_bytes, ": CRC-32: expected ",
                     Hex(header.array_crc), ", found ", Hex(actual)));
  }
  GptTable table = {.disk_guid = header.disk_guid,
                    .first_usable_lba = header.first_usable_lba,
                    .last_usable_lba = header.last_usable_lba,
                    .entry_bytes = header.entry_bytes,
                    .header_tail = header.tail};
  for (size_t at = 0; at < array.size(); at += header.entry_bytes) {
    table.entries.push_back(DecodeEntry(array.substr(at, header.entry_bytes)));
  }
  if (copy == GptCopy::kPrimary) {
    table.primary_array_lba = header.array_lba;
    table.backup_header_lba = header.alternate_lba;
    table.backup_array_lba = header.alternate_lba - ArraySectors(table, geometry.sector_bytes);
  } else {
    table.backup_array_lba = header.array_lba;
    table.backup_header_lba = header.my_lba;
  }
  return table;
}

std::string EncodeArray(const GptTable& table, uint32_t sector_bytes) {
  std::string out(ArraySectors(table, sector_bytes) * sector_bytes, '\0');
  for (size_t i = 0; i < table.entries.size(); ++i) {
    EncodeEntry(table.entries[i], table.entry_bytes, i * table.entry_bytes, out);
  }
  return out;
}

std::string EncodeHeader(const GptTable& table, GptCopy copy, const Geometry& geometry) {
  const size_t header_bytes = kHeaderBytes + table.header_tail.size();
  KEELSON_CHECK(header_bytes <= geometry.sector_bytes) << header_bytes;
  const bool primary = copy == GptCopy::kPrimary;
  std::string out = std::string(kSignature).append(kHeaderBytes - kSignature.size(), '\0');
  Put<uint32_t>(out, 8, kRevision);
  Put<uint32_t>(out, kAtHeaderBytes, static_cast<uint32_t>(header_bytes));
  Put<uint64_t>(out, 24, primary ? 1 : table.backup_header_lba);
  Put<uint64_t>(out, 32, primary ? table.backup_header_lba : 1);
  Put<uint64_t>(out, 40, table.first_usable_lba);
  Put<uint64_t>(out, 48, table.last_usable_lba);
  PutGuid(out, 56, table.disk_guid);
  Put<uint64_t>(out, 72, primary ? table.primary_array_lba : table.backup_array_lba);
  Put<uint32_t>(out, 80, static_cast<uint32_t>(table.entries.size()));
  Put<uint32_t>(out, 84, table.entry_bytes);
  // The sum covers the entries and not what fills the last sector.
  const std::string array = EncodeArray(table, geometry.sector_bytes);
  Put<uint32_t>(out, 88,
                Crc32(std::string_view(array).substr(0, table.entries.size() * table.entry_bytes)));
  out += table.header_tail;
  Put<uint32_t>(out, kAtHeaderCrc, Crc32(out));
  out.resize(geometry.sector_bytes, '\0');
  return out;
}

std::optional<GptFault> CheckMbr(std::string_view mbr, const Geometry& geometry) {
  KEELSON_CHECK(mbr.size() == kMbrBytes) << mbr.size();
  int used = 0;
  size_t protective = 0;
  for (size_t i = 0; i < 4; ++i) {
    const size_t at = kAtRecords + i * kRecordBytes;
    const auto type = static_cast<uint8_t>(mbr[at + 4]);
    used += type != 0 ? 1 : 0;
    if (type == kProtectiveType && Get<uint32_t>(mbr, at + 8) == 1) protective = at;
  }
  const bool is_signed = Get<uint16_t>(mbr, kAtMbrSignature) == 0xaa55;
  const auto fault = [](size_t offset, bool mendable, const std::string& what) {
    return GptFault{.where = GptFault::Where::kMbr,
                    .offset = offset,
                    .mendable = mendable,
                    .message = absl::StrCat("protective MBR at byte ", offset, ": ", what)};
  };
  if (!is_signed) {
    // Without the signature nobody takes the records for partitions.
    return fault(kAtMbrSignature, true, "expected the signature 55 aa, found none");
  }
  if (protective == 0) {
    return fault(kAtRecords, used == 0,
                 absl::StrCat("expected a record of type 0xee that starts at sector 1, found ",
                              used == 0 ? "none" : "only records of other types"));
  }
  const auto sectors = Get<uint32_t>(mbr, protective + 12);
  const uint32_t expected = ProtectiveSectors(geometry);
  if (used == 1 && sectors != expected && sectors != 0xffffffff) {
    return fault(protective, true,
                 absl::StrCat("expected a record of ", expected, " sectors, found ", sectors));
  }
  return std::nullopt;
}

std::string MakeProtectiveMbr(std::string_view mbr, const Geometry& geometry) {
  std::string out(mbr.substr(0, kAtRecords));
  out.resize(kMbrBytes, '\0');
  // First CHS 0/0/2, the sector behind the MBR; last CHS all ones: the disk is larger than CHS.
  constexpr std::string_view kRecord("\x00\x00\x02\x00\xee\xff\xff\xff\x01\x00\x00\x00", 12);
  out.replace(kAtRecords, kRecord.size(), kRecord);
  Put<uint32_t>(out, kAtRecords + 12, ProtectiveSectors(geometry));
  Put<uint16_t>(out, kAtMbrSignature, 0xaa55);
  return out;
}

}  // namespace keelson::partition
