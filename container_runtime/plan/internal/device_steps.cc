#include <cerrno>
#include <cstring>

#include "container_runtime/path/calls.h"
#include "container_runtime/path/in_root.h"
#include "container_runtime/plan/internal/steps.h"

namespace keelson::container::steps {
namespace {

// An O_PATH descriptor is made into one that fchmod takes by procfs: there is no fchmod of a path
// descriptor before Linux 6.6.
int SetMode(Machine& machine, int fd, unsigned mode) {
  char name[32] = "thread-self/fd/";
  char* end = name + std::strlen(name);
  char digits[12];
  int count = 0;
  for (int n = fd; n > 0 || count == 0; n /= 10) digits[count++] = static_cast<char>('0' + n % 10);
  while (count > 0) *end++ = digits[--count];
  *end = '\0';
  return Named(
      machine, "fchmodat",
      machine.kernel.Call(SYS_fchmodat, machine.registers[kProc], calls::Pointer(name), mode));
}

// Something else may be there already; it is used if it is the same device, as the mode and the
// owner are about to be set on it.
int CheckNode(Machine& machine, const Step& step, int fd) {
  struct stat status = {};
  const int result = Named(machine, "fstat", calls::Fstat(machine.kernel, fd, &status));
  if (result < 0) return result;
  const auto mode = static_cast<mode_t>(step.value);
  const bool same = (status.st_mode & S_IFMT) == (mode & S_IFMT) &&
                    (S_ISFIFO(mode) || status.st_rdev == step.value2);
  if (same) return 0;
  SetDetail(machine, "a file of another kind is there");
  return Named(machine, "check", -EEXIST);
}

}  // namespace

int MakeNode(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  const char* name = nullptr;
  const int dir = Named(machine, "open",
                        OpenParentInRoot(kernel, Descriptor(machine, step.in), step.path, &name));
  if (dir < 0) return dir;
  const auto mode = static_cast<unsigned>(step.value);
  int result = Named(machine, "mknodat", calls::Mknodat(kernel, dir, name, mode, step.value2));
  const bool made = result >= 0;
  if (made || result == -EEXIST) {
    const int fd =
        Named(machine, "open", calls::Openat(kernel, dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    result = fd;
    if (fd >= 0) {
      result = CheckNode(machine, step, fd);
      if (result >= 0) result = SetMode(machine, fd, mode & 07777);
      if (result >= 0) {
        result = Named(machine, "fchownat",
                       calls::Fchownat(kernel, fd, "", static_cast<unsigned>(step.value3 >> 32),
                                       static_cast<unsigned>(step.value3), AT_EMPTY_PATH));
      }
      (void)calls::Close(kernel, fd);
    }
  }
  (void)calls::Close(kernel, dir);
  return result < 0 ? result : 0;
}

int Symlink(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  const char* name = nullptr;
  const int dir = Named(machine, "open",
                        OpenParentInRoot(kernel, Descriptor(machine, step.in), step.path, &name));
  if (dir < 0) return dir;
  const int result = Named(machine, "symlinkat", calls::Symlinkat(kernel, step.text, dir, name));
  (void)calls::Close(kernel, dir);
  return result == -EEXIST ? 0 : result;
}

int RemoveFile(Machine& machine, const Step& step) {
  const int result =
      Named(machine, "unlinkat",
            calls::Unlinkat(machine.kernel, Descriptor(machine, step.in), step.path, 0));
  return result == -ENOENT ? 0 : result;
}

}  // namespace keelson::container::steps
