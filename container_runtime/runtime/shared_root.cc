#include "container_runtime/runtime/shared_root.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "container_runtime/path/calls.h"
#include "container_runtime/plan/compiler.h"

namespace keelson::container {
namespace {

uint64_t MountOf(const char* path) {
  struct statx status = {};
  const int result = ::statx(AT_FDCWD, path, AT_NO_AUTOMOUNT, STATX_MNT_ID, &status);
  return result == 0 && (status.stx_mask & STATX_MNT_ID) != 0 ? status.stx_mnt_id : 0;
}

// 0 or -errno. What is on top is taken away if it is the container's: the one that is known to be, or
// one that has come since. Async-signal-safe.
int Unmount(const char* path, uint64_t ours, uint64_t before) {
  const uint64_t now = MountOf(path);
  if (now == 0 || (ours != 0 ? now != ours : before == 0 || now == before)) return 0;
  const int result = calls::DetachMount(RealKernel(), path);
  return result == -EINVAL ? 0
                           : result;  // No mount point: it has been taken away with what it was on.
}

// In the mount namespace `space`: by a child, as a process with threads cannot enter it.
int UnmountIn(int space, const char* path, uint64_t ours, uint64_t before) {
  const pid_t pid = ::fork();
  if (pid < 0) return -errno;
  if (pid == 0) {
    if (::setns(space, CLONE_NEWNS) == 0) ::_exit(-Unmount(path, ours, before));
    // What is no mount namespace has no mounts.
    ::_exit(errno == EINVAL ? 0 : errno);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

}  // namespace

uint64_t MountOf(const std::string& path) { return MountOf(path.c_str()); }

absl::Status RemoveSharedRoot(const Spec& spec, const ContainerState& state) {
  if (!SharesMounts(spec.linux_)) return absl::OkStatus();
  std::string place;
  for (const Namespace& space : spec.linux_.namespaces) {
    if (space.type == NamespaceType::kMount) place = space.path;
  }
  int result = 0;
  if (place.empty()) {
    result = Unmount(state.rootfs.c_str(), state.root_mount, state.mount_before);
  } else {
    const UniqueFd space(::open(place.c_str(), O_RDONLY | O_CLOEXEC));
    if (!space.ok()) return absl::OkStatus();
    result = UnmountIn(space.get(), state.rootfs.c_str(), state.root_mount, state.mount_before);
  }
  if (result == 0) return absl::OkStatus();
  return ErrnoError(-result, absl::StrCat("unmount the container's root at '", state.rootfs, "'"));
}

}  // namespace keelson::container
