// A file system in memory that fails and crashes on demand, the same way for the same seed.
//
//   SimFileSystem fs(Random(seed), {});
//   fs.FailNext(SimOperation::kSync, "wal/");   // the next sync below wal/ fails
//   UseDisk(fs);                                // production code
//   fs.PowerLoss();                             // lose, keep or tear what was not synced
//   UseDisk(fs);                                // recovery
//
// The model. A file has the contents that reads see, and the contents on the platter. A write
// changes the former at once; for the latter it is pending until SyncData. A power loss
// decides for every pending write on its own whether it is lost, kept or torn: torn means that
// each of its 512-byte sectors is kept or lost on its own. As in a page cache, a sector that
// is kept holds all that was written to it up to then. The size of the file is decided apart
// from the data, so there may be size without data (zeros) and data without size (gone). A
// name made, renamed or removed is pending until SyncDirectory, likewise kept or lost on its
// own; a rename happens whole or not at all. What has been synced always survives, unless
// FlipBit damages it.
//
// A sync that fails moves some pending sectors to the platter and forgets that the others are
// pending: reads go on showing them, no later sync writes them, a power loss drops them
// (the behaviour of ext4 and XFS; Rebello et al., ATC'20).
//
// Handles and locks belong to a process: after PowerLoss or ProcessCrash each call on an old
// handle fails with UNAVAILABLE.
//
// Paths: names between slashes; "", "." and a leading slash mean the root folder; ".." is
// refused. Thread-safe. Files and locks must not outlive the file system.
#ifndef KEELSON_BASE_TESTING_SIM_FILE_SYSTEM_H_
#define KEELSON_BASE_TESTING_SIM_FILE_SYSTEM_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/file_system.h"
#include "base/random.h"

namespace keelson {

inline constexpr uint64_t kSimSectorBytes = 512;

enum class SimOperation : uint8_t {
  kRead = 0,           // File::ReadAt
  kWrite = 1,          // File::WriteAt, Truncate, Allocate
  kSync = 2,           // File::SyncData
  kName = 3,           // creating Open, Rename, Remove, CreateDirectories
  kSyncDirectory = 4,  // SyncDirectory
};
inline constexpr int kSimOperations = 5;

class SimFileSystem final : public FileSystem {
 public:
  // What goes wrong by chance. The default never fails and costs no time.
  struct Faults {
    double read_error = 0;            // probability that one read fails (EIO, UNKNOWN)
    double write_error = 0;           // that one write fails, having written some sectors
    double sync_error = 0;            // that one SyncData fails; see above
    double sync_directory_error = 0;  // that one SyncDirectory fails; names stay pending

    // Every operation takes an exponentially distributed time with these means, and with
    // probability `slow_operation` an extra one. Nobody sleeps: see Options::on_latency.
    absl::Duration operation_latency = absl::ZeroDuration();
    absl::Duration sync_latency = absl::ZeroDuration();
    double slow_operation = 0;
    absl::Duration slow_latency = absl::Milliseconds(100);
  };

  struct Options {
    Faults faults;
    // Sum of all file sizes; a write or Allocate beyond it is RESOURCE_EXHAUSTED.
    // 0: unlimited.
    uint64_t capacity_bytes = 0;
    // Hears the virtual time that an operation took, after the operation. Without it the
    // times add up for TakeLatency. Called without locks held.
    std::function<void(absl::Duration)> on_latency;
  };

  // How often each thing happened, for tests that must know that faults did occur.
  struct Counters {
    uint64_t operations = 0;
    uint64_t injected_errors[kSimOperations] = {};  // by SimOperation
    uint64_t no_space = 0;
    uint64_t slow_operations = 0;
    uint64_t power_losses = 0;
    uint64_t process_crashes = 0;
    uint64_t writes_lost = 0;  // pending writes at a power loss or a failed sync, by fate
    uint64_t writes_kept = 0;
    uint64_t writes_torn = 0;
    uint64_t names_lost = 0;  // pending name changes at a power loss, by fate
    uint64_t names_kept = 0;
    uint64_t bits_flipped = 0;

    friend bool operator==(const Counters&, const Counters&) = default;
  };

  explicit SimFileSystem(Random random, Options options);
  ~SimFileSystem() override;

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             const OpenOptions& options) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status CreateDirectories(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  absl::StatusOr<bool> Exists(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  absl::StatusOr<SpaceInfo> Space(const std::string& path) override;

  // The machine loses power and starts again: pending changes meet their fate, handles and
  // locks of before are void. Undoes CutPowerAfter.
  void PowerLoss();

  // The process dies (kill -9) and the machine goes on: nothing written is lost, handles and
  // locks are void. Undoes CutPowerAfter too: the cut was then a kill in the middle of a call.
  void ProcessCrash();

  // After `operations` more changing calls (write, sync, name, sync of a folder) the power
  // fails in the middle of the next one, which may have done a part of its work: that call and
  // every later one, also reads, fail with UNAVAILABLE until PowerLoss is called.
  void CutPowerAfter(uint64_t operations);
  // Takes back a CutPowerAfter that has not come true yet.
  void CancelPowerCut();
  [[nodiscard]] bool power_is_cut() const;

  // The next `operation` on a path that contains `path_part` fails with `error`. Several may
  // wait; each fails one call, in the order given.
  void FailNext(SimOperation operation, const std::string& path_part,
                absl::Status error = absl::UnknownError("injected I/O error"));
  // Takes back those that have not failed a call yet.
  void CancelFailNext();

  void SetFaults(const Faults& faults);
  void SetCapacity(uint64_t capacity_bytes);  // may be below what is used now

  // Bit rot: flips bit `bit` (0 to 7) of the byte at `offset` on the platter and in what reads
  // see. NOT_FOUND: no such file. OUT_OF_RANGE: past its end.
  absl::Status FlipBit(const std::string& path, uint64_t offset, int bit);

  struct Flip {
    std::string path;
    uint64_t offset = 0;
    int bit = 0;

    friend bool operator==(const Flip&, const Flip&) = default;
  };
  // Flips a random bit of the durable bytes of all files whose path contains `path_part`.
  // Empty when they have none.
  std::optional<Flip> FlipRandomBit(const std::string& path_part);

  // The latency gathered since the last call. Always zero with Options::on_latency.
  absl::Duration TakeLatency();

  [[nodiscard]] Counters counters() const;
  [[nodiscard]] uint64_t used_bytes() const;

  // A hash over all names and contents, as reads see them. Equal states have equal hashes on
  // every machine.
  [[nodiscard]] uint64_t StateHash() const;

 private:
  struct State;
  class Handle;
  class LockHandle;
  std::unique_ptr<State> state_;
};

}  // namespace keelson

#endif  // KEELSON_BASE_TESTING_SIM_FILE_SYSTEM_H_
