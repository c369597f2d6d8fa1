// The writing end of a log's folder: segments, room in them, syncs, poison. What the
// records mean is for its users: wal.cc (the log of one group) and others.
#ifndef KEELSON_RAFT_INTERNAL_WAL_WRITER_H_
#define KEELSON_RAFT_INTERNAL_WAL_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "raft/internal/wal_batch.h"
#include "raft/internal/wal_directory.h"
#include "raft/internal/wal_format.h"
#include "raft/wal.h"

namespace keelson::raft::wal {

// The end of each segment that only compaction may use, so that it works on a full disk.
inline constexpr uint64_t kCompactReserveBytes = 4096;
inline constexpr uint64_t kMaxBatchBytes = kMaxSegmentBytes / 2;

// What is repeated at the head of every segment, so that those before it can be deleted.
class HeadSource {
 public:
  virtual ~HeadSource() = default;
  // SegmentHead::next_index of a segment that is made now.
  [[nodiscard]] virtual Index NextIndex() const = 0;
  // The records behind the segment-head record: how many bytes, and which.
  [[nodiscard]] virtual uint64_t HeadBytes() const = 0;
  virtual void EncodeHead(BatchEncoder& encoder) const = 0;
};

// To write: EnsureRoom, Begin, add records to the encoder that it returns, Write.
//
// After any error but RESOURCE_EXHAUSTED of EnsureRoom it is poisoned: see Wal.
// Threading: one thread at a time.
class SegmentWriter {
 public:
  // `fs` and `source` are borrowed and outlive the writer.
  SegmentWriter(FileSystem& fs, std::string dir, const Wal::Options& options,
                std::unique_ptr<FileLock> lock, const HeadSource& source)
      : fs_(fs), dir_(std::move(dir)), options_(options), lock_(std::move(lock)), source_(source) {}

  // Makes the first segment of a new log, durably. The caller holds the lock. Segments before
  // `sequence` are of a log that this one replaces.
  static absl::Status Create(FileSystem& fs, const std::string& dir, const Identity& identity,
                             const Wal::Options& options, const HeadSource& source,
                             uint64_t sequence = 1);

  // Removes leftovers, cuts the torn tail, makes durable what was read.
  absl::Status Recover(const LoadedSegments& log);
  // Gives the segments of a log that this one has replaced other names; returns these.
  absl::StatusOr<std::vector<std::string>> MoveAside(const std::vector<uint64_t>& sequences);

  // OK, or what stopped the log.
  [[nodiscard]] const absl::Status& poison() const { return poison_; }
  // Remembers that the log is unusable. Returns the error for the caller.
  absl::Status Poison(const absl::Status& status);

  // Makes sure that `bytes` fit into the segment, `reserve` bytes before its end; starts another
  // if they do not. RESOURCE_EXHAUSTED: there is no space for one, and nothing has changed.
  absl::Status EnsureRoom(uint64_t bytes, uint64_t reserve);
  // Starts another segment with that room. Errors as EnsureRoom.
  absl::Status Roll(uint64_t bytes, uint64_t reserve);

  // The encoder, ready for records that need at most `scratch_bytes` of scratch space.
  BatchEncoder& Begin(size_t scratch_bytes) {
    encoder_.Begin(position_, scratch_bytes);
    return encoder_;
  }
  // Writes what the encoder holds.
  absl::Status Write();

  // One fdatasync, none if nothing is new.
  absl::Status Sync();

  struct Segment {
    uint64_t sequence;
    Index next_index;  // one past the last entry before it
  };
  // Oldest first; the last one is written to.
  [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }
  // Deletes the oldest segment, which must not be the only one, durably.
  absl::Status RemoveOldest();

  [[nodiscard]] Wal::Stats GetStats() const;

 private:
  FileSystem& fs_;
  const std::string dir_;
  const Wal::Options options_;
  const std::unique_ptr<FileLock> lock_;
  const HeadSource& source_;

  absl::Status poison_;  // OK while the log works
  SegmentHead head_;     // of the segment in use
  std::unique_ptr<File> file_;
  Position position_;
  uint64_t zeroed_ = 0;  // the segment is known to hold written zeros up to here
  std::vector<Segment> segments_;
  BatchEncoder encoder_;
  Wal::Stats stats_;
};

}  // namespace keelson::raft::wal

#endif  // KEELSON_RAFT_INTERNAL_WAL_WRITER_H_
