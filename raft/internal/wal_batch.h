// Encodes records for one gathered write, without copying large payloads.
#ifndef KEELSON_RAFT_INTERNAL_WAL_BATCH_H_
#define KEELSON_RAFT_INTERNAL_WAL_BATCH_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "raft/internal/wal_format.h"
#include "raft/types.h"

namespace keelson::raft::wal {

// Where the next record goes.
struct Position {
  uint64_t incarnation = 0;
  uint64_t sequence = 0;
  uint64_t offset = 0;
  uint32_t chain = 0;          // checksum of the record before
  uint64_t synced_offset = 0;  // everything before it in this segment is durable
};

// Collects records that follow each other. Reused from write to write: its buffers keep
// their capacity, so that a steady stream of batches allocates nothing.
class BatchEncoder {
 public:
  // Starts over at `position`. `scratch_bytes`: at least the sum of ScratchBytes of what is added.
  void Begin(const Position& position, size_t scratch_bytes);

  // Records added from now on, segment heads apart, are of `group`; Begin sets it to 0.
  void SetGroup(GroupId group) { group_ = group; }

  void AddSegmentHead(const SegmentHead& head);
  void AddEntry(const Entry& entry);  // borrows large payloads until the next Begin
  void AddHardState(const HardState& state);
  void AddSnapshot(RecordType type, std::string_view encoded_metadata);
  // For kGroupHead and kGroupsRemoved.
  void AddEncoded(RecordType type, std::string_view payload) { AddSnapshot(type, payload); }

  // What to write at the position given to Begin; in order, together `bytes()` long.
  [[nodiscard]] std::span<const std::string_view> pieces();
  [[nodiscard]] uint64_t bytes() const { return offset_ - position_.offset; }
  [[nodiscard]] uint32_t chain() const { return chain_; }

  // Scratch space that an entry needs.
  static size_t ScratchBytes(const Entry& entry);

 private:
  // Payloads up to this size are copied beside their header: a short memcpy is cheaper
  // than one more element in a gathered write.
  static constexpr size_t kCopyBytes = 2048;

  void AddRecord(RecordType type, const Binding& binding, std::string_view fixed,
                 std::string_view data);
  // Ends the piece that grows in scratch_.
  void ClosePiece();

  Position position_;
  GroupId group_ = 0;
  uint64_t offset_ = 0;
  uint32_t chain_ = 0;
  std::string scratch_;  // never grows between Begin and pieces(): pieces point into it
  size_t scratch_used_ = 0;
  size_t piece_start_ = 0;  // in scratch_
  std::vector<std::string_view> pieces_;
};

}  // namespace keelson::raft::wal

#endif  // KEELSON_RAFT_INTERNAL_WAL_BATCH_H_
