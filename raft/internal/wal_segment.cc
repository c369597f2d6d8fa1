#include "raft/internal/wal_segment.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/crc32c.h"
#include "base/status.h"

namespace keelson::raft::wal {
namespace {

constexpr uint64_t kSectorBytes = 512;  // what a disk writes whole or not at all

bool AllZero(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

// True when the head of segment `bytes` is one of our version but for its version byte.
bool OnlyVersionDamaged(std::string_view bytes) {
  std::string header(bytes.substr(0, kHeaderBytes));
  header[13] = static_cast<char>(kVersion);
  return DecodeHeader(header, Binding{}).has_value();
}

// True when the record whose `header` stands at `offset` lies whole and unharmed in `bytes`.
bool PayloadIntact(std::string_view bytes, uint64_t offset, const RecordHeader& header) {
  const uint64_t size = RecordBytes(header.payload_bytes);
  if (size > bytes.size() - offset) return false;
  const std::string_view payload = bytes.substr(offset + kHeaderBytes, header.payload_bytes);
  const std::string_view padding = bytes.substr(offset + kHeaderBytes + header.payload_bytes,
                                                size - kHeaderBytes - header.payload_bytes);
  return Crc32c(payload) == header.payload_crc && AllZero(padding);
}

}  // namespace

SegmentReader::SegmentReader(std::string_view bytes, const SegmentHead& head,
                             const Record& head_record)
    : bytes_(bytes),
      head_(head),
      head_record_(head_record),
      offset_(RecordBytes(kSegmentHeadBytes)),
      chain_(head_record.header.crc) {}

absl::StatusOr<SegmentReader> SegmentReader::Open(std::string file, std::string_view bytes) {
  constexpr size_t kVersionOffset = 13;
  if (HasSegmentMagic(bytes) && static_cast<uint8_t>(bytes[kVersionOffset]) > kVersion &&
      !OnlyVersionDamaged(bytes)) {
    return absl::UnimplementedError(absl::StrCat("'", file, "' has log format version ",
                                                 static_cast<uint8_t>(bytes[kVersionOffset]),
                                                 "; this program reads version ", kVersion));
  }
  const std::optional<RecordHeader> header = DecodeHeader(bytes, Binding{});
  if (!header.has_value() || header->type != static_cast<uint8_t>(RecordType::kSegmentHead) ||
      !PayloadIntact(bytes, 0, *header)) {
    return absl::DataLossError(absl::StrCat("'", file, "' at 0: the segment head is damaged"));
  }
  const Record record = {
      .offset = 0, .header = *header, .payload = bytes.substr(kHeaderBytes, header->payload_bytes)};
  auto head = DecodeSegmentHead(record.payload);
  if (!head.ok()) return Annotate(head.status(), "'" + file + "' at 0");
  return SegmentReader(bytes, *head, record);
}

std::optional<RecordHeader> SegmentReader::HeaderAt(uint64_t offset) const {
  if (offset >= bytes_.size()) return std::nullopt;
  return DecodeHeader(
      bytes_.substr(offset),
      {.incarnation = head_.incarnation, .sequence = head_.sequence, .offset = offset});
}

std::optional<Record> SegmentReader::Next() {
  const std::optional<RecordHeader> header = HeaderAt(offset_);
  if (!header.has_value() || header->previous_crc != chain_) return std::nullopt;
  if (!PayloadIntact(bytes_, offset_, *header)) return std::nullopt;
  const Record record = {.offset = offset_,
                         .header = *header,
                         .payload = bytes_.substr(offset_ + kHeaderBytes, header->payload_bytes)};
  offset_ += RecordBytes(header->payload_bytes);
  chain_ = header->crc;
  return record;
}

uint64_t SegmentReader::ContentEnd() const {
  // Whole pages first: the preallocated rest of a segment is mostly zeros.
  static constexpr std::array<char, 4096> kZeros{};
  uint64_t end = bytes_.size();
  while (end - offset_ >= kZeros.size() &&
         std::memcmp(bytes_.data() + end - kZeros.size(), kZeros.data(), kZeros.size()) == 0) {
    end -= kZeros.size();
  }
  while (end > offset_ && bytes_[end - 1] == '\0') --end;
  return end;
}

std::optional<uint64_t> SegmentReader::ProofOfSync() const {
  const uint64_t end = ContentEnd();
  uint64_t next = offset_;
  while (next < end) {
    const std::optional<RecordHeader> header = HeaderAt(next);
    if (!header.has_value()) {
      next += kAlignment;
      continue;
    }
    if (header->synced_units * uint64_t{kAlignment} > offset_) return next;
    // Its payload is not searched: what an application stores there proves nothing.
    next += RecordBytes(header->payload_bytes);
  }
  return std::nullopt;
}

bool SegmentReader::MayBeTorn() const {
  const std::string_view rest = bytes_.substr(std::min<uint64_t>(offset_, bytes_.size()));
  if (rest.size() < kHeaderBytes) return true;  // Someone cut the file.
  if (AllZero(rest.substr(0, kHeaderBytes))) return true;
  const std::optional<RecordHeader> header = HeaderAt(offset_);
  // A header lies in one sector. The first bytes of one, and nothing behind, are a write cut short.
  if (!header.has_value()) return ContentEnd() < offset_ + kHeaderBytes;
  if (header->previous_crc != chain_) return true;
  if (RecordBytes(header->payload_bytes) > rest.size()) return true;
  const uint64_t end = offset_ + kHeaderBytes + header->payload_bytes;
  // The sector of the header is there. Are all the others?
  for (uint64_t at = (offset_ / kSectorBytes + 1) * kSectorBytes; at < end; at += kSectorBytes) {
    if (AllZero(bytes_.substr(at, std::min(kSectorBytes, end - at)))) return true;
  }
  return false;
}

std::optional<RecordHeader> SegmentReader::HeaderAlone() const {
  const std::optional<RecordHeader> header = HeaderAt(offset_);
  if (!header.has_value() || header->previous_crc != chain_) return std::nullopt;
  if (RecordBytes(header->payload_bytes) > bytes_.size() - offset_) return std::nullopt;
  return header;
}

void SegmentReader::SkipPayload() {
  const std::optional<RecordHeader> header = HeaderAlone();
  if (!header.has_value()) return;
  offset_ += RecordBytes(header->payload_bytes);
  chain_ = header->crc;
}

bool SegmentReader::Resync() {
  const uint64_t end = ContentEnd();
  for (uint64_t at = offset_ + kAlignment; at < end; at += kAlignment) {
    const std::optional<RecordHeader> header = HeaderAt(at);
    if (!header.has_value()) continue;
    offset_ = at;
    chain_ = header->previous_crc;
    return true;
  }
  return false;
}

SegmentReader SegmentReader::WithoutHead(std::string_view bytes, const SegmentHead& head) {
  SegmentReader reader(bytes, head, Record());
  reader.offset_ = 0;
  return reader;
}

Index HighestEntry(std::string_view bytes, uint64_t incarnation, uint64_t sequence) {
  Index highest = 0;
  for (uint64_t at = 0; at + kHeaderBytes <= bytes.size(); at += kAlignment) {
    const std::optional<RecordHeader> header = DecodeHeader(
        bytes.substr(at), {.incarnation = incarnation, .sequence = sequence, .offset = at});
    if (!header.has_value() || header->type != static_cast<uint8_t>(RecordType::kEntry)) continue;
    if (!PayloadIntact(bytes, at, *header)) continue;
    const auto entry = DecodeEntry(bytes.substr(at + kHeaderBytes, header->payload_bytes));
    if (entry.ok()) highest = std::max(highest, entry->index);
    at += RecordBytes(header->payload_bytes) - kAlignment;
  }
  return highest;
}

}  // namespace keelson::raft::wal
