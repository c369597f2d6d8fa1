#include "container_runtime/runtime/trampoline.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/status.h"
#include "container_runtime/runtime/trampoline_image.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

namespace keelson::container {

absl::StatusOr<UniqueFd> OpenTrampoline() {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  // Kernels before 6.3 do not know MFD_EXEC, and all memfds are executable there.
  UniqueFd file(::memfd_create("cradle-trampoline", kFlags | MFD_EXEC));
  if (!file.ok() && errno == EINVAL) file.Reset(::memfd_create("cradle-trampoline", kFlags));
  if (!file.ok()) return ErrnoError(errno, "memfd_create for the trampoline");
  const ssize_t written = ::write(file.get(), kTrampolineImage, sizeof(kTrampolineImage));
  if (written != static_cast<ssize_t>(sizeof(kTrampolineImage))) {
    return ErrnoError(errno, "write the trampoline");
  }
  constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  if (::fcntl(file.get(), F_ADD_SEALS, kSeals) != 0) {
    return ErrnoError(errno, "seal the trampoline");
  }
  return file;
}

}  // namespace keelson::container
