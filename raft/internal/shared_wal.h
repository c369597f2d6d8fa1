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
// Errors and poison are those of Wal; they concern all groups. Damage found at Open concerns the
// groups whose records are damaged, or may be (OpenAndRepair).
//
// Threading: thread-safe, the log and the groups together.
#ifndef KEELSON_RAFT_INTERNAL_SHARED_WAL_H_
#define KEELSON_RAFT_INTERNAL_SHARED_WAL_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "raft/durability.h"
#include "raft/internal/wal_format.h"
#include "raft/types.h"
#include "raft/wal.h"

namespace keelson::raft {

class SharedWal {
 public:
  // Durable data that is gone.
  struct Loss {
    struct Group {
      Index kept = 0;   // the last entry of what is left of its log
      Index known = 0;  // the last entry that is known to have been there; at least `kept`
    };
    std::string what;  // which file, where, and what is wrong: the first bad place
    // Those that lost something, or may have. Their hard state says so. One whose beginning cannot be read
    // has no entries, and starts after index 0 of an empty membership.
    std::map<GroupId, Group> groups;
    bool forgotten = false;  // groups may be missing, or ids of removed ones be forgotten
  };

  struct Recovered {
    std::map<GroupId, Wal::Recovered> groups;   // torn_bytes is 0 in each
    uint64_t torn_bytes = 0;                    // as Wal::Recovered
    std::optional<Loss> loss = {};              // only from OpenAndRepair
    std::vector<std::string> moved_aside = {};  // as Wal::Recovered
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
  // As Open, but damage is no error: the damaged files are moved aside, and a new log holds what
  // is left. Each group that has lost something begins a life with an incarnation of at least `incarnation`,
  // and recovers (docs/decisions/0010). After a crash there is the old log or the new one.
  // RESOURCE_EXHAUSTED: no space for it, nothing has changed.
  static absl::StatusOr<std::unique_ptr<SharedWal>> OpenAndRepair(
      FileSystem& fs, const std::string& dir, const Identity& identity, const Wal::Options& options,
      uint64_t incarnation, Recovered* recovered);
  virtual ~SharedWal() = default;

  // Begins the log of `group`, which starts after `start`; durable after Sync. Nothing has changed
  // after an error without poison:
  //   INVALID_ARGUMENT     0 and the largest number are no group ids.
  //   ALREADY_EXISTS       the group is there.
  //   FAILED_PRECONDITION  it was removed. An id is never used again, since with the log went what
  //                        this node had promised in the group.
  //   RESOURCE_EXHAUSTED   no space for the next segment.
  virtual absl::Status AddGroup(GroupId group, const SnapshotMetadata& start) = 0;

  // The log of `group` is empty from now on and starts after `start`, with a hard state that says that
  // what was there is lost: its incarnation is greater than before. Also for a group that is not
  // there, because where it began is lost. Durable after Sync. Errors as AddGroup, but for
  // ALREADY_EXISTS; INVALID_ARGUMENT also for an incarnation that is not greater.
  virtual absl::Status BeginAnew(GroupId group, const SnapshotMetadata& start,
                                 const HardState& hard_state) = 0;

  // Forgets `group` and its log; durable after Sync. The Wal that Group gave for it is gone.
  // NOT_FOUND: there is none. RESOURCE_EXHAUSTED as for AddGroup.
  virtual absl::Status RemoveGroup(GroupId group) = 0;

  // True when `group` was here and has been removed.
  [[nodiscard]] virtual bool WasRemoved(GroupId group) const = 0;
  // All that have been.
  [[nodiscard]] virtual wal::GroupRanges Removed() const = 0;

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
