#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

#include <cerrno>
#include <cstring>

#include "container_runtime/path/calls.h"
#include "container_runtime/path/in_root.h"
#include "container_runtime/plan/internal/steps.h"

namespace keelson::container::steps {
namespace {

constexpr int kStreams = 3;
constexpr uint64_t kNullDevice = (1 << 8) | 3;

// The multiplexer of the container's own devpts, and nothing that looks like it.
int OpenMultiplexer(Machine& machine) {
  constexpr long kDevptsMagic = 0x1cd1;
  constexpr uint64_t kMultiplexer = (5 << 8) | 2;
  Kernel& kernel = machine.kernel;
  const int master =
      Named(machine, "open /dev/pts/ptmx",
            calls::Openat2(kernel, machine.registers[kRoot], "dev/pts/ptmx",
                           O_RDWR | O_NOCTTY | O_CLOEXEC, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS));
  if (master < 0) return master;
  struct stat status = {};
  struct statfs fs = {};
  int result = Named(machine, "fstat", calls::Fstat(kernel, master, &status));
  if (result >= 0) result = Named(machine, "fstatfs", calls::Fstatfs(kernel, master, &fs));
  if (result >= 0 && (fs.f_type != kDevptsMagic || status.st_rdev != kMultiplexer)) {
    SetDetail(machine, "/dev/pts/ptmx is not that of a devpts");
    result = -ENODEV;
  }
  if (result >= 0) return master;
  (void)calls::Close(kernel, master);
  return result;
}

int SendDescriptor(Machine& machine, int socket, int fd) {
  char name[] = "/dev/ptmx";
  iovec text = {.iov_base = name, .iov_len = sizeof(name) - 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &text;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  return Named(machine, "sendmsg",
               machine.kernel.Call(SYS_sendmsg, socket, calls::Pointer(&message), MSG_NOSIGNAL));
}

// Binds the terminal over /dev/console by descriptor: a path could have been swapped
// (CVE-2025-52565).
int MountConsole(Machine& machine, int terminal) {
  Kernel& kernel = machine.kernel;
  const int target =
      Named(machine, "open /dev/console",
            OpenInRoot(kernel, machine.registers[kRoot], "dev/console", Make::kFile));
  if (target < 0) return target;
  const int tree = Named(
      machine, "open_tree",
      calls::OpenTree(kernel, terminal, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  int result = tree;
  if (tree >= 0) {
    result = Named(machine, "move_mount", calls::MoveMount(kernel, tree, target));
    (void)calls::Close(kernel, tree);
  }
  (void)calls::Close(kernel, target);
  return result;
}

int PlainNewlines(Machine& machine, int terminal) {
  // The kernel's structure, which is shorter than the C library's; that has room for it.
  termios settings = {};
  int result = Named(machine, "ioctl TCGETS",
                     machine.kernel.Call(SYS_ioctl, terminal, TCGETS, calls::Pointer(&settings)));
  if (result < 0) return result;
  settings.c_oflag &= ~static_cast<tcflag_t>(ONLCR);
  return Named(machine, "ioctl TCSETS",
               machine.kernel.Call(SYS_ioctl, terminal, TCSETS, calls::Pointer(&settings)));
}

int BecomeStdio(Machine& machine, int terminal) {
  Kernel& kernel = machine.kernel;
  int result = Named(machine, "ioctl TIOCSCTTY", kernel.Call(SYS_ioctl, terminal, TIOCSCTTY, 0));
  for (int fd = 0; fd < kStreams && result >= 0; ++fd) {
    result = Named(machine, "dup3", kernel.Call(SYS_dup3, terminal, fd, 0));
  }
  return result;
}

}  // namespace

int Console(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  const int master = OpenMultiplexer(machine);
  if (master < 0) return master;
  int unlock = 0;
  int result = Named(machine, "ioctl TIOCSPTLCK",
                     kernel.Call(SYS_ioctl, master, TIOCSPTLCK, calls::Pointer(&unlock)));
  int terminal = -1;
  if (result >= 0) {
    // Never opened as /dev/pts/N, which is a path of the container's.
    terminal = Named(machine, "ioctl TIOCGPTPEER",
                     kernel.Call(SYS_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
    result = terminal;
  }
  if (result >= 0 && step.value != 0) {
    winsize size = {};
    size.ws_row = static_cast<uint16_t>(step.value);
    size.ws_col = static_cast<uint16_t>(step.value >> 16);
    result = Named(machine, "ioctl TIOCSWINSZ",
                   kernel.Call(SYS_ioctl, master, TIOCSWINSZ, calls::Pointer(&size)));
  }
  if (result >= 0 && (step.flags & kPlainNewlines) != 0) result = PlainNewlines(machine, terminal);
  if (result >= 0) result = SendDescriptor(machine, machine.registers[kConsole], master);
  if (result >= 0 && (step.flags & kOnlyStdio) == 0) result = MountConsole(machine, terminal);
  if (result >= 0) result = BecomeStdio(machine, terminal);
  (void)calls::Close(kernel, master);
  (void)calls::Close(kernel, machine.registers[kConsole]);
  if (terminal > 2) (void)calls::Close(kernel, terminal);
  return result < 0 ? result : 0;
}

int NewSession(Machine& machine, const Step&) {
  const int result = Named(machine, "setsid", machine.kernel.Call(SYS_setsid));
  return result < 0 ? result : 0;
}

int ReopenNull(Machine& machine, const Step&) {
  Kernel& kernel = machine.kernel;
  for (int fd = 0; fd < kStreams; ++fd) {
    struct stat status = {};
    if (calls::Fstat(kernel, fd, &status) < 0) continue;  // A closed stream stays closed.
    if (!S_ISCHR(status.st_mode) || status.st_rdev != kNullDevice) continue;
    const long flags = kernel.Call(SYS_fcntl, fd, F_GETFL);
    const int null = calls::Openat2(kernel, machine.registers[kRoot], "dev/null",
                                    static_cast<uint64_t>(flags & O_ACCMODE) | O_CLOEXEC,
                                    RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
    if (null < 0) continue;  // A container without /dev/null keeps the host's.
    if (calls::Fstat(kernel, null, &status) == 0 && S_ISCHR(status.st_mode) &&
        status.st_rdev == kNullDevice) {
      (void)kernel.Call(SYS_dup3, null, fd, 0);
    }
    (void)calls::Close(kernel, null);
  }
  return 0;
}

int OwnStdio(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  for (int fd = 0; fd < kStreams; ++fd) {
    struct stat status = {};
    if (calls::Fstat(kernel, fd, &status) < 0) continue;
    if (status.st_rdev == kNullDevice || status.st_uid == step.value) continue;
    // The group stays: it may have no number in the container's user namespace.
    const int result =
        Named(machine, "fchown", kernel.Call(SYS_fchown, fd, static_cast<long>(step.value), -1));
    // A file of a user who has no number here, of a read-only file system or one that keeps no
    // owners: the stream works as it is.
    if (result < 0 && result != -EINVAL && result != -EPERM && result != -EROFS) return result;
  }
  return 0;
}

}  // namespace keelson::container::steps
