#include <cerrno>
#include <cstring>

#include "container_runtime/path/calls.h"
#include "container_runtime/path/in_root.h"
#include "container_runtime/plan/internal/steps.h"

namespace keelson::container::steps {
namespace {

constexpr unsigned kTreeFlags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
constexpr unsigned kRecursive = AT_RECURSIVE;
// What a mount namespace of fewer privileges may not take away from a mount it was given.
constexpr uint64_t kLockable =
    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

int CloneHere(Machine& machine, int fd, unsigned flags) {
  return Named(machine, "open_tree",
               calls::OpenTree(machine.kernel, fd, "", kTreeFlags | AT_EMPTY_PATH | flags));
}

// The mount is attached to `target` and closed.
int Attach(Machine& machine, int mount, int target) {
  const int result = Named(machine, "move_mount", calls::MoveMount(machine.kernel, mount, target));
  (void)calls::Close(machine.kernel, mount);
  return result;
}

char* AppendOctal(char* out, unsigned mode) {
  for (int shift = 9; shift >= 0; shift -= 3)
    *out++ = static_cast<char>('0' + ((mode >> shift) & 7));
  *out = '\0';
  return out;
}

// A file system context's own words about a failure, such as "e Unknown parameter 'x'".
void TakeFileSystemLog(Machine& machine, int fs) {
  char text[160];
  const long size = calls::Read(machine.kernel, fs, text, sizeof(text));
  if (size > 2) SetDetail(machine, std::string_view(text + 2, static_cast<size_t>(size) - 2));
}

int Configure(Machine& machine, const Step& step, int fs) {
  for (uint32_t i = 0; i < step.count; ++i) {
    const MountOption& option = step.options[i];
    const unsigned command = option.value == nullptr ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING;
    const int result =
        Named(machine, "fsconfig",
              calls::FsConfig(machine.kernel, fs, command, option.key, option.value));
    if (result < 0) return result;
  }
  // What was missing a moment ago has no mode to take over.
  const bool take_mode = (step.flags & kModeOfTarget) != 0 && !machine.target_made;
  if (take_mode && Descriptor(machine, step.at) >= 0) {
    struct stat status = {};
    int result = Named(machine, "fstat",
                       calls::Fstat(machine.kernel, Descriptor(machine, step.at), &status));
    if (result < 0) return result;
    char mode[8];
    AppendOctal(mode, status.st_mode & 07777);
    result = calls::FsConfig(machine.kernel, fs, FSCONFIG_SET_STRING, "mode", mode);
    if (result < 0) return Named(machine, "fsconfig", result);
  }
  return Named(machine, "fsconfig",
               calls::FsConfig(machine.kernel, fs, FSCONFIG_CMD_CREATE, nullptr, nullptr));
}

int MakeFileSystem(Machine& machine, const Step& step) {
  const int fs = Named(machine, "fsopen", calls::FsOpen(machine.kernel, step.text));
  if (fs < 0) return fs;
  int result = Configure(machine, step, fs);
  if (result < 0) TakeFileSystemLog(machine, fs);
  if (result >= 0) {
    result = Named(machine, "fsmount",
                   calls::FsMount(machine.kernel, fs, static_cast<unsigned>(step.value)));
  }
  (void)calls::Close(machine.kernel, fs);
  return result;
}

int HideDirectory(Machine& machine, int target) {
  const int original = machine.registers[kEmptyMount];
  if (machine.empty_attached) {
    const int empty = CloneHere(machine, original, 0);
    return empty < 0 ? empty : Attach(machine, empty, target);
  }
  // Before Linux 6.15 only what is attached can be cloned, so the first directory gets the mount itself.
  const int result =
      Named(machine, "move_mount", calls::MoveMount(machine.kernel, original, target));
  machine.empty_attached = result >= 0;
  return result;
}

// Hides a file behind the container's own null device. An image may have put anything in its place
// (CVE-2025-31133), so what is bound is checked by descriptor.
int HideFile(Machine& machine, int target) {
  constexpr uint64_t kNullDevice = (1 << 8) | 3;
  Kernel& kernel = machine.kernel;
  const int null = Named(machine, "open /dev/null",
                         OpenInRootNoSymlinks(kernel, machine.registers[kRoot], "dev/null"));
  if (null < 0) return null;
  struct stat status = {};
  int result = Named(machine, "fstat", calls::Fstat(kernel, null, &status));
  if (result >= 0 && (!S_ISCHR(status.st_mode) || status.st_rdev != kNullDevice)) {
    SetDetail(machine, "the container's /dev/null is not the null device");
    result = -EINVAL;
  }
  if (result >= 0) result = CloneHere(machine, null, 0);
  (void)calls::Close(kernel, null);
  return result < 0 ? result : Attach(machine, result, target);
}

}  // namespace

int OpenPath(Machine& machine, const Step& step) {
  const int flags = O_CLOEXEC | static_cast<int>(step.flags & ~kIgnoreFailure);
  return Keep(machine, step.out,
              Named(machine, "open", calls::Openat(machine.kernel, AT_FDCWD, step.path, flags)));
}

int CloneTree(Machine& machine, const Step& step) {
  const unsigned flags = kTreeFlags | static_cast<unsigned>(step.flags);
  return Keep(
      machine, step.out,
      Named(machine, "open_tree", calls::OpenTree(machine.kernel, AT_FDCWD, step.path, flags)));
}

int CloneAt(Machine& machine, const Step& step) {
  const int fd =
      Named(machine, "open", OpenInRoot(machine.kernel, Descriptor(machine, step.in), step.path));
  if (fd < 0) return fd;
  const int tree = CloneHere(machine, fd, static_cast<unsigned>(step.flags));
  (void)calls::Close(machine.kernel, fd);
  return Keep(machine, step.out, tree);
}

int NewMount(Machine& machine, const Step& step) {
  int mount = MakeFileSystem(machine, step);
  if ((step.flags & kBindIfRefused) != 0 && (mount == -EPERM || mount == -EBUSY)) {
    mount = Named(machine, "open_tree",
                  calls::OpenTree(machine.kernel, AT_FDCWD, step.path, kTreeFlags | AT_RECURSIVE));
    const mount_attr attributes = {.attr_set = step.value};
    if (mount >= 0 && step.value != 0) {
      const int result = Named(machine, "mount_setattr",
                               calls::MountSetattr(machine.kernel, mount, 0, attributes));
      if (result < 0) return result;
    }
  }
  return Keep(machine, step.out, mount);
}

int SetAttributes(Machine& machine, const Step& step) {
  mount_attr attributes = {
      .attr_set = step.value, .attr_clr = step.value2, .propagation = step.value3};
  if (step.at != kNone) attributes.userns_fd = static_cast<uint64_t>(machine.registers[step.at]);
  const auto flags = static_cast<unsigned>(step.flags & kRecursive);
  return Named(
      machine, "mount_setattr",
      calls::MountSetattr(machine.kernel, Descriptor(machine, step.in), flags, attributes));
}

int RemountBind(Machine& machine, const Step& step) {
  const int fd = Descriptor(machine, step.in);
  // What is neither asked for nor asked against goes too, as mount(2) with MS_REMOUNT | MS_BIND
  // has it; `value2` is what was asked against.
  mount_attr attributes = {.attr_set = step.value,
                           .attr_clr = (kLockable & ~step.value) | step.value2};
  const int result =
      Named(machine, "mount_setattr", calls::MountSetattr(machine.kernel, fd, 0, attributes));
  if (result != -EPERM) return result;
  // Locked by another user namespace: those flags stay, unless the user asked against one.
  attributes.attr_clr = step.value2;
  return Named(machine, "mount_setattr", calls::MountSetattr(machine.kernel, fd, 0, attributes));
}

int Target(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  const int root = Descriptor(machine, step.in);
  int fd = -ENOENT;
  if ((step.flags & kNoSymlinks) != 0) {
    fd = Named(machine, "open", OpenInRootNoSymlinks(kernel, root, step.path));
    if (fd == -ELOOP) {
      SetDetail(machine, "must be mounted on ordinary directory: a symlink is in the way");
    }
  }
  auto make = static_cast<Make>(step.value);
  if ((step.flags & kLikeSource) != 0) {
    struct stat status = {};
    const int result =
        Named(machine, "fstat", calls::Fstat(kernel, Descriptor(machine, step.at), &status));
    if (result < 0) return result;
    make = S_ISDIR(status.st_mode) ? Make::kDirectory : Make::kFile;
  }
  machine.target_made = false;
  if (fd == -ENOENT) {
    fd = Named(machine, "open", OpenInRoot(kernel, root, step.path, make, &machine.target_made));
  }
  return Keep(machine, step.out, fd);
}

int Move(Machine& machine, const Step& step) {
  const int result = Named(
      machine, "move_mount",
      calls::MoveMount(machine.kernel, Descriptor(machine, step.in), Descriptor(machine, step.at)));
  if (step.at != kOldRoot) (void)calls::Close(machine.kernel, Descriptor(machine, step.at));
  return result;
}

int Mask(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  const int target =
      Named(machine, "open", OpenInRoot(kernel, machine.registers[kRoot], step.path));
  if (target == -ENOENT || target == -ENOTDIR) return 0;
  if (target < 0) return target;
  struct stat status = {};
  int result = Named(machine, "fstat", calls::Fstat(kernel, target, &status));
  if (result >= 0) {
    result = S_ISDIR(status.st_mode) ? HideDirectory(machine, target) : HideFile(machine, target);
  }
  (void)calls::Close(kernel, target);
  return result;
}

int Readonly(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  const int target =
      Named(machine, "open", OpenInRoot(kernel, machine.registers[kRoot], step.path));
  if (target == -ENOENT || target == -ENOTDIR) return 0;
  if (target < 0) return target;
  int result = CloneHere(machine, target, kRecursive);
  if (result >= 0) {
    const int mount = result;
    result = Named(machine, "mount_setattr",
                   calls::MountSetattr(kernel, mount, 0, {.attr_set = MOUNT_ATTR_RDONLY}));
    if (result < 0) {
      (void)calls::Close(kernel, mount);
    } else {
      result = Attach(machine, mount, target);
    }
  }
  (void)calls::Close(kernel, target);
  return result;
}

int Pivot(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  int result = Named(machine, "fchdir", kernel.Call(SYS_fchdir, machine.registers[kRoot]));
  if (result < 0) return result;
  if ((step.flags & kNoPivot) != 0) {
    // The container's root lies on top of "/" already, so nothing needs moving.
    result = Named(machine, "chroot", kernel.Call(SYS_chroot, calls::Pointer(".")));
  } else {
    result = Named(machine, "pivot_root", calls::PivotRootHere(kernel));
    if (result < 0) return result;
    result = Named(machine, "fchdir", kernel.Call(SYS_fchdir, machine.registers[kOldRoot]));
    if (result < 0) return result;
    // Unmounting must not reach the host's own mounts, which may be peers. Slave and not private:
    // a private copy would keep devices busy that the host unmounts.
    result = Named(machine, "mount_setattr",
                   calls::MountSetattr(kernel, machine.registers[kOldRoot], kRecursive,
                                       {.propagation = 1 << 19 /* MS_SLAVE */}));
    if (result < 0) return result;
    result = Named(machine, "umount2", calls::DetachWorkingDirectory(kernel));
  }
  if (result < 0) return result;
  (void)calls::Close(kernel, machine.registers[kOldRoot]);
  machine.registers[kOldRoot] = -1;
  return Named(machine, "chdir", kernel.Call(SYS_chdir, calls::Pointer("/")));
}

int Propagation(Machine& machine, const Step& step) {
  return Named(machine, "mount_setattr",
               calls::MountSetattr(machine.kernel, Descriptor(machine, step.in),
                                   static_cast<unsigned>(step.flags & kRecursive),
                                   {.propagation = step.value}));
}

}  // namespace keelson::container::steps
