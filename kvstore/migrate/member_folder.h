// Data directories of kvstored that are made, or read, without a server.
#ifndef KEELSON_KVSTORE_MIGRATE_MEMBER_FOLDER_H_
#define KEELSON_KVSTORE_MIGRATE_MEMBER_FOLDER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/config/options.h"
#include "kvstore/engine.h"
#include "kvstore/state_machine.h"
#include "kvstore/store_image.h"

namespace keelson::kvstore {

// Makes the data directory of a new member, named by options.data_dir and wal_dir: identity, log
// and
// database. `fill` puts all but the state row into the empty engine and returns the log's first
// position; `finish` writes that row.
//
// All or nothing: it is built as "<data_dir>.part", made durable and renamed. What an earlier try
// left under that name is removed. ALREADY_EXISTS when there is a folder of the name.
struct MemberFolderContents {
  std::function<absl::StatusOr<uint64_t>(Engine& engine)> fill;
  std::function<absl::Status(const raft::SnapshotMetadata& applied, Engine& engine)> finish;
  // Applied to the database afterwards; may be empty.
  std::function<absl::Status(StateMachine& machine)> replay;
};
absl::Status MakeMemberFolder(const Options& options, const MemberFolderContents& contents);

// The state that the data directory of a stopped member holds.
class StoppedMember {
 public:
  // Takes the locks of the folder, applies the entries of its log that were certainly committed, as
  // the server would at its next start, and makes that durable. FAILED_PRECONDITION when a server
  // has the folder open or it is none of kvstored, DATA_LOSS when it is damaged.
  static absl::StatusOr<std::unique_ptr<StoppedMember>> Open(const std::string& data_dir,
                                                             const std::string& wal_dir);
  virtual ~StoppedMember() = default;

  [[nodiscard]] virtual Store& store() = 0;
  // Entries at the end of the log of which this member does not know whether they were committed.
  [[nodiscard]] virtual uint64_t uncertain_entries() const = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_MIGRATE_MEMBER_FOLDER_H_
