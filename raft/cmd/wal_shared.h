// What `wal` says of a log that many groups share.
#ifndef KEELSON_RAFT_CMD_WAL_SHARED_H_
#define KEELSON_RAFT_CMD_WAL_SHARED_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "raft/internal/wal_directory.h"

namespace keelson::raft::wal {

// Whether the log in `dir` is such a log, by the first head of a segment that can be read. Errors as
// LoadSegments.
absl::StatusOr<bool> IsSharedLog(FileSystem& fs, const std::string& dir);

struct SharedReport {
  bool inspect = false;  // print what the log holds, segment by segment and group by group
  bool verify = false;   // print one line: that it is sound
  bool json = false;
};

// Reads and checks the whole log, giving `visitor` (may be null) each record, and prints the report on
// standard output. Errors as LoadSegments; nothing is printed then.
absl::Status ReportSharedLog(FileSystem& fs, const std::string& dir, const SharedReport& report,
                             const RecordVisitor& visitor);

// Prints what each group of the log in `dir` keeps and loses by `damage`, which reading it has met.
// Errors as SalvageShared; nothing is printed then.
absl::Status ReportSharedDamage(FileSystem& fs, const std::string& dir, const absl::Status& damage,
                                bool json);

}  // namespace keelson::raft::wal

#endif  // KEELSON_RAFT_CMD_WAL_SHARED_H_
