// Finds and makes things below a root that its owner may be changing meanwhile.
//
// A path is resolved as the container would see it: symlinks, absolute ones too, and ".." stay below
// `root`; magic links (those of /proc/PID/fd and exe) are refused. Resolution is the kernel's
// (openat2 with RESOLVE_IN_ROOT) or, where that call is missing or filtered, a walk of O_PATH
// descriptors, one component at a time. What comes back is a descriptor; nobody resolves the path a
// second time.
//
// Every function is async-signal-safe, takes no memory, and returns a descriptor (close-on-exec) or
// -errno. `root` is a descriptor of a directory.
#ifndef KEELSON_CONTAINER_RUNTIME_PATH_IN_ROOT_H_
#define KEELSON_CONTAINER_RUNTIME_PATH_IN_ROOT_H_

#include <cstdint>

#include "container_runtime/path/kernel.h"

namespace keelson::container {

enum class Make {
  kNothing,    // -ENOENT when it is missing
  kDirectory,  // a directory, and directories above it, mode 0755
  kFile,       // an empty regular file, and directories above it
};

// An O_PATH descriptor of `path` below `root`. With `make`, what is missing is made; what exists
// must then be a directory for kDirectory and none for kFile (-ENOTDIR, -EISDIR). `*made`, where
// given, becomes true when it was missing.
int OpenInRoot(Kernel& kernel, int root, const char* path, Make make = Make::kNothing,
               bool* made = nullptr);

// As OpenInRoot without `make`, but no component may be a symlink (-ELOOP). For what must not be
// led anywhere else, such as /proc, /sys and /dev (CVE-2019-19921, CVE-2023-27561).
int OpenInRootNoSymlinks(Kernel& kernel, int root, const char* path);

// The walk alone, as OpenInRoot does it where openat2 is missing. `no_symlinks` as above.
int WalkInRoot(Kernel& kernel, int root, const char* path, bool no_symlinks);

// Makes the directory in which `path` ends and returns a descriptor of it (O_PATH); `*name` points
// to the last component inside `path`. -EINVAL where there is none ("/", "a/..").
int OpenParentInRoot(Kernel& kernel, int root, const char* path, const char** name);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_PATH_IN_ROOT_H_
