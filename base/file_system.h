// Files as a dependency: everything that must survive a crash goes through a
// FileSystem, so that the simulator can lose, tear, reorder and corrupt it.
//
//   KEELSON_ASSIGN_OR_RETURN(auto file, fs.Open("wal/1.log", {.create = true, .write = true}));
//   KEELSON_RETURN_IF_ERROR(file->WriteAt(0, record));
//   KEELSON_RETURN_IF_ERROR(file->SyncData());          // the bytes are durable
//   KEELSON_RETURN_IF_ERROR(fs.SyncDirectory("wal"));   // and so is the name
//
// What a crash leaves (both versions promise no more than this): bytes covered by a
// successful SyncData; names covered by a successful SyncDirectory of their folder.
// Anything newer may be there, be gone, or be there in part, in any order.
//
// A failed write or sync leaves unknown contents on disk and the error is reported
// once. Never retry a sync: stop using the file (Rebello et al., ATC'20).
//
// Errors name the operation and the path: "pwrite 'wal/1.log' at 4096: No space left".
// Codes: NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, RESOURCE_EXHAUSTED (no space),
// FAILED_PRECONDITION (the lock is held), UNKNOWN or DATA_LOSS for I/O errors.
#ifndef KEELSON_BASE_FILE_SYSTEM_H_
#define KEELSON_BASE_FILE_SYSTEM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keelson {

// One open file. Closed by its destructor. Not thread-safe, except that ReadAt may
// run beside any call.
class File {
 public:
  virtual ~File() = default;

  // Writes all of `data` at byte `offset`, growing the file if needed; bytes between the
  // old end and `offset` read as zeros. On an error some prefix may have been written.
  virtual absl::Status WriteAt(uint64_t offset, std::string_view data) = 0;

  // As one WriteAt of all `pieces` in order, without joining them first.
  virtual absl::Status WriteAt(uint64_t offset, std::span<const std::string_view> pieces) = 0;

  // Reads up to `buffer.size()` bytes from `offset`. Fewer than asked only at the end of
  // the file; 0 at or past it.
  [[nodiscard]] virtual absl::StatusOr<size_t> ReadAt(uint64_t offset,
                                                      std::span<char> buffer) const = 0;

  [[nodiscard]] virtual absl::StatusOr<uint64_t> Size() const = 0;

  // Makes every byte written so far, and the size, durable (fdatasync).
  virtual absl::Status SyncData() = 0;

  // Cuts or extends (with zeros) to `size` bytes.
  virtual absl::Status Truncate(uint64_t size) = 0;

  // Reserves space for [offset, offset + length) and extends the size to cover it, so that
  // later writes there do not fail for want of space. RESOURCE_EXHAUSTED when there is none.
  virtual absl::Status Allocate(uint64_t offset, uint64_t length) = 0;
};

// Held until destroyed.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

struct OpenOptions {
  bool write = false;      // else read only
  bool create = false;     // make the file if it is missing (mode 0600); needs write
  bool exclusive = false;  // with create: ALREADY_EXISTS if it is there
  bool truncate = false;   // cut to zero bytes; needs write
};

struct SpaceInfo {
  uint64_t capacity_bytes = 0;
  uint64_t free_bytes = 0;  // for this user
};

// Paths are as the system's; the simulated version takes any string with '/' between
// names and has no working directory. Thread-safe.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                                     const OpenOptions& options) = 0;

  // Replaces `to` if it exists, atomically for whoever opens it.
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;

  // Removes a file or an empty folder. NOT_FOUND if there is none, FAILED_PRECONDITION if the
  // folder is not empty.
  virtual absl::Status Remove(const std::string& path) = 0;

  // Makes `path` and what is missing above it (mode 0700). OK if it exists.
  // Each new folder's parent is synced, and that of `path` also if it is there already: who made
  // it may have died before it was durable. A folder whose parent cannot be synced is removed.
  virtual absl::Status CreateDirectories(const std::string& path) = 0;

  // Names (not paths) in `path` without "." and "..", sorted.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& path) = 0;

  // True for a file or a folder.
  virtual absl::StatusOr<bool> Exists(const std::string& path) = 0;

  // Makes creations, renames and removals in `path` durable.
  virtual absl::Status SyncDirectory(const std::string& path) = 0;

  // Takes an exclusive lock on `path`, making the file if needed, without waiting.
  // FAILED_PRECONDITION if another process or holder has it.
  virtual absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;

  // Space of the file system that holds `path`.
  virtual absl::StatusOr<SpaceInfo> Space(const std::string& path) = 0;
};

// The system's file system. Lives for ever.
FileSystem& RealFileSystem();

// Reads the whole file, at most `limit` bytes: RESOURCE_EXHAUSTED if it is larger.
absl::StatusOr<std::string> ReadFile(FileSystem& fs, const std::string& path, uint64_t limit);

// Replaces `path` by a file with `contents`, durably and atomically: writes "<path>.tmp",
// syncs it, renames it over `path`, syncs the folder. After a crash `path` is old or new, whole.
absl::Status WriteFileAtomically(FileSystem& fs, const std::string& path,
                                 std::string_view contents);

// "dir/name"; just `name` when `dir` is empty.
std::string JoinPath(std::string_view dir, std::string_view name);

}  // namespace keelson

#endif  // KEELSON_BASE_FILE_SYSTEM_H_
