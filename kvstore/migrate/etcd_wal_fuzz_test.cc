// Any bytes as a segment of etcd's log, and any records in one whose checksums are right.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/crc32c.h"
#include "kvstore/bbolt/format.h"
#include "kvstore/migrate/etcd_replay.h"
#include "kvstore/migrate/etcd_wal.h"

namespace keelson::kvstore {
namespace {

void ReadSegment(std::string_view segment, uint64_t after, bool last) {
  EtcdWalReader reader(after);
  if (!reader.Read("fuzz.wal", segment, last).ok()) return;
  (void)reader.Uncertain();
  const auto entries = reader.Committed();
  if (!entries.ok()) return;
  uint64_t index = after;
  for (const EtcdEntry& entry : *entries) {
    KEELSON_CHECK(entry.index() == ++index) << "a gap at " << index;
    (void)ToCommand(entry);
  }
}

// A segment of the records of `input`: each is a byte of type and length, and data.
std::string Framed(std::string_view input) {
  std::string segment;
  uint32_t crc = 0;
  while (!input.empty()) {
    const auto head = static_cast<uint8_t>(input.front());
    const std::string_view data = input.substr(1, head >> 2);
    input.remove_prefix(1 + data.size());
    EtcdLogRecord record;
    record.set_type(2 + (head & 3));  // an entry, a state, a checksum, a snapshot
    record.set_data(std::string(data));
    if (record.type() != 4) crc = ExtendCrc32c(crc, record.data());
    record.set_crc(crc);
    const std::string bytes = record.SerializeAsString();
    const uint64_t padding = (8 - bytes.size() % 8) % 8;
    bbolt::AppendLittle(bytes.size() | (padding == 0 ? 0 : (0x80 | padding) << 56), 8, &segment);
    segment += bytes;
    segment.append(padding, '\0');
  }
  return segment;
}

}  // namespace
}  // namespace keelson::kvstore

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::kvstore;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  ReadSegment(input, 0, /*last=*/false);
  ReadSegment(input, 2, /*last=*/true);
  ReadSegment(Framed(input), 0, /*last=*/true);
  return 0;
}
