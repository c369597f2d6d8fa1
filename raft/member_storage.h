// Opens what a member keeps on disk, and decides what becomes of it after damage or loss.
//
//   KEELSON_ASSIGN_OR_RETURN(MemberStorage storage,
//                            OpenMemberStorage(fs, options, machine.Applied()));
//   if (storage.loss) LogWarning(...);
//   Node::Start(..., {.wal = storage.wal.get(), ...}, std::move(storage.recovered));
//
// A member that lost durable data, and whose group can do without it, keeps what is sound and
// starts as one that recovers: it gives no votes and counts for no quorum until its leader has
// brought it up to date. Which part is kept, and why that is safe: docs/decisions/0011.
#ifndef KEELSON_RAFT_MEMBER_STORAGE_H_
#define KEELSON_RAFT_MEMBER_STORAGE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/file_system.h"
#include "base/random.h"
#include "raft/observer.h"
#include "raft/snapshot_store.h"
#include "raft/types.h"
#include "raft/wal.h"

namespace keelson::raft {

// What a folder without a log means. Nothing on the disk can tell a new member from one that has
// lost everything: whoever starts it has to know.
enum class WithoutLog : uint8_t {
  kNewMember = 0,   // its first start: the group begins, or the member joins it
  kLostEverything,  // it has run before, and others may count on what it said then
  kRefuse,          // NOT_FOUND
};

struct MemberStorageOptions {
  std::string wal_dir;
  std::string snapshot_dir;
  Identity identity;
  Wal::Options wal;
  WithoutLog without_log = WithoutLog::kNewMember;
  bool repair = true;            // false: any damage is an error
  Observer* observer = nullptr;  // hears event::StorageRepaired; may be null
  // For the incarnation: time first, so that a later life has the greater one, then chance.
  Clock* clock = nullptr;  // null: RealClock
  Random random{0};        // of a seed that is new at each start
};

struct StorageLoss {
  std::string what;          // which file, where, and what is wrong
  uint64_t incarnation = 0;  // the member's new one
  Index kept = 0;            // as event::StorageRepaired
  Index known = 0;
};

struct MemberStorage {
  std::unique_ptr<Wal> wal;  // holds the lock of its folder
  Wal::Recovered recovered;  // moved_aside: the damaged files
  std::unique_ptr<SnapshotStore> snapshots;
  bool is_new = false;              // there was no log
  std::optional<StorageLoss> loss;  // the member recovers from it
};

// `applied`: where the state machine's durable state ends. `fs` is borrowed, and outlives the result.
//
// Errors:
//   DATA_LOSS            something is damaged or gone, and `repair` is off or the group needs this
//                        member for a majority; names file, offset and lost entries. The log is
//                        as it was.
//   FAILED_PRECONDITION  as Wal::Open; also: the machine has a state, there is no log, and
//                        `without_log` is kNewMember.
//   RESOURCE_EXHAUSTED   no space for the new log. Nothing was changed.
//   any other            as Wal::Open, or from the disk.
absl::StatusOr<MemberStorage> OpenMemberStorage(FileSystem& fs, const MemberStorageOptions& options,
                                                const SnapshotMetadata& applied);

// True when the voters of `membership` besides `member` are a majority, of each half of it.
[[nodiscard]] bool CanDoWithout(const ConfState& membership, NodeId member);

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_MEMBER_STORAGE_H_
