// A file as a read-only block device of the kernel: for the device mapper, which takes no files.
//
//   KEELSON_ASSIGN_OR_RETURN(const LoopDevice loop, LoopDevice::Attach("usr.img"));
//   ... a device on loop.path() ...
//
// The kernel detaches the file when nobody uses the device any more. The object is one user, what
// is set up on the device another: so a device that does not come up leaves nothing behind, and one
// that does takes the file with it when it is closed.
#ifndef KEELSON_PARTITION_VERITY_LOOP_DEVICE_H_
#define KEELSON_PARTITION_VERITY_LOOP_DEVICE_H_

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace keelson::partition {

class LoopDevice {
 public:
  // Bytes of a last sector that is not whole cannot be read through the device.
  //
  // Errors:
  //   NOT_FOUND          no such file.
  //   PERMISSION_DENIED  needs root.
  //   UNAVAILABLE        this kernel has no loop devices.
  static absl::StatusOr<LoopDevice> Attach(const std::string& file);

  // "/dev/loop0"
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  LoopDevice(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  UniqueFd fd_;
  std::string path_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_LOOP_DEVICE_H_
