// Feeds arbitrary bytes to the segment reader and to everything that decodes its records.
// With a right head in front, so that the fuzzer need not find one, and without.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "raft/internal/wal_batch.h"
#include "raft/internal/wal_replay.h"
#include "raft/internal/wal_segment.h"

namespace keelson::raft::wal {
namespace {

void Read(std::string_view bytes) {
  auto reader = SegmentReader::Open("fuzz", bytes);
  if (!reader.ok()) return;
  LogReplay replay(reader->head().next_index);
  uint64_t before = reader->offset();
  while (const std::optional<Record> record = reader->Next()) {
    KEELSON_CHECK(reader->offset() > before && reader->offset() <= bytes.size()) << before;
    before = reader->offset();
    (void)replay.Apply(*record);  // Errors are an answer.
  }
  (void)replay.Check();
  const uint64_t end = reader->ContentEnd();
  KEELSON_CHECK(end >= reader->offset() &&
                end <= std::max<uint64_t>(bytes.size(), reader->offset()))
      << end;
  if (const auto proof = reader->ProofOfSync()) KEELSON_CHECK(*proof >= reader->offset()) << *proof;
  if (reader->CleanEnd()) KEELSON_CHECK(reader->MayBeTorn());
  (void)HighestEntry(bytes, reader->head().incarnation, reader->head().sequence);
}

// The payload decoders, without the checksums that keep random bytes away from them.
void Decode(std::string_view bytes) {
  (void)DecodeSegmentHead(bytes);
  if (auto entry = DecodeEntry(bytes); entry.ok()) {
    KEELSON_CHECK(entry->data.size() + kEntryMetaBytes == bytes.size());
  }
  (void)DecodeHardState(bytes);
  if (auto metadata = DecodeSnapshotMetadata(bytes); metadata.ok()) {
    KEELSON_CHECK(EncodeSnapshotMetadata(*metadata) == bytes);
  }
}

// A log whose records carry the fuzzer's bytes with right checksums.
void Replay(std::string_view bytes) {
  LogReplay replay(1);
  while (bytes.size() >= 2) {
    const auto size = std::min<size_t>(static_cast<unsigned char>(bytes[1]), bytes.size() - 2);
    const RecordHeader header = {.payload_bytes = static_cast<uint32_t>(size),
                                 .type = static_cast<uint8_t>(bytes[0])};
    (void)replay.Apply({.offset = 0, .header = header, .payload = bytes.substr(2, size)});
    bytes.remove_prefix(2 + size);
  }
  if (replay.Check().ok()) KEELSON_CHECK(replay.last_index() >= replay.start().index);
}

}  // namespace
}  // namespace keelson::raft::wal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::raft::wal;  // NOLINT: the entry point must be global
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Read(bytes);
  Decode(bytes);
  Replay(bytes);

  BatchEncoder encoder;
  encoder.Begin({}, 4096);
  encoder.AddSegmentHead({.sequence = 1, .next_index = 1, .segment_bytes = 4096});
  std::string with_head;
  for (const std::string_view piece : encoder.pieces()) with_head += piece;
  Read(with_head + std::string(bytes));
  return 0;
}
