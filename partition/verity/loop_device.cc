#include "partition/verity/loop_device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

constexpr const char kControl[] = "/dev/loop-control";
// Others look for a free device too, and may be faster.
constexpr int kTries = 64;

absl::StatusOr<UniqueFd> OpenPath(const std::string& path, int flags) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (fd.ok()) return fd;
  const int error = errno;
  return ErrnoError(error, absl::StrCat("open '", path, "'"));
}

absl::StatusOr<UniqueFd> OpenControl() {
  absl::StatusOr<UniqueFd> control = OpenPath(kControl, O_RDWR);
  if (!absl::IsNotFound(control.status())) return control;
  return absl::UnavailableError(
      absl::StrCat("open '", kControl, "': this kernel has no loop devices"));
}

}  // namespace

absl::StatusOr<LoopDevice> LoopDevice::Attach(const std::string& file) {
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd backing, OpenPath(file, O_RDONLY));
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd control, OpenControl());
  loop_config config = {};
  config.fd = static_cast<__u32>(backing.get());
  config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
  // For losetup and lsblk; the field ends with a zero.
  file.copy(reinterpret_cast<char*>(config.info.lo_file_name), LO_NAME_SIZE - 1);
  int error = 0;
  for (int i = 0; i < kTries; ++i) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) {
      error = errno;
      return ErrnoError(error, "find a free loop device");
    }
    std::string path = absl::StrCat("/dev/loop", number);
    KEELSON_ASSIGN_OR_RETURN(UniqueFd loop, OpenPath(path, O_RDONLY));
    if (::ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) {
      return LoopDevice(std::move(loop), std::move(path));
    }
    error = errno;
    if (error != EBUSY) break;
  }
  return ErrnoError(error, absl::StrCat("attach '", file, "' to a loop device"));
}

}  // namespace keelson::partition
