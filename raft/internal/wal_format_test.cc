#include "raft/internal/wal_format.h"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "base/crc32c.h"
#include "base/file_system.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/internal/wal_batch.h"
#include "raft/internal/wal_segment.h"
#include "raft/snapshot_store.h"

namespace keelson::raft::wal {
namespace {

using absl::StatusCode;

constexpr Binding kBinding = {.incarnation = 1, .sequence = 2, .offset = 96};

std::string Encoded(const RecordHeader& header) {
  std::string bytes(kHeaderBytes, '\0');
  EncodeHeader(header, kBinding, bytes.data());
  return bytes;
}

TEST_CASE("A header comes back, and only at its own place", "[raft][wal][format]") {
  const RecordHeader header = {.payload_crc = 5,
                               .payload_bytes = kMaxPayloadBytes,
                               .type = 2,
                               .group = ~uint64_t{0},
                               .previous_crc = 7,
                               .synced_units = 3};
  const std::string bytes = Encoded(header);

  std::optional<RecordHeader> decoded = DecodeHeader(bytes, kBinding);

  REQUIRE(decoded.has_value());
  decoded->crc = 0;
  CHECK(*decoded == header);
  CHECK(!DecodeHeader(bytes, {.incarnation = 9, .sequence = 2, .offset = 96}).has_value());
  CHECK(!DecodeHeader(bytes, {.incarnation = 1, .sequence = 9, .offset = 96}).has_value());
  CHECK(!DecodeHeader(bytes, {.incarnation = 1, .sequence = 2, .offset = 128}).has_value());
}

TEST_CASE("A header that breaks a rule is refused although its checksum is right",
          "[raft][wal][format]") {
  CHECK(!DecodeHeader(Encoded({.payload_bytes = kMaxPayloadBytes + 1}), kBinding).has_value());
  CHECK(!DecodeHeader(Encoded({.payload_bytes = 0xffffffff}), kBinding).has_value());
  CHECK(!DecodeHeader(Encoded({.version = 0}), kBinding).has_value());
  CHECK(!DecodeHeader(Encoded({.version = 2}), kBinding).has_value());
  // It cannot vouch for bytes at or behind itself.
  CHECK(DecodeHeader(Encoded({.synced_units = 3}), kBinding).has_value());
  CHECK(!DecodeHeader(Encoded({.synced_units = 4}), kBinding).has_value());
  CHECK(!DecodeHeader(Encoded({.synced_units = 0xffffffff}), kBinding).has_value());
}

TEST_CASE("What a shared log repeats of a group comes back", "[raft][wal][format]") {
  GroupHead head;
  head.next_index = 12;
  head.hard_state = {.term = 3, .vote = 2, .commit = 9, .incarnation = 77, .recovering = true};
  head.start = {.index = 5, .term = 2, .conf_state = {.voters = {1, 2, 3}, .learners = {4}}};
  const std::string bytes = EncodeGroupHead(head);

  const auto decoded = DecodeGroupHead(bytes);

  KEELSON_REQUIRE_OK(decoded);
  CHECK(*decoded == head);
  for (size_t size = 0; size < bytes.size(); ++size) {
    CHECK(DecodeGroupHead(bytes.substr(0, size)).status().code() == StatusCode::kDataLoss);
  }
  head.next_index = 5;  // Not after its start.
  CHECK(DecodeGroupHead(EncodeGroupHead(head)).status().code() == StatusCode::kDataLoss);
}

TEST_CASE("Ranges of removed groups come back, and only in order", "[raft][wal][format]") {
  const auto decode = [](const GroupRanges& ranges) {
    return DecodeGroupRanges(EncodeGroupRanges(ranges));
  };
  KEELSON_REQUIRE_OK(decode({{1, 1}, {3, 9}}));
  CHECK(*decode({{1, 1}, {3, 9}}) == GroupRanges{{1, 1}, {3, 9}});
  CHECK_FALSE(decode({}).ok());
  CHECK_FALSE(decode({{0, 1}}).ok());
  CHECK_FALSE(decode({{3, 2}}).ok());
  CHECK_FALSE(decode({{3, 9}, {9, 10}}).ok());
  CHECK_FALSE(DecodeGroupRanges(std::string(15, 'x')).ok());
}

TEST_CASE("Every flipped bit of a header is seen, and every cut", "[raft][wal][format]") {
  const std::string bytes = Encoded({.payload_bytes = 10, .type = 2, .previous_crc = 7});
  for (size_t bit = 0; bit < 8 * kHeaderBytes; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    CHECK(!DecodeHeader(damaged, kBinding).has_value());
  }
  for (size_t n = 0; n < kHeaderBytes; ++n) {
    CHECK(!DecodeHeader(bytes.substr(0, n), kBinding).has_value());
  }
}

TEST_CASE("Segment names are sixteen lower-case hexadecimal digits", "[raft][wal][format]") {
  CHECK(SegmentName(0x1a2b) == "0000000000001a2b.wal");
  CHECK(ParseSegmentName("0000000000001a2b.wal") == 0x1a2b);
  CHECK(ParseSegmentName("ffffffffffffffff.wal") == ~uint64_t{0});
  for (const char* name : {"", ".wal", "1.wal", "0000000000001A2B.wal", "000000000000001g.wal",
                           "00000000000000001.wal", "0000000000000001.wal.tmp",
                           "0000000000000001.tmp", "-000000000000001.wal"}) {
    INFO(name);
    CHECK(!ParseSegmentName(name).has_value());
  }
}

TEST_CASE("Snapshot metadata comes back, and no cut of it is accepted", "[raft][wal][format]") {
  SnapshotMetadata metadata = {.index = 9, .term = 3, .conf_state = {}};
  metadata.conf_state.voters = {1, 2};
  metadata.conf_state.learners = {5};
  metadata.conf_state.voters_outgoing = {1, 2, 3};
  metadata.conf_state.learners_next = {3};
  metadata.conf_state.auto_leave = true;
  const std::string bytes = EncodeSnapshotMetadata(metadata);

  KEELSON_ASSIGN_OR_FAIL(const SnapshotMetadata decoded, DecodeSnapshotMetadata(bytes));
  CHECK(decoded == metadata);
  for (size_t n = 0; n < bytes.size(); ++n) {
    KEELSON_CHECK_ERROR(DecodeSnapshotMetadata(bytes.substr(0, n)), StatusCode::kDataLoss,
                        "impossible length");
  }
  KEELSON_CHECK_ERROR(DecodeSnapshotMetadata(bytes + "x"), StatusCode::kDataLoss,
                      "impossible length");
}

// The fenced block number `block` that starts with ```hex, as bytes; "offset:" and comments are left
// out.
std::string HexExample(const std::string& path, int block) {
  std::ifstream file(path);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  size_t begin = text.find("```hex\n");
  while (block-- > 1) begin = text.find("```hex\n", begin + 1);
  REQUIRE(begin != std::string::npos);
  const size_t end = text.find("```", begin + 7);
  std::string bytes;
  size_t line = begin + 7;
  while (line < end) {
    const size_t next = text.find('\n', line) + 1;
    std::string digits = text.substr(line, next - line);
    digits = digits.substr(digits.find(':') + 1);
    digits = digits.substr(0, digits.find('#'));
    for (size_t i = 0; i + 1 < digits.size();) {
      if (digits[i] == ' ') {
        ++i;
        continue;
      }
      bytes.push_back(static_cast<char>(std::strtol(digits.substr(i, 2).c_str(), nullptr, 16)));
      i += 2;
    }
    line = next;
  }
  return bytes;
}

TEST_CASE("The hex example in docs/format.md is what the code writes", "[raft][wal][format]") {
  SnapshotMetadata start = {.index = 4, .term = 2, .conf_state = {}};
  start.conf_state.voters = {1, 2, 3};
  BatchEncoder encoder;
  encoder.Begin({.incarnation = 0x1234567890abcdef, .sequence = 1}, 4096);
  encoder.AddSegmentHead({.cluster_id = 0xc1,
                          .node_id = 7,
                          .incarnation = 0x1234567890abcdef,
                          .sequence = 1,
                          .next_index = 5,
                          .segment_bytes = 8192});
  encoder.AddSnapshot(RecordType::kStart, EncodeSnapshotMetadata(start));
  encoder.AddHardState({.term = 0, .vote = 0, .commit = 4});
  std::string written;
  for (const std::string_view piece : encoder.pieces()) written += piece;

  const std::string example = HexExample("raft/docs/format.md", 1);

  CHECK(example == written);
  KEELSON_ASSIGN_OR_FAIL(SegmentReader reader, SegmentReader::Open("example", example));
  CHECK(reader.head().cluster_id == 0xc1);
  CHECK(reader.Next().has_value());
  CHECK(reader.Next().has_value());
  CHECK(reader.offset() == example.size());

  // The second one goes on behind it.
  const uint64_t end = example.size();
  const uint32_t chain = encoder.chain();
  encoder.Begin({.incarnation = 0x1234567890abcdef,
                 .sequence = 1,
                 .offset = end,
                 .chain = chain,
                 .synced_offset = end},
                4096);
  const HardState later = {
      .term = 6, .vote = 0, .commit = 4, .incarnation = 0x64000001, .recovering = true};
  encoder.AddHardState(later);
  written.clear();
  for (const std::string_view piece : encoder.pieces()) written += piece;
  const std::string record = HexExample("raft/docs/format.md", 2);
  CHECK(record == written);
  CHECK(DecodeHardState(std::string_view(record).substr(kHeaderBytes, kLaterHardStateBytes))
            .value() == later);
}

TEST_CASE("The snapshot in docs/format.md is what the code writes", "[raft][snapshot][format]") {
  SimFileSystem fs(Random(1), {});
  KEELSON_ASSIGN_OR_FAIL(const auto store, SnapshotStore::Open(fs, "snap"));
  SnapshotMetadata metadata = {.index = 4, .term = 2, .conf_state = {}};
  metadata.conf_state.voters = {1, 2, 3};
  KEELSON_ASSIGN_OR_FAIL(const auto writer, store->Create(metadata));
  KEELSON_REQUIRE_OK(writer->Append("state"));
  KEELSON_REQUIRE_OK(writer->Commit());
  KEELSON_ASSIGN_OR_FAIL(const std::string written,
                         ReadFile(fs, "snap/0000000000000002-0000000000000004.snap", 1 << 20));
  CHECK(HexExample("raft/docs/format.md", 3) == written);
}

TEST_CASE("Large payloads are borrowed, not copied, and small ones share a piece",
          "[raft][wal][format]") {
  const std::string large(10000, 'L');
  const Entry big = {.term = 1, .index = 2, .data = Payload(large)};
  const Entry small = {.term = 1, .index = 1, .data = Payload(std::string(100, 's'))};
  BatchEncoder encoder;
  encoder.Begin({}, 2 * BatchEncoder::ScratchBytes(small) + BatchEncoder::ScratchBytes(big));
  encoder.AddEntry(small);
  encoder.AddEntry(small);
  encoder.AddEntry(big);

  const auto pieces = encoder.pieces();

  REQUIRE(pieces.size() == 3);
  CHECK(pieces[1].data() == big.data.view().data());
  uint64_t sum = 0;
  for (const std::string_view piece : pieces) sum += piece.size();
  CHECK(sum == encoder.bytes());
}

}  // namespace
}  // namespace keelson::raft::wal
