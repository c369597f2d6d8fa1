#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>

#include "container_runtime/path/calls.h"
#include "container_runtime/plan/internal/steps.h"

namespace keelson::container::steps {
namespace {

constexpr int kCloneNewTime = 0x80;

// Opens a file of procfs for writing. No mount and no symlink below the checked procfs may lead to
// another file (CVE-2019-19921, CVE-2025-52881); "self" and "thread-self" are procfs's own symlinks.
int OpenProc(Machine& machine, const char* path) {
  const bool self =
      std::strncmp(path, "thread-self/", 12) == 0 || std::strncmp(path, "self/", 5) == 0;
  const uint64_t resolve =
      RESOLVE_NO_XDEV | RESOLVE_BENEATH | (self ? RESOLVE_NO_MAGICLINKS : RESOLVE_NO_SYMLINKS);
  const int proc = machine.registers[kProc];
  const int fd = Named(machine, "open",
                       calls::Openat2(machine.kernel, proc, path, O_WRONLY | O_CLOEXEC, resolve));
  if (fd != -ENOSYS && fd != -EPERM) return fd;
  return Named(machine, "open", calls::Openat(machine.kernel, proc, path, O_WRONLY | O_CLOEXEC));
}

int WriteText(Machine& machine, const char* path, const char* text) {
  const int fd = OpenProc(machine, path);
  if (fd < 0) return fd;
  const size_t size = std::strlen(text);
  const long written = Named(machine, "write", calls::Write(machine.kernel, fd, text, size));
  (void)calls::Close(machine.kernel, fd);
  if (written < 0) return static_cast<int>(written);
  return static_cast<size_t>(written) == size ? 0 : -EIO;
}

char* AppendNumber(char* out, long number) {
  char digits[20];
  int count = 0;
  for (; number > 0 || count == 0; number /= 10) {
    digits[count++] = static_cast<char>('0' + number % 10);
  }
  while (count > 0) *out++ = digits[--count];
  return out;
}

struct CapabilitySets {
  uint64_t effective, permitted, inheritable;
};

int ReadCapabilities(Machine& machine, CapabilitySets* out) {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2] = {};
  const long result =
      machine.kernel.Call(SYS_capget, calls::Pointer(&header), calls::Pointer(data));
  out->effective = data[0].effective | (uint64_t{data[1].effective} << 32);
  out->permitted = data[0].permitted | (uint64_t{data[1].permitted} << 32);
  out->inheritable = data[0].inheritable | (uint64_t{data[1].inheritable} << 32);
  return Named(machine, "capget", result);
}

// The key's permissions, from "type;uid;gid;PERMISSIONS;description".
uint32_t ParsePermissions(const char* text) {
  for (int field = 0; field < 3 && *text != '\0'; ++text) field += *text == ';' ? 1 : 0;
  uint32_t value = 0;
  for (; *text != '\0' && *text != ';'; ++text) {
    const char c = *text;
    if (c >= '0' && c <= '9') value = value * 16 + static_cast<uint32_t>(c - '0');
    if (c >= 'a' && c <= 'f') value = value * 16 + static_cast<uint32_t>(c - 'a' + 10);
  }
  return value;
}

}  // namespace

int AttachCgroup(Machine& machine, const Step&) {
  for (const int fd : machine.cgroup_tasks) {
    // "0" is the writer itself: no lock that waits for an RCU grace period (cgroup_manager.h).
    const int result = Named(machine, "write 0 to tasks", calls::Write(machine.kernel, fd, "0", 1));
    if (result < 0) return result;
  }
  return 0;
}

int SetNs(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  const int fd = Descriptor(machine, step.in);
  if (step.path != nullptr) {
    // Joined before the user namespace was, after which it may be refused.
    const int present =
        calls::Openat(kernel, machine.registers[kProc], step.path, O_PATH | O_CLOEXEC);
    struct stat here = {};
    struct stat there = {};
    const bool same = present >= 0 && calls::Fstat(kernel, present, &here) >= 0 &&
                      calls::Fstat(kernel, fd, &there) >= 0 && here.st_ino == there.st_ino &&
                      here.st_dev == there.st_dev;
    if (present >= 0) (void)calls::Close(kernel, present);
    if (same) return 0;
  }
  return Named(machine, "setns",
               kernel.Call(SYS_setns, fd, static_cast<long>(step.flags & ~kIgnoreFailure)));
}

int TimeOffsets(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  int result = Named(machine, "unshare", kernel.Call(SYS_unshare, kCloneNewTime));
  if (result < 0) return result;
  if (step.text[0] != '\0') {
    // A thread has no such file, the process does.
    result = WriteText(machine, "self/timens_offsets", step.text);
    if (result < 0) return result;
  }
  const int fd = Named(machine, "open",
                       calls::Openat(kernel, machine.registers[kProc],
                                     "thread-self/ns/time_for_children", O_RDONLY | O_CLOEXEC));
  if (fd < 0) return fd;
  result = Named(machine, "setns", kernel.Call(SYS_setns, fd, kCloneNewTime));
  (void)calls::Close(kernel, fd);
  return result;
}

int BecomeRoot(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  int result = 0;
  if (step.flags == 0) {
    result = Named(machine, "setgroups", kernel.Call(SYS_setgroups, 0, 0));
    if (result < 0) return result;
  }
  result = Named(machine, "setresgid", kernel.Call(SYS_setresgid, 0, 0, 0));
  if (result < 0) return result;
  return Named(machine, "setresuid", kernel.Call(SYS_setresuid, 0, 0, 0));
}

int JoinKeyring(Machine& machine, const Step& step) {
  constexpr uint32_t kUserMaySearch = 0x080000;
  Kernel& kernel = machine.kernel;
  const long key = kernel.Call(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, calls::Pointer(step.text));
  // A kernel without keyrings, or a filter around us: the container has none then.
  if (key == -ENOSYS || key == -EPERM) return 0;
  if (key < 0) return Named(machine, "keyctl join session keyring", key);
  char text[512] = {};
  const long size =
      kernel.Call(SYS_keyctl, KEYCTL_DESCRIBE, key, calls::Pointer(text), sizeof(text) - 1);
  if (size < 0) return Named(machine, "keyctl describe", size);
  const uint32_t permissions = ParsePermissions(text) | kUserMaySearch;
  return Named(machine, "keyctl setperm",
               kernel.Call(SYS_keyctl, KEYCTL_SETPERM, key, permissions));
}

int WriteProc(Machine& machine, const Step& step) {
  return WriteText(machine, step.path, step.text);
}

int WriteProcOfChild(Machine& machine, const Step& step) {
  char path[128];
  char* end = AppendNumber(path, machine.child);
  *end++ = '/';
  const size_t size = std::strlen(step.path);
  if (size + 1 > sizeof(path) - static_cast<size_t>(end - path)) return -ENAMETOOLONG;
  std::memcpy(end, step.path, size + 1);
  return WriteText(machine, path, step.text);
}

int SetRlimit(Machine& machine, const Step& step) {
  const rlimit64 limit = {.rlim_cur = step.value2, .rlim_max = step.value3};
  return Named(machine, "prlimit",
               machine.kernel.Call(SYS_prlimit64, machine.child, static_cast<long>(step.value),
                                   calls::Pointer(&limit), 0));
}

int DropBounding(Machine& machine, const Step& step) {
  constexpr int kCapabilitiesMax = 64;
  for (int capability = 0; capability < kCapabilitiesMax; ++capability) {
    if (((step.value >> capability) & 1) != 0) continue;
    const int result = Named(machine, "prctl PR_CAPBSET_DROP",
                             machine.kernel.Call(SYS_prctl, PR_CAPBSET_DROP, capability));
    if (result == -EINVAL) return 0;  // Past the kernel's last one.
    if (result >= 0) continue;
    // Who may not drop any may have none to drop.
    const long has = machine.kernel.Call(SYS_prctl, PR_CAPBSET_READ, capability);
    if (has == -EINVAL) return 0;
    if (has != 0) return result;
  }
  return 0;
}

int SetUser(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  const auto uid = static_cast<long>(step.value);
  const auto gid = static_cast<long>(step.value2);
  int result = Named(machine, "prctl PR_SET_KEEPCAPS", kernel.Call(SYS_prctl, PR_SET_KEEPCAPS, 1));
  if (result < 0) return result;
  if (step.flags == 0) {
    result = Named(machine, "setgroups",
                   kernel.Call(SYS_setgroups, step.count, calls::Pointer(step.data)));
    if (result < 0) return result;
  }
  result = Named(machine, "setresgid", kernel.Call(SYS_setresgid, gid, gid, gid));
  if (result < 0) return result;
  return Named(machine, "setresuid", kernel.Call(SYS_setresuid, uid, uid, uid));
}

int SetCapabilities(Machine& machine, const Step& step) {
  CapabilitySets now = {};
  int result = ReadCapabilities(machine, &now);
  if (result < 0) return result;
  // What this host does not have cannot be given; the container starts without it, as the
  // specification asks.
  const uint64_t permitted = step.value2 & now.permitted;
  const uint64_t effective = step.value & permitted;
  const uint64_t inheritable = step.value3 & now.permitted;
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2] = {};
  for (int half = 0; half < 2; ++half) {
    data[half].effective = static_cast<uint32_t>(effective >> (32 * half));
    data[half].permitted = static_cast<uint32_t>(permitted >> (32 * half));
    data[half].inheritable = static_cast<uint32_t>(inheritable >> (32 * half));
  }
  result = Named(machine, "capset",
                 machine.kernel.Call(SYS_capset, calls::Pointer(&header), calls::Pointer(data)));
  if (result < 0) return result;
  return Named(machine, "prctl PR_SET_KEEPCAPS",
               machine.kernel.Call(SYS_prctl, PR_SET_KEEPCAPS, 0));
}

int RaiseAmbient(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  CapabilitySets now = {};
  int result = ReadCapabilities(machine, &now);
  if (result < 0) return result;
  (void)kernel.Call(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  const uint64_t possible = step.value & now.permitted & now.inheritable;
  for (int capability = 0; capability < 64; ++capability) {
    if (((possible >> capability) & 1) == 0) continue;
    result = Named(machine, "prctl PR_CAP_AMBIENT_RAISE",
                   kernel.Call(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0));
    if (result < 0) return result;
  }
  return 0;
}

int ChangeDirectory(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  const int result = Named(machine, "chdir", kernel.Call(SYS_chdir, calls::Pointer(step.path)));
  if (result < 0) return result;
  // A descriptor of the host that is left open can be reached as /proc/self/fd/N. The kernel tells
  // such a directory by its path (CVE-2024-21626).
  char path[PATH_MAX];
  const int size =
      Named(machine, "getcwd", kernel.Call(SYS_getcwd, calls::Pointer(path), sizeof(path)));
  if (size < 0) return size;
  if (path[0] != '/') {
    SetDetail(machine, "the working directory is outside of the container");
    return -ENOENT;
  }
  return 0;
}

}  // namespace keelson::container::steps
