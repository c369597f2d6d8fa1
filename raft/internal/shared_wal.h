// One write-ahead log for many groups: a batch of all groups that have something to write
// costs one sync. Format: raft/docs/format.md section 8.
//
//   SharedWal::Recovered recovered;
//   KEELSON_ASSIGN_OR_RETURN(auto log, SharedWal::Open(fs, dir, identity, {}, &recovered));
//   KEELSON_RETURN_IF_ERROR(log->AddGroup(7, start));
//   KEELSON_RETURN_IF_ERROR(log->Group(7)->Append({.entries = entries, .hard_state = state}));
//   KEELSON_RETURN_IF_ERROR(log->Group(8)->Append({.entries = others}));
//   KEELSON_ASSIGN_OR_RETURN(SyncToken token, log->Sync());  // for both
//
// A segment is deleted when no group needs an entry in it. Each segment begins with all that
// is known of every group but its entries, so a group that does nothing keeps no segment; one that
// holds entries in an old segment does, until it is compacted (GroupsPinning).
//
// Errors and poison are those of Wal; they concern all groups.
//
// Threading: one thread at a time, for the log and for the groups together.
#ifndef KEELSON_RAFT_INTERNAL_SHARED_WAL_H_
#define KEELSON_RAFT_INTERNAL_SHARED_WAL_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "raft/durability.h"
#include "raft/types.h"
#include "raft/wal.h"

namespace keelson::raft {

class SharedWal {
 public:
  struct Recovered {
    std::map<GroupId, Wal::Recovered> groups;  // torn_bytes is 0 in each
    uint64_t torn_bytes = 0;                   // as Wal::Recovered
  };

  // True if `dir` holds a log.
  static absl::StatusOr<bool> Exists(FileSystem& fs, const std::string& dir);

  // Makes a new log without groups, durably. As Wal::Create.
  static absl::Status Create(FileSystem& fs, const std::string& dir, const Identity& identity,
                             const Wal::Options& options);

  // As Wal::Open. FAILED_PRECONDITION also for the log of one group.
  static absl::StatusOr<std::unique_ptr<SharedWal>> Open(FileSystem& fs, const std::string& dir,
                                                         const Identity& identity,
                                                         const Wal::Options& options,
                                                         Recovered* recovered);
  virtual ~SharedWal() = default;

  // Begins the log of `group`, which starts after `start`; durable after Sync. Nothing has changed
  // after an error without poison:
  //   INVALID_ARGUMENT     0 and the largest number are no group ids.
  //   ALREADY_EXISTS       the group is there.
  //   FAILED_PRECONDITION  it was removed. An id is never used again, since with the log went what
  //                        this node had promised in the group.
  //   RESOURCE_EXHAUSTED   no space for the next segment.
  virtual absl::Status AddGroup(GroupId group, const SnapshotMetadata& start) = 0;

  // Forgets `group` and its log; durable after Sync. The Wal that Group gave for it is gone.
  // NOT_FOUND: there is none. RESOURCE_EXHAUSTED as for AddGroup.
  virtual absl::Status RemoveGroup(GroupId group) = 0;

  // True when `group` was here and has been removed.
  [[nodiscard]] virtual bool WasRemoved(GroupId group) const = 0;

  // The log of `group`; null if there is none. Its Sync is that of the whole log. Lives until
  // RemoveGroup or the end of this object.
  virtual Wal* Group(GroupId group) = 0;

  // Makes everything appended so far durable, of every group: one fdatasync, none if nothing is
  // new.
  virtual absl::StatusOr<SyncToken> Sync() = 0;

  // At most `limit` groups without whose entries all but the newest `keep_segments` segments could
  // be deleted. Compact them.
  [[nodiscard]] virtual std::vector<GroupId> GroupsPinning(size_t keep_segments,
                                                           size_t limit) const = 0;

  [[nodiscard]] virtual Wal::Stats GetStats() const = 0;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_SHARED_WAL_H_
