#include "raft/internal/wal_segment.h"

#include <array>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/crc32c.h"
#include "base/status.h"

namespace keelson::raft::wal {
namespace {

bool AllZero(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
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
  if (HasSegmentMagic(bytes) && static_cast<uint8_t>(bytes[kVersionOffset]) > kVersion) {
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

}  // namespace keelson::raft::wal
