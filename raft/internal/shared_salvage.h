// What is left of a damaged log that many groups share, group by group, and a new log in its place.
// The rules of what may be kept are those of docs/decisions/0011, for each group by itself.
#ifndef KEELSON_RAFT_INTERNAL_SHARED_SALVAGE_H_
#define KEELSON_RAFT_INTERNAL_SHARED_SALVAGE_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "raft/internal/group_ids.h"
#include "raft/internal/wal_repair.h"
#include "raft/types.h"
#include "raft/wal.h"

namespace keelson::raft::wal {

struct SharedSalvage {
  struct Group {
    // Records of it are damaged, or may be among those that are.
    bool lost = false;
    // What it was at some time: all of it when nothing is lost, else what came before the damage.
    // Nothing if not even its beginning can be read.
    std::optional<Wal::Recovered> rest;
    Index highest_entry = 0;  // of all sound entries, those behind the damage included; 0: unknown
  };

  std::map<GroupId, Group> groups;
  GroupIds removed;
  // There may be groups of which nothing is left, or ids of removed ones that are forgotten.
  bool forgotten = false;
};

// Reads what is left of the log, changing nothing.
//
// A record whose header is sound tells its group and its length, and the chain, which is one of
// headers, goes on behind it: a damaged payload is a loss of that group alone. Where a header is
// damaged, or a segment is gone, any group may have had records; reading goes on at the next sound
// header. What the head of a later segment says of a group makes up for all that was lost of it, if
// the group has no entries by then.
//
// NOT_FOUND, FAILED_PRECONDITION and UNIMPLEMENTED as SharedWal::Open.
absl::StatusOr<SharedSalvage> SalvageShared(FileSystem& fs, const std::string& dir,
                                            const std::optional<Identity>& expected);

// Replaces the log in `dir`, whose lock the caller holds, durably by one that holds `groups`, as
// StartOver (wal_repair.h) does for one of one group.
absl::Status StartOverShared(FileSystem& fs, const std::string& dir, const Identity& identity,
                             const std::map<GroupId, Restart>& groups, const GroupIds& removed,
                             const Wal::Options& options);

}  // namespace keelson::raft::wal

#endif  // KEELSON_RAFT_INTERNAL_SHARED_SALVAGE_H_
