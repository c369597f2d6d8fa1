// Reads a whole log from its folder, changing nothing. Shared by Wal::Open and the inspector.
#ifndef KEELSON_RAFT_INTERNAL_WAL_DIRECTORY_H_
#define KEELSON_RAFT_INTERNAL_WAL_DIRECTORY_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "raft/internal/wal_replay.h"
#include "raft/internal/wal_segment.h"
#include "raft/wal.h"

namespace keelson::raft::wal {

inline constexpr char kLockName[] = "lock";
inline constexpr char kTemporarySuffix[] = ".tmp";
// Behind the names of segments that are of no use any more, but kept.
inline constexpr char kDamagedSuffix[] = ".damaged";
// Larger files are no segments of ours.
inline constexpr uint64_t kMaxSegmentBytes = uint64_t{8} << 30;

// Sequence numbers of the segments in `dir`, ascending. NOT_FOUND if there is no `dir` or
// no segment in it.
absl::StatusOr<std::vector<uint64_t>> ListSegments(FileSystem& fs, const std::string& dir);

// The bytes of a segment. DATA_LOSS: it is larger than any segment is.
absl::StatusOr<std::string> ReadSegment(FileSystem& fs, const std::string& path);

// The head of the segment `sequence`, and whether another one came before it. Errors as
// SegmentReader::Open.
struct SegmentPlace {
  SegmentHead head;
  bool has_predecessor = false;
};
absl::StatusOr<SegmentPlace> ReadSegmentPlace(FileSystem& fs, const std::string& dir,
                                              uint64_t sequence);

// Where in `sequences`, which ListSegments gave, the log begins: at the last segment that has no
// predecessor. Those before it are of a log that it replaces.
absl::StatusOr<size_t> FirstOfLog(FileSystem& fs, const std::string& dir,
                                  const std::vector<uint64_t>& sequences);

// FAILED_PRECONDITION when the segment in `path` is not of whom it is `expected` to be.
absl::Status CheckOwner(const std::string& path, const SegmentHead& head,
                        const std::optional<Identity>& expected);

struct LoadedSegment {
  SegmentHead head;
  uint64_t file_bytes = 0;
  uint64_t end = 0;          // one past the last valid record
  uint64_t content_end = 0;  // one past the last byte that is not zero
  uint64_t records = 0;
};

// The files of a log, whatever their records mean.
struct LoadedSegments {
  std::vector<LoadedSegment> segments;  // consecutive, oldest first, never empty
  uint32_t chain = 0;                   // checksum of the last record
  // Bytes behind the last record that a torn write left; to be zeroed before the next write.
  uint64_t torn_bytes = 0;
  // The last bytes of the last segment, up to its end, that no record shows to be durable.
  std::string unproven;
  // Segments of a damaged log, which this one replaces (wal_repair.h). To be moved aside.
  std::vector<uint64_t> replaced;
};

struct LoadedLog : LoadedSegments {
  LogReplay replay{1};
};

Wal::Recovered ToRecovered(LoadedLog log);

// Makes sense of the records of a log, oldest first. Errors need not name file and offset.
class RecordSink {
 public:
  virtual ~RecordSink() = default;
  // A segment begins; the `oldest` there is, or one that continues the one before.
  virtual absl::Status OnSegment(const SegmentHead& head, bool oldest) = 0;
  // Any record but a segment head.
  virtual absl::Status OnRecord(const Record& record) = 0;
};

// Called for each record, segment heads included, before it is checked against the others.
using RecordVisitor = std::function<void(const std::string& path, const Record& record)>;

// Reads and checks the chain of records and gives each to `sink`. The rest as LoadLog.
absl::StatusOr<LoadedSegments> LoadSegments(FileSystem& fs, const std::string& dir,
                                            const std::optional<Identity>& expected,
                                            RecordSink& sink, const RecordVisitor& visitor);

// Reads and checks everything of a log of one group. `expected`: whose log it must be; nullopt for any.
// Errors as those of Wal::Open; each names the file, and the offset where there is one.
absl::StatusOr<LoadedLog> LoadLog(FileSystem& fs, const std::string& dir,
                                  const std::optional<Identity>& expected,
                                  const RecordVisitor& visitor);

// What can be relied on of a log that may be damaged.
struct SalvagedLog {
  absl::Status damage;      // as LoadLog's DATA_LOSS; OK: the log is whole
  LoadedLog log;            // the records before the damage; perhaps no segment
  Index highest_entry = 0;  // of all sound entries in the folder, those behind the damage included
};

// As LoadLog, but damage is no error.
absl::StatusOr<SalvagedLog> SalvageLog(FileSystem& fs, const std::string& dir,
                                       const std::optional<Identity>& expected);

}  // namespace keelson::raft::wal

#endif  // KEELSON_RAFT_INTERNAL_WAL_DIRECTORY_H_
