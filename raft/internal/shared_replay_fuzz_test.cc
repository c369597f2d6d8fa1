// Feeds arbitrary records, as if their checksums were right, to the replay of a shared log.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "raft/internal/shared_replay.h"

namespace keelson::raft::wal {
namespace {

// Each record is a type, a group, a size and a payload; type 0 begins a segment.
void Replay(std::string_view bytes) {
  SharedReplay replay;
  uint64_t sequence = 1;
  (void)replay.OnSegment({.sequence = sequence, .next_index = kManyGroups}, true);
  while (bytes.size() >= 3) {
    const auto size = std::min<size_t>(static_cast<unsigned char>(bytes[2]), bytes.size() - 3);
    const RecordHeader header = {.payload_bytes = static_cast<uint32_t>(size),
                                 .type = static_cast<uint8_t>(bytes[0]),
                                 .group = static_cast<unsigned char>(bytes[1])};
    if (header.type == 0) {
      (void)replay.OnSegment({.sequence = ++sequence, .next_index = kManyGroups}, false);
    } else {
      // Errors are an answer.
      (void)replay.OnRecord({.offset = 0, .header = header, .payload = bytes.substr(3, size)});
    }
    bytes.remove_prefix(3 + size);
  }
  if (!replay.Check().ok()) return;
  for (const auto& [group, log] : replay.groups()) {
    KEELSON_CHECK(log.last_index() >= log.start().index) << group;
    KEELSON_CHECK(!replay.removed().Contains(group)) << group;
  }
}

void Decode(std::string_view bytes) {
  if (const auto head = DecodeGroupHead(bytes); head.ok()) {
    KEELSON_CHECK(EncodeGroupHead(*head) == bytes);
  }
  if (const auto ranges = DecodeGroupRanges(bytes); ranges.ok()) {
    KEELSON_CHECK(EncodeGroupRanges(*ranges) == bytes);
  }
}

}  // namespace
}  // namespace keelson::raft::wal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  keelson::raft::wal::Replay(bytes);
  keelson::raft::wal::Decode(bytes);
  return 0;
}
