// Typed system calls over a Kernel, each a line. Results are the kernel's: >= 0, or -errno.
//
// Everything here is async-signal-safe. Paths are strings ended by NUL; calls that take one below a
// descriptor are for single components made by us, all others go through in_root.h.
#ifndef KEELSON_CONTAINER_RUNTIME_PATH_CALLS_H_
#define KEELSON_CONTAINER_RUNTIME_PATH_CALLS_H_

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "container_runtime/path/kernel.h"

// What Debian 12's headers lack.
#ifndef SYS_statmount
#define SYS_statmount 457
#endif

namespace keelson::container::calls {

inline long Pointer(const void* p) { return reinterpret_cast<long>(p); }

inline int Openat2(Kernel& k, int dir, const char* path, uint64_t flags, uint64_t resolve,
                   uint64_t mode = 0) {
  open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
  return static_cast<int>(k.Call(SYS_openat2, dir, Pointer(path), Pointer(&how), sizeof(how)));
}
inline int Openat(Kernel& k, int dir, const char* name, int flags, int mode = 0) {
  return static_cast<int>(k.Call(SYS_openat, dir, Pointer(name), flags, mode));
}
inline int Close(Kernel& k, int fd) { return static_cast<int>(k.Call(SYS_close, fd)); }
inline int Mkdirat(Kernel& k, int dir, const char* name, unsigned mode) {
  return static_cast<int>(k.Call(SYS_mkdirat, dir, Pointer(name), mode));
}
inline int Mknodat(Kernel& k, int dir, const char* name, unsigned mode, uint64_t device) {
  return static_cast<int>(k.Call(SYS_mknodat, dir, Pointer(name), mode, static_cast<long>(device)));
}
inline int Symlinkat(Kernel& k, const char* target, int dir, const char* name) {
  return static_cast<int>(k.Call(SYS_symlinkat, Pointer(target), dir, Pointer(name)));
}
inline int Unlinkat(Kernel& k, int dir, const char* name, int flags) {
  return static_cast<int>(k.Call(SYS_unlinkat, dir, Pointer(name), flags));
}
inline long Readlinkat(Kernel& k, int dir, const char* name, char* buffer, size_t size) {
  return k.Call(SYS_readlinkat, dir, Pointer(name), Pointer(buffer), static_cast<long>(size));
}
inline int Fstat(Kernel& k, int fd, struct stat* out) {
  return static_cast<int>(k.Call(SYS_newfstatat, fd, Pointer(""), Pointer(out), AT_EMPTY_PATH));
}
inline int Fstatfs(Kernel& k, int fd, struct statfs* out) {
  return static_cast<int>(k.Call(SYS_fstatfs, fd, Pointer(out)));
}
inline int Fchmod(Kernel& k, int fd, unsigned mode) {
  return static_cast<int>(k.Call(SYS_fchmod, fd, mode));
}
inline int Fchownat(Kernel& k, int dir, const char* name, unsigned uid, unsigned gid, int flags) {
  return static_cast<int>(k.Call(SYS_fchownat, dir, Pointer(name), uid, gid, flags));
}
inline long Write(Kernel& k, int fd, const void* data, size_t size) {
  return k.Call(SYS_write, fd, Pointer(data), static_cast<long>(size));
}
inline long Read(Kernel& k, int fd, void* data, size_t size) {
  return k.Call(SYS_read, fd, Pointer(data), static_cast<long>(size));
}

// The mount calls. Only by descriptor: the path arguments are always empty, but for OpenTree, whose
// path is one of the host's own (a source named in config.json), never one of the container's.
inline int OpenTree(Kernel& k, int dir, const char* host_path, unsigned flags) {
  return static_cast<int>(k.Call(SYS_open_tree, dir, Pointer(host_path), flags));
}
inline int MoveMount(Kernel& k, int mount, int target) {
  constexpr unsigned kBothByDescriptor = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  return static_cast<int>(
      k.Call(SYS_move_mount, mount, Pointer(""), target, Pointer(""), kBothByDescriptor));
}
inline int FsOpen(Kernel& k, const char* type) {
  return static_cast<int>(k.Call(SYS_fsopen, Pointer(type), FSOPEN_CLOEXEC));
}
inline int FsConfig(Kernel& k, int fs, unsigned command, const char* key, const char* value) {
  return static_cast<int>(k.Call(SYS_fsconfig, fs, command, Pointer(key), Pointer(value), 0));
}
inline int FsMount(Kernel& k, int fs, unsigned attributes) {
  return static_cast<int>(k.Call(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes));
}
inline int MountSetattr(Kernel& k, int mount, unsigned flags, const mount_attr& attributes) {
  return static_cast<int>(k.Call(SYS_mount_setattr, mount, Pointer(""),
                                 static_cast<long>(AT_EMPTY_PATH | flags), Pointer(&attributes),
                                 sizeof(attributes)));
}
// The mount namespace's root becomes the working directory, which is a mount; the old root is
// stacked on top of it, to be taken away by DetachWorkingDirectory.
inline int PivotRootHere(Kernel& k) {
  return static_cast<int>(k.Call(SYS_pivot_root, Pointer("."), Pointer(".")));
}
inline int DetachWorkingDirectory(Kernel& k) {
  constexpr int kDetach = 2;  // MNT_DETACH
  return static_cast<int>(k.Call(SYS_umount2, Pointer("."), kDetach));
}
// What is mounted at a path of the host's own, seen before the root changes.
inline int DetachMount(Kernel& k, const char* host_path) {
  constexpr int kDetachNoFollow = 2 | 8;
  return static_cast<int>(k.Call(SYS_umount2, Pointer(host_path), kDetachNoFollow));
}

}  // namespace keelson::container::calls

#endif  // KEELSON_CONTAINER_RUNTIME_PATH_CALLS_H_
