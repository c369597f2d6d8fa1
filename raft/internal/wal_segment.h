// Reads the records of one segment and tells a torn end from damage.
#ifndef KEELSON_RAFT_INTERNAL_WAL_SEGMENT_H_
#define KEELSON_RAFT_INTERNAL_WAL_SEGMENT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "raft/internal/wal_format.h"

namespace keelson::raft::wal {

struct Record {
  uint64_t offset = 0;  // of its header in the file
  RecordHeader header;
  std::string_view payload;  // points into the bytes given to the reader
};

// Walks a segment from its head to the first place where no record continues the chain.
// Reads memory only; `bytes` is borrowed and outlives the reader.
class SegmentReader {
 public:
  // Checks the head. Errors name `file` and the offset:
  //   UNIMPLEMENTED  a format version that this program does not read.
  //   DATA_LOSS      the head is damaged.
  static absl::StatusOr<SegmentReader> Open(std::string file, std::string_view bytes);

  [[nodiscard]] const SegmentHead& head() const { return head_; }
  [[nodiscard]] const Record& head_record() const { return head_record_; }

  // The next record after the head, or nullopt when there is none at offset().
  std::optional<Record> Next();

  // Where the next record would start.
  [[nodiscard]] uint64_t offset() const { return offset_; }
  // Checksum of the last record read, which the next one (or the next segment) names.
  [[nodiscard]] uint32_t chain() const { return chain_; }

  // After Next returned nullopt: nothing but zeros follows, as after a clean stop.
  [[nodiscard]] bool CleanEnd() const { return ContentEnd() == offset_; }
  // One past the last byte at or after offset() that is not zero; offset() if there is none.
  [[nodiscard]] uint64_t ContentEnd() const;

  // After Next returned nullopt: offset of a record whose header shows that the bytes at
  // offset() had been durable when it was written. Then they were damaged later, and may
  // have been acknowledged. nullopt: they are, as far as anyone can tell, of a torn write.
  //
  // A valid record further on is no proof by itself: the disk may have stored the second of
  // two unsynced writes and not the first.
  [[nodiscard]] std::optional<uint64_t> ProofOfSync() const;

  // After Next returned nullopt: false when no torn write leaves the bytes at offset() as they are.
  // A sector that a torn write lost is as it was before, zeros; what is there, is there as written.
  [[nodiscard]] bool MayBeTorn() const;

  // --- For what lies behind damage ---

  // After Next returned nullopt: the header at offset() if it is sound, continues the chain and its
  // record fits into the file. Then the payload alone is damaged or torn.
  [[nodiscard]] std::optional<RecordHeader> HeaderAlone() const;
  // Goes on behind that record, which the chain passes unbroken: it is one of headers.
  void SkipPayload();
  // Goes on at the next sound header behind offset(). False: there is none. What lies in between is
  // lost, and nobody knows what it was.
  bool Resync();
  // Of a segment whose head is damaged; `head` says of which log and which segment it is. Begin
  // with Resync.
  static SegmentReader WithoutHead(std::string_view bytes, const SegmentHead& head);

 private:
  SegmentReader(std::string_view bytes, const SegmentHead& head, const Record& head_record);
  [[nodiscard]] std::optional<RecordHeader> HeaderAt(uint64_t offset) const;

  std::string_view bytes_;
  SegmentHead head_;
  Record head_record_;
  uint64_t offset_;
  uint32_t chain_;
};

// The highest index of the sound entries anywhere in `bytes`, the segment `sequence` of the log
// `incarnation`, damaged or not; 0 if there is none.
Index HighestEntry(std::string_view bytes, uint64_t incarnation, uint64_t sequence);

}  // namespace keelson::raft::wal

#endif  // KEELSON_RAFT_INTERNAL_WAL_SEGMENT_H_
