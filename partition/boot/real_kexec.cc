#include <linux/kexec.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "partition/boot/kexec.h"

namespace keelson::partition {
namespace {

// A file in memory with `contents`.
absl::StatusOr<UniqueFd> MemoryFile(const char* name, std::string_view contents) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC));
  if (!fd.ok()) {
    const int error = errno;
    return ErrnoError(error, absl::StrCat("memfd_create '", name, "'"));
  }
  for (std::string_view rest = contents; !rest.empty();) {
    const ssize_t written = ::write(fd.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error = errno;
      return ErrnoError(error, absl::StrCat("write '", name, "'"));
    }
    rest.remove_prefix(static_cast<size_t>(written));
  }
  return fd;
}

// glibc has no wrapper.
absl::Status KexecFileLoad(int linux, int initrd, const std::string& cmdline,
                           unsigned long flags) {  // NOLINT(google-runtime-int)
  if (::syscall(SYS_kexec_file_load, linux, initrd, cmdline.size() + 1, cmdline.c_str(), flags) ==
      0) {
    return absl::OkStatus();
  }
  const int error = errno;
  return ErrnoError(error, "kexec_file_load");
}

class SystemKexecKernel final : public KexecKernel {
 public:
  absl::Status Load(std::string_view linux, std::string_view initrd,
                    const std::string& cmdline) override {
    KEELSON_ASSIGN_OR_RETURN(const UniqueFd linux_fd, MemoryFile("linux", linux));
    KEELSON_ASSIGN_OR_RETURN(const UniqueFd initrd_fd, MemoryFile("initrd", initrd));
    return KexecFileLoad(linux_fd.get(), initrd_fd.get(), cmdline,
                         initrd.empty() ? KEXEC_FILE_NO_INITRAMFS : 0);
  }
  absl::Status Unload() override { return KexecFileLoad(-1, -1, "", KEXEC_FILE_UNLOAD); }
  absl::Status Start() override {
    ::sync();
    (void)::reboot(RB_KEXEC);
    const int error = errno;
    return ErrnoError(error, "start what is loaded");
  }
};

}  // namespace

KexecKernel& RealKexecKernel() {
  static auto& kernel = *new SystemKexecKernel;  // Lives for ever.
  return kernel;
}

}  // namespace keelson::partition
