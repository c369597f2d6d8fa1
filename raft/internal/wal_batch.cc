#include "raft/internal/wal_batch.h"

#include <array>
#include <cstring>

#include "base/check.h"
#include "base/crc32c.h"

namespace keelson::raft::wal {

void BatchEncoder::Begin(const Position& position, size_t scratch_bytes) {
  position_ = position;
  group_ = 0;
  offset_ = position.offset;
  chain_ = position.chain;
  if (scratch_.size() < scratch_bytes) scratch_.resize(scratch_bytes);
  scratch_used_ = 0;
  piece_start_ = 0;
  pieces_.clear();
}

size_t BatchEncoder::ScratchBytes(const Entry& entry) {
  const size_t payload = kEntryMetaBytes + entry.data.size();
  const size_t record = RecordBytes(payload);
  return entry.data.size() <= kCopyBytes ? record : record - entry.data.size();
}

void BatchEncoder::AddSegmentHead(const SegmentHead& head) {
  std::array<char, kSegmentHeadBytes> payload{};
  EncodeSegmentHead(head, payload.data());
  AddRecord(RecordType::kSegmentHead, Binding{}, {payload.data(), payload.size()}, {});
}

void BatchEncoder::AddEntry(const Entry& entry) {
  std::array<char, kEntryMetaBytes> meta{};
  EncodeEntryMeta(entry, meta.data());
  AddRecord(
      RecordType::kEntry,
      {.incarnation = position_.incarnation, .sequence = position_.sequence, .offset = offset_},
      {meta.data(), meta.size()}, entry.data.view());
}

void BatchEncoder::AddHardState(const HardState& state) {
  std::array<char, kLaterHardStateBytes> payload{};
  EncodeHardState(state, payload.data());
  AddRecord(
      RecordType::kHardState,
      {.incarnation = position_.incarnation, .sequence = position_.sequence, .offset = offset_},
      {payload.data(), HardStateBytes(state)}, {});
}

void BatchEncoder::AddSnapshot(RecordType type, std::string_view encoded_metadata) {
  AddRecord(
      type,
      {.incarnation = position_.incarnation, .sequence = position_.sequence, .offset = offset_},
      encoded_metadata, {});
}

void BatchEncoder::AddRecord(RecordType type, const Binding& binding, std::string_view fixed,
                             std::string_view data) {
  const size_t payload_bytes = fixed.size() + data.size();
  const size_t record_bytes = RecordBytes(payload_bytes);
  const size_t padding = record_bytes - kHeaderBytes - payload_bytes;
  const bool copy = data.size() <= kCopyBytes;
  KEELSON_CHECK(scratch_.size() - scratch_used_ >= record_bytes - (copy ? 0 : data.size()))
      << "scratch of " << scratch_.size();

  char* out = scratch_.data() + scratch_used_;
  chain_ =
      EncodeHeader({.payload_crc = ExtendCrc32c(Crc32c(fixed), data),
                    .payload_bytes = static_cast<uint32_t>(payload_bytes),
                    .type = static_cast<uint8_t>(type),
                    .group = group_,
                    .previous_crc = chain_,
                    .synced_units = static_cast<uint32_t>(position_.synced_offset / kAlignment)},
                   binding, out);
  out += kHeaderBytes;
  std::memcpy(out, fixed.data(), fixed.size());
  out += fixed.size();
  scratch_used_ += kHeaderBytes + fixed.size();
  if (copy) {
    if (!data.empty()) std::memcpy(out, data.data(), data.size());
    out += data.size();
    scratch_used_ += data.size();
  } else {
    ClosePiece();
    pieces_.push_back(data);
  }
  std::memset(out, 0, padding);
  scratch_used_ += padding;
  offset_ += record_bytes;
}

void BatchEncoder::ClosePiece() {
  if (scratch_used_ == piece_start_) return;
  pieces_.emplace_back(scratch_.data() + piece_start_, scratch_used_ - piece_start_);
  piece_start_ = scratch_used_;
}

std::span<const std::string_view> BatchEncoder::pieces() {
  ClosePiece();
  return pieces_;
}

}  // namespace keelson::raft::wal
