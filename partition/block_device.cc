#include "partition/block_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace keelson::partition {
namespace {

constexpr std::string_view kSignature = "EFI PART";

class FileDevice final : public BlockDevice {
 public:
  struct Options {
    Geometry geometry;
    bool write = false;
    bool is_block_device = false;
  };

  FileDevice(std::string name, UniqueFd fd, const Options& options)
      : name_(std::move(name)), fd_(std::move(fd)), options_(options) {}

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] Geometry geometry() const override { return options_.geometry; }

  absl::Status Read(uint64_t offset, std::span<char> buffer) const override {
    KEELSON_RETURN_IF_ERROR(CheckRange("read", offset, buffer.size()));
    for (size_t done = 0; done < buffer.size();) {
      const ssize_t n = ::pread(fd_.get(), buffer.data() + done, buffer.size() - done,
                                static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Error("pread", offset + done);
      if (n == 0) {
        return absl::DataLossError(
            absl::StrCat("pread '", name_, "' at ", offset + done, ": the file became shorter"));
      }
      done += static_cast<size_t>(n);
    }
    return absl::OkStatus();
  }

  absl::Status Write(uint64_t offset, std::string_view data) override {
    KEELSON_RETURN_IF_ERROR(CheckWritable("write"));
    KEELSON_RETURN_IF_ERROR(CheckRange("write", offset, data.size()));
    for (size_t done = 0; done < data.size();) {
      const ssize_t n = ::pwrite(fd_.get(), data.data() + done, data.size() - done,
                                 static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Error("pwrite", offset + done);
      done += static_cast<size_t>(n);
    }
    return absl::OkStatus();
  }

  absl::Status Flush() override {
    KEELSON_RETURN_IF_ERROR(CheckWritable("flush"));
    if (::fdatasync(fd_.get()) != 0) {
      return ErrnoError(errno, std::string("fdatasync '").append(name_).append("'"));
    }
    return absl::OkStatus();
  }

  void ForgetCache() const override {
    (void)::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);  // A hint to the system.
  }

  absl::Status RereadPartitions() override {
    if (!options_.is_block_device || ::ioctl(fd_.get(), BLKRRPART) == 0) return absl::OkStatus();
    const int error = errno;
    if (error != EBUSY) {
      return ErrnoError(error, std::string("read the partitions of '").append(name_).append("'"));
    }
    return absl::FailedPreconditionError(absl::StrCat(
        "'", name_, "': a partition is in use, the kernel goes on with the old table"));
  }

 private:
  [[nodiscard]] absl::Status Error(const char* call, uint64_t offset) const {
    const int error = errno;
    return ErrnoError(error, absl::StrCat(call, " '", name_, "' at ", offset));
  }

  [[nodiscard]] absl::Status CheckWritable(const char* what) const {
    if (options_.write) return absl::OkStatus();
    return absl::PermissionDeniedError(
        absl::StrCat(what, " '", name_, "': it was opened for reading"));
  }

  [[nodiscard]] absl::Status CheckRange(const char* what, uint64_t offset, size_t size) const {
    const uint64_t end = options_.geometry.bytes();
    if (offset <= end && size <= end - offset) return absl::OkStatus();
    return absl::OutOfRangeError(absl::StrCat(what, " '", name_, "': [", offset, ", ",
                                              offset + size, ") passes the end at ", end));
  }

  const std::string name_;
  const UniqueFd fd_;
  const Options options_;
};

bool SignatureAt(int fd, uint64_t offset) {
  std::array<char, kSignature.size()> bytes{};
  return ::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)) ==
             static_cast<ssize_t>(bytes.size()) &&
         std::string_view(bytes.data(), bytes.size()) == kSignature;
}

// A file does not say which sector size its image was made for; the place of a header does.
uint32_t GuessSectorBytes(int fd, uint64_t bytes) {
  for (const uint32_t size : {512u, 4096u}) {
    if (SignatureAt(fd, size)) return size;
  }
  for (const uint32_t size : {512u, 4096u}) {
    if (bytes >= size && SignatureAt(fd, (bytes / size - 1) * size)) return size;
  }
  return 512;
}

absl::StatusOr<Geometry> FindGeometry(int fd, const struct stat& info, uint32_t sector_bytes,
                                      const std::string& path) {
  uint64_t bytes = static_cast<uint64_t>(info.st_size);
  if (S_ISBLK(info.st_mode)) {
    int logical = 0;
    if (::ioctl(fd, BLKGETSIZE64, &bytes) != 0 || ::ioctl(fd, BLKSSZGET, &logical) != 0) {
      const int error = errno;
      return ErrnoError(error, absl::StrCat("size of '", path, "'"));
    }
    if (sector_bytes == 0) sector_bytes = static_cast<uint32_t>(logical);
  }
  if (sector_bytes == 0) sector_bytes = GuessSectorBytes(fd, bytes);
  if (sector_bytes != 512 && sector_bytes != 4096) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", path, "': sectors of ", sector_bytes, " bytes; expected 512 or 4096"));
  }
  return Geometry{.sector_bytes = sector_bytes, .sectors = bytes / sector_bytes};
}

absl::Status HeldError(const std::string& path) {
  const std::string holders = DescribeHolders(path);
  return absl::FailedPreconditionError(absl::StrCat(
      "open '", path, "': in use by ", holders.empty() ? "someone we cannot see" : holders));
}

}  // namespace

absl::StatusOr<std::string> PartitionDevicePath(const std::string& path, int number) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) {
    const int error = errno;
    return ErrnoError(error, absl::StrCat("look at '", path, "'"));
  }
  if (!S_ISBLK(info.st_mode)) return std::string();
  const std::string sys = absl::StrCat("/sys/dev/block/", gnu_dev_major(info.st_rdev), ":",
                                       gnu_dev_minor(info.st_rdev));
  std::array<char, 4096> target{};
  const ssize_t size = ::readlink(sys.c_str(), target.data(), target.size() - 1);
  if (size < 0) {
    const int error = errno;
    return ErrnoError(error, absl::StrCat("read link '", sys, "'"));
  }
  std::string name(target.data(), static_cast<size_t>(size));
  name.erase(0, name.find_last_of('/') + 1);
  // "sda" and "sda1", but "nvme0n1" and "nvme0n1p1".
  const bool digit = name.back() >= '0' && name.back() <= '9';
  name.append(digit ? "p" : "").append(std::to_string(number));
  if (::access(absl::StrCat(sys, "/", name).c_str(), F_OK) != 0) {
    return absl::NotFoundError(
        absl::StrCat("the kernel knows no partition ", number, " of '", path, "'"));
  }
  return "/dev/" + name;
}

absl::StatusOr<UniqueFd> HoldPartition(const std::string& path, int number) {
  KEELSON_ASSIGN_OR_RETURN(const std::string device, PartitionDevicePath(path, number));
  if (device.empty()) return UniqueFd();
  UniqueFd fd(::open(device.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  if (fd.ok()) return fd;
  const int error = errno;
  if (error == EBUSY) return HeldError(device);
  return ErrnoError(error, absl::StrCat("open '", device, "'"));
}

absl::StatusOr<std::unique_ptr<BlockDevice>> OpenBlockDevice(const std::string& path,
                                                             const DeviceOptions& options) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) {
    const int error = errno;
    return ErrnoError(error, absl::StrCat("open '", path, "'"));
  }
  if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("open '", path, "': neither a file nor a block device"));
  }
  int flags = O_CLOEXEC | (options.write ? O_RDWR : O_RDONLY);
  if (options.write && !options.in_use && S_ISBLK(info.st_mode)) flags |= O_EXCL;
  UniqueFd fd(::open(path.c_str(), flags));
  if (!fd.ok()) {
    const int error = errno;
    if (error == EBUSY) return HeldError(path);
    return ErrnoError(error, absl::StrCat("open '", path, "'"));
  }
  if (options.write && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    if (error == EWOULDBLOCK) return HeldError(path);
    return ErrnoError(error, absl::StrCat("lock '", path, "'"));
  }
  KEELSON_ASSIGN_OR_RETURN(const Geometry geometry,
                           FindGeometry(fd.get(), info, options.sector_bytes, path));
  return std::make_unique<FileDevice>(
      path, std::move(fd),
      FileDevice::Options{
          .geometry = geometry, .write = options.write, .is_block_device = S_ISBLK(info.st_mode)});
}

}  // namespace keelson::partition
