// The copy of a directory into the tmpfs that will cover it (mount option tmpcopyup).
#include <dirent.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

#include "container_runtime/path/calls.h"
#include "container_runtime/plan/internal/steps.h"

namespace keelson::container::steps {
namespace {

constexpr int kLevelsMax = 64;
constexpr size_t kChunkBytes = size_t{1} << 30;

struct Entry {  // struct linux_dirent64
  uint64_t inode;
  int64_t offset;
  uint16_t size;
  uint8_t type;
  char name[];
};

int CopyDirectory(Machine& machine, int from, int to, int levels);

// Owner, mode and times of `status` for `name` in `dir`.
int CopyOwner(Machine& machine, int dir, const char* name, const struct stat& status) {
  Kernel& kernel = machine.kernel;
  int result =
      Named(machine, "fchownat",
            calls::Fchownat(kernel, dir, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW));
  if (result >= 0 && !S_ISLNK(status.st_mode)) {
    result = Named(machine, "fchmodat",
                   kernel.Call(SYS_fchmodat, dir, calls::Pointer(name), status.st_mode & 07777));
  }
  const timespec times[2] = {status.st_atim, status.st_mtim};
  if (result >= 0) {
    result = Named(machine, "utimensat",
                   kernel.Call(SYS_utimensat, dir, calls::Pointer(name), calls::Pointer(times),
                               AT_SYMLINK_NOFOLLOW));
  }
  return result;
}

int CopyFile(Machine& machine, int from, int to, const char* name) {
  Kernel& kernel = machine.kernel;
  const int source =
      Named(machine, "open", calls::Openat(kernel, from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (source < 0) return source;
  const int target = Named(
      machine, "open",
      calls::Openat(kernel, to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  long result = target;
  while (result >= 0 && target >= 0) {
    result = Named(machine, "sendfile",
                   kernel.Call(SYS_sendfile, target, source, 0, static_cast<long>(kChunkBytes)));
    if (result == 0) break;
  }
  (void)calls::Close(kernel, source);
  if (target >= 0) (void)calls::Close(kernel, target);
  return result < 0 ? static_cast<int>(result) : 0;
}

int CopySubdirectory(Machine& machine, int from, int to, const char* name, int levels) {
  Kernel& kernel = machine.kernel;
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  int result = Named(machine, "mkdirat", calls::Mkdirat(kernel, to, name, 0700));
  if (result < 0) return result;
  const int source = Named(machine, "open", calls::Openat(kernel, from, name, kFlags));
  if (source < 0) return source;
  const int target = Named(machine, "open", calls::Openat(kernel, to, name, kFlags));
  result = target < 0 ? target : CopyDirectory(machine, source, target, levels - 1);
  (void)calls::Close(kernel, source);
  if (target >= 0) (void)calls::Close(kernel, target);
  return result;
}

int CopyEntry(Machine& machine, int from, int to, const char* name, int levels) {
  Kernel& kernel = machine.kernel;
  struct stat status = {};
  int result = Named(machine, "fstatat",
                     kernel.Call(SYS_newfstatat, from, calls::Pointer(name),
                                 calls::Pointer(&status), AT_SYMLINK_NOFOLLOW));
  if (result < 0) return result;
  if (S_ISDIR(status.st_mode)) {
    result = CopySubdirectory(machine, from, to, name, levels);
  } else if (S_ISREG(status.st_mode)) {
    result = CopyFile(machine, from, to, name);
  } else if (S_ISLNK(status.st_mode)) {
    char target[PATH_MAX] = {};
    const long size = calls::Readlinkat(kernel, from, name, target, sizeof(target) - 1);
    result = size < 0 ? Named(machine, "readlinkat", size)
                      : Named(machine, "symlinkat", calls::Symlinkat(kernel, target, to, name));
  } else {
    result =
        Named(machine, "mknodat", calls::Mknodat(kernel, to, name, status.st_mode, status.st_rdev));
  }
  return result < 0 ? result : CopyOwner(machine, to, name, status);
}

int CopyDirectory(Machine& machine, int from, int to, int levels) {
  if (levels == 0) return Named(machine, "copy", -ENAMETOOLONG);
  alignas(Entry) char buffer[4096];
  while (true) {
    const long size =
        machine.kernel.Call(SYS_getdents64, from, calls::Pointer(buffer), sizeof(buffer));
    if (size <= 0) return Named(machine, "getdents64", size);
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const Entry*>(buffer + at);
      at += entry->size;
      if (std::strcmp(entry->name, ".") == 0 || std::strcmp(entry->name, "..") == 0) continue;
      const int result = CopyEntry(machine, from, to, entry->name, levels);
      if (result < 0) return result;
    }
  }
}

}  // namespace

int CopyUp(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  // Both are O_PATH or mount descriptors: "." turns them into directories that can be read.
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  const int from =
      Named(machine, "open", calls::Openat(kernel, Descriptor(machine, step.at), ".", kFlags));
  if (from < 0) return from;
  const int to =
      Named(machine, "open", calls::Openat(kernel, Descriptor(machine, step.in), ".", kFlags));
  const int result = to < 0 ? to : CopyDirectory(machine, from, to, kLevelsMax);
  (void)calls::Close(kernel, from);
  if (to >= 0) (void)calls::Close(kernel, to);
  return result;
}

}  // namespace keelson::container::steps
