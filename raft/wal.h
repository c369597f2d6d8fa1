// The write-ahead log: a folder of preallocated segments with checksummed, chained
// records. Format: raft/docs/format.md. Rules: raft.md section 16.
//
//   Wal::Recovered recovered;
//   KEELSON_ASSIGN_OR_RETURN(auto wal, Wal::Open(fs, dir, identity, {}, &recovered));
//   KEELSON_RETURN_IF_ERROR(wal->Append({.entries = entries, .hard_state = state}));
//   KEELSON_ASSIGN_OR_RETURN(SyncToken token, wal->Sync());
//   Send(std::move(responses).Release(token));
//
// Group commit is the caller's: Append as often as there is work, Sync once.
//
// After any error but RESOURCE_EXHAUSTED from Append the log is poisoned: every later
// call fails, and the process must stop and recover. A sync is never retried.
//
// Threading: one thread at a time.
#ifndef KEELSON_RAFT_WAL_H_
#define KEELSON_RAFT_WAL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "raft/durability.h"
#include "raft/types.h"

namespace keelson::raft {

// Who the log belongs to; written into every segment and checked at each open.
struct Identity {
  uint64_t cluster_id = 0;
  NodeId node_id = kNoNode;

  friend bool operator==(const Identity&, const Identity&) = default;
};

class Wal {
 public:
  struct Options {
    uint64_t segment_bytes = 64 << 20;  // preallocated; a record never spans segments
    bool unsafe_no_sync = false;        // Sync returns at once: for measuring, never for data
    // Tells this log's records from those of any other that used the same disk. 0 draws one
    // from the system; a simulation gives its own. Used by Create only.
    uint64_t incarnation = 0;
  };

  struct Recovered {
    HardState hard_state;
    // Where the log starts: index and term before the first entry, membership there.
    SnapshotMetadata start;
    std::vector<Entry> entries;  // consecutive, the first at start.index + 1
    // Bytes of a torn last record that were cut off; 0 after a clean stop. Never acknowledged.
    uint64_t torn_bytes = 0;
    // Files of a damaged log that this one has replaced, under the names that they have now.
    std::vector<std::string> moved_aside = {};
  };

  // What one Append writes. Whatever part of it survives a crash is a state that an earlier
  // or the whole batch could have left: the snapshot takes effect before the entries, and
  // the commit index is never ahead of them.
  struct Batch {
    // Consecutive. entries[0].index may be at or before the last: replaces the tail. Entries
    // at or before the start of the log are skipped.
    std::span<const Entry> entries = {};
    // The term must not go back, commit not pass the last entry (of this batch included).
    std::optional<HardState> hard_state = {};
    // A received snapshot: drops every entry, the log now starts after this one.
    std::optional<SnapshotMetadata> snapshot = {};
  };

  // True if `dir` holds a log.
  static absl::StatusOr<bool> Exists(FileSystem& fs, const std::string& dir);

  // Makes a new log that starts after `start`, durably, and `dir` if it is missing. After a
  // crash there is a whole log or none. ALREADY_EXISTS if there is one.
  static absl::Status Create(FileSystem& fs, const std::string& dir, const Identity& identity,
                             const SnapshotMetadata& start, const Options& options);

  // Opens and recovers. Cuts a torn tail and syncs what it read before returning. Takes the lock.
  // Errors:
  //   NOT_FOUND            no log in `dir`.
  //   FAILED_PRECONDITION  another process has it open, or it belongs to another cluster
  //                        or node (the message names both ids).
  //   DATA_LOSS            a record that had been durable is damaged or a segment is missing; the
  //                        message names file and offset. Nothing was changed.
  //   UNIMPLEMENTED        a newer format version or record type.
  static absl::StatusOr<std::unique_ptr<Wal>> Open(FileSystem& fs, const std::string& dir,
                                                   const Identity& identity, const Options& options,
                                                   Recovered* recovered);
  virtual ~Wal() = default;

  // Writes `batch` to the file; durable only after Sync.
  // RESOURCE_EXHAUSTED: no space for the next segment; nothing was written and the same call
  // may be made again later. INVALID_ARGUMENT: a batch that does not fit the log; a defect of
  // the caller, and poison like any other error.
  virtual absl::Status Append(const Batch& batch) = 0;

  // Makes everything appended so far durable: one fdatasync, none if nothing is new.
  virtual absl::StatusOr<SyncToken> Sync() = 0;

  // Declares the log to start after `start` (whose index is at most the last index) and deletes
  // segments that hold nothing newer, once that is durable. Call only when the state at
  // start.index is durable elsewhere. RESOURCE_EXHAUSTED as for Append, but a full disk does not
  // stop it: each segment keeps room for this.
  virtual absl::Status Compact(const SnapshotMetadata& start) = 0;

  struct Stats {
    uint64_t appended_bytes = 0;  // since Open, headers and padding included
    uint64_t syncs = 0;           // fdatasyncs of appended records since Open
    uint64_t segments = 0;        // files there are now
  };
  [[nodiscard]] virtual Stats GetStats() const = 0;

 protected:
  static SyncToken MakeSyncToken() { return SyncToken(); }
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_WAL_H_
