// Decides whether writes are accepted: enough free space on the disks, and the database
// within its quota.
//
// With too little space a member refuses what would need more of it (puts, lease grants) before
// it is proposed, while the log and the database can still be written; so reads, deletes
// and compaction go on. It clears by itself when space returns.
//
// Threading: thread-safe. Check does the I/O; the rest is cheap.
#ifndef KEELSON_KVSTORE_SERVER_SPACE_GUARD_H_
#define KEELSON_KVSTORE_SERVER_SPACE_GUARD_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "kvstore/store.h"

namespace keelson::kvstore {

class SpaceGuard {
 public:
  struct Options {
    std::vector<std::string> directories;  // each must have free space; may be missing still
    // Space is short below this, or below a tenth of the file system if that is less.
    uint64_t min_free_bytes = 128 << 20;
    uint64_t quota_bytes = 0;  // of the database; 0: none
  };

  // `fs` is borrowed and outlives the guard.
  SpaceGuard(Options options, FileSystem* fs) : options_(std::move(options)), fs_(fs) {}

  // Measures again. A directory that cannot be asked counts as having space.
  void Check(const Store& store);

  // The state machine waits for space, or goes on.
  void SetStalled(bool stalled) { stalled_.store(stalled, std::memory_order_relaxed); }

  // Whether a request that may add about `bytes` fits.
  [[nodiscard]] bool Allows(uint64_t bytes) const;

  // Space is short or the quota is reached: what alarms show.
  [[nodiscard]] bool Alarmed() const { return !Allows(0); }

 private:
  const Options options_;
  FileSystem* const fs_;
  std::atomic<bool> disk_short_{false};
  std::atomic<bool> stalled_{false};
  std::atomic<uint64_t> database_bytes_{0};
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_SPACE_GUARD_H_
