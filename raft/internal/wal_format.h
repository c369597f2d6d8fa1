// The bytes of the write-ahead log: records, their headers and their payloads.
// The grammar, with reasons and an example, is raft/docs/format.md.
//
// Everything here is pure: no file, no state. Threading: free functions and values.
#ifndef KEELSON_RAFT_INTERNAL_WAL_FORMAT_H_
#define KEELSON_RAFT_INTERNAL_WAL_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "raft/types.h"

namespace keelson::raft::wal {

inline constexpr uint8_t kVersion = 1;
inline constexpr size_t kHeaderBytes = 32;
// Records start at multiples of this. It divides 512, so a header lies in one sector.
inline constexpr size_t kAlignment = 32;
inline constexpr size_t kEntryMetaBytes = 24;
// In the node's first life; and in later ones.
inline constexpr size_t kHardStateBytes = 24;
inline constexpr size_t kLaterHardStateBytes = 40;
inline constexpr size_t kSegmentHeadBytes = 56;
// The most that one record carries; a longer length in a header is damage.
inline constexpr uint32_t kMaxPayloadBytes = uint32_t{1} << 30;

// Other values are reserved: a reader that meets one refuses the log, because what it does
// not understand may change what the rest means.
enum class RecordType : uint8_t {
  kSegmentHead = 1,  // first in each segment, nowhere else
  kEntry = 2,
  kHardState = 3,
  kStart = 4,  // the log starts after this snapshot; later entries stay (compaction)
  kReset = 5,  // the log starts after this snapshot and is empty (snapshot of a leader)
  // Only in a log that many groups share:
  kGroupHead = 6,      // a group begins, or is there when a segment begins
  kGroupsRemoved = 7,  // these groups are gone, and never come back
};

// SegmentHead::next_index in a log that many groups share.
inline constexpr Index kManyGroups = std::numeric_limits<Index>::max();

// "entry" and so on; "reserved" for a value that is none of the above.
std::string_view RecordTypeName(uint8_t type);

// Where a record belongs. Mixed into its checksum, so that bytes of another log, another
// segment or another offset never pass for a record of this place.
struct Binding {
  uint64_t incarnation = 0;  // 0 with sequence 0 for segment heads, which bring both
  uint64_t sequence = 0;
  uint64_t offset = 0;  // of the header in its file
};

struct RecordHeader {
  uint32_t crc = 0;  // over the binding and the rest of the header
  uint32_t payload_crc = 0;
  uint32_t payload_bytes = 0;
  uint8_t type = 0;  // a RecordType, or reserved
  uint8_t version = kVersion;
  uint64_t group = 0;
  uint32_t previous_crc = 0;  // RecordHeader::crc of the record before: the chain
  // Bytes of this segment that were durable when this record was written, in units of
  // kAlignment: the proof that damage before it is no torn write.
  uint32_t synced_units = 0;

  friend bool operator==(const RecordHeader&, const RecordHeader&) = default;
};

// Size of a whole record: header, payload and zeros up to the alignment.
constexpr uint64_t RecordBytes(uint64_t payload_bytes) {
  return (kHeaderBytes + payload_bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Writes `header` to `out` (kHeaderBytes), computing its crc; returns the crc.
uint32_t EncodeHeader(const RecordHeader& header, const Binding& binding, char* out);

// The header at the start of `bytes`. nullopt if there are too few bytes, the checksum or
// the version is wrong, reserved bits are set, or the payload is longer than allowed.
std::optional<RecordHeader> DecodeHeader(std::string_view bytes, const Binding& binding);

struct SegmentHead {
  uint64_t cluster_id = 0;
  NodeId node_id = kNoNode;
  uint64_t incarnation = 0;    // drawn when the log was made
  uint64_t sequence = 0;       // 1, 2, ...; also the file's name
  Index next_index = 1;        // one past the last entry before this segment
  uint64_t segment_bytes = 0;  // size of the file

  friend bool operator==(const SegmentHead&, const SegmentHead&) = default;
};

// Payloads. Decoders return DATA_LOSS when the length or a field is impossible; they are
// called on checked bytes, so that means a writer with a defect.
void EncodeSegmentHead(const SegmentHead& head, char* out);  // kSegmentHeadBytes
absl::StatusOr<SegmentHead> DecodeSegmentHead(std::string_view payload);
// True when `file` starts as a segment of any version does.
bool HasSegmentMagic(std::string_view file);

void EncodeEntryMeta(const Entry& entry, char* out);  // kEntryMetaBytes; the data follows
absl::StatusOr<Entry> DecodeEntry(std::string_view payload);

size_t HardStateBytes(const HardState& state);
void EncodeHardState(const HardState& state, char* out);  // HardStateBytes
absl::StatusOr<HardState> DecodeHardState(std::string_view payload);

// Payload of kGroupHead: all that was known of the group at that place.
struct GroupHead {
  Index next_index = 1;  // one past the last entry before it
  HardState hard_state;
  SnapshotMetadata start;

  friend bool operator==(const GroupHead&, const GroupHead&) = default;
};
std::string EncodeGroupHead(const GroupHead& head);
absl::StatusOr<GroupHead> DecodeGroupHead(std::string_view payload);

// Payload of kGroupsRemoved: ascending ranges [first, last] of ids.
using GroupRanges = std::vector<std::pair<GroupId, GroupId>>;
std::string EncodeGroupRanges(const GroupRanges& ranges);
absl::StatusOr<GroupRanges> DecodeGroupRanges(std::string_view payload);

// Payload of kStart and kReset; also the header of a snapshot file.
std::string EncodeSnapshotMetadata(const SnapshotMetadata& metadata);
absl::StatusOr<SnapshotMetadata> DecodeSnapshotMetadata(std::string_view payload);

// "%016x.wal" and back.
std::string SegmentName(uint64_t sequence);
std::optional<uint64_t> ParseSegmentName(std::string_view name);

}  // namespace keelson::raft::wal

#endif  // KEELSON_RAFT_INTERNAL_WAL_FORMAT_H_
