#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "partition/verity/device_mapper.h"

namespace keelson::partition {
namespace {

constexpr const char kControl[] = "/dev/mapper/control";

std::string NodePath(const std::string& name) { return absl::StrCat("/dev/mapper/", name); }

class RealDmControl final : public DmControl {
 public:
  explicit RealDmControl(UniqueFd fd) : fd_(std::move(fd)) {}

  int Call(unsigned long request, std::span<char> buffer) override {
    while (::ioctl(fd_.get(), request, buffer.data()) != 0) {
      if (errno != EINTR) return errno;
    }
    return 0;
  }

  absl::Status AddNode(const std::string& name, uint32_t major, uint32_t minor) override {
    const std::string path = NodePath(name);
    struct stat info = {};
    const dev_t device = gnu_dev_makedev(major, minor);
    if (::stat(path.c_str(), &info) == 0 && S_ISBLK(info.st_mode) && info.st_rdev == device) {
      return absl::OkStatus();
    }
    (void)::unlink(path.c_str());  // One of an earlier device with this name.
    // As udev makes it: a link, so that there is one node. It may come while we look.
    const std::string target = absl::StrCat("../dm-", minor);
    if (::symlink(target.c_str(), path.c_str()) == 0 || errno == EEXIST) return absl::OkStatus();
    return ErrnoError(errno, absl::StrCat("make '", path, "'"));
  }

  absl::Status RemoveNode(const std::string& name) override {
    const std::string path = NodePath(name);
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
    return ErrnoError(errno, absl::StrCat("remove '", path, "'"));
  }

 private:
  const UniqueFd fd_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DmControl>> OpenDmControl() {
  UniqueFd fd(::open(kControl, O_RDWR | O_CLOEXEC));
  if (!fd.ok()) {
    const int error = errno;
    if (error == ENOENT || error == ENODEV || error == ENXIO) {
      return absl::UnavailableError(
          absl::StrCat("open '", kControl, "': this kernel has no device mapper"));
    }
    return ErrnoError(error, absl::StrCat("open '", kControl, "'"));
  }
  return std::make_unique<RealDmControl>(std::move(fd));
}

}  // namespace keelson::partition
