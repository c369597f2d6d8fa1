#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "partition/growth/growth.h"

namespace keelson::partition {
namespace {

// Not in a header that programs get: fs/ext4/ext4.h and xfs_fs.h.
constexpr unsigned long kExt4ResizeFs = _IOW('f', 16, uint64_t);
struct XfsGrowData {
  uint64_t new_blocks;
  uint32_t inode_percent_max;
};
constexpr unsigned long kXfsGrowData = _IOW('X', 110, XfsGrowData);
// Fields of its version 1 that are looked at; the rest is room that the kernel fills.
struct XfsGeometry {
  uint32_t block_bytes;
  std::array<uint32_t, 6> skipped_a;
  uint32_t inode_percent_max;
  uint64_t data_blocks;
  std::array<uint64_t, 3> skipped_b;
  std::array<uint8_t, 16> uuid;
  std::array<uint32_t, 7> skipped_c;
};
constexpr unsigned long kXfsGeometry = _IOR('X', 100, XfsGeometry);
constexpr long kXfsMagic = 0x58465342;

// ext4's superblock: 1024 bytes from the start of its device.
constexpr off_t kExt4SuperblockAt = 1024;
constexpr size_t kExt4BlocksLow = 0x4;
constexpr size_t kExt4BlockSize = 0x18;
constexpr size_t kExt4BlocksHigh = 0x150;

absl::Status Error(std::string_view what, const std::string& path) {
  const int error = errno;
  return ErrnoError(error, absl::StrCat(std::string(what), " '", path, "'"));
}

absl::StatusOr<UniqueFd> OpenForReading(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return Error("open", path);
  return fd;
}

std::string LastName(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

absl::StatusOr<MountedFileSystem> LookAtExt4(const std::string& path) {
  // What it takes of its device stands in its superblock alone; statfs leaves the overhead out.
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return Error("stat", path);
  const std::string node =
      absl::StrCat("/dev/block/", gnu_dev_major(info.st_dev), ":", gnu_dev_minor(info.st_dev));
  std::string device = node;
  if (::access(node.c_str(), F_OK) != 0) {
    std::array<char, 4096> target{};
    const std::string sys = absl::StrCat("/sys/dev/block/", gnu_dev_major(info.st_dev), ":",
                                         gnu_dev_minor(info.st_dev));
    const ssize_t size = ::readlink(sys.c_str(), target.data(), target.size() - 1);
    if (size < 0) return Error("read link", sys);
    device = "/dev/" + LastName(std::string(target.data(), static_cast<size_t>(size)));
  }
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd fd, OpenForReading(device));
  std::array<unsigned char, 1024> block{};
  if (::pread(fd.get(), block.data(), block.size(), kExt4SuperblockAt) !=
      static_cast<ssize_t>(block.size())) {
    return Error("read superblock of", device);
  }
  const auto number = [&](size_t at) {
    uint32_t value = 0;
    std::memcpy(&value, block.data() + at, sizeof(value));
    return uint64_t{value};
  };
  const auto block_bytes = static_cast<uint32_t>(1024u << (number(kExt4BlockSize) & 31));
  const uint64_t blocks = number(kExt4BlocksHigh) << 32 | number(kExt4BlocksLow);
  return MountedFileSystem{
      .kind = FileSystemKind::kExt4, .bytes = blocks * block_bytes, .block_bytes = block_bytes};
}

// The first device: ours has one.
absl::StatusOr<btrfs_ioctl_dev_info_args> BtrfsDevice(int fd, const std::string& path) {
  btrfs_ioctl_fs_info_args fs = {};
  if (::ioctl(fd, BTRFS_IOC_FS_INFO, &fs) != 0) return Error("look at btrfs", path);
  btrfs_ioctl_dev_info_args device = {};
  for (device.devid = 1; device.devid <= fs.max_id; ++device.devid) {
    if (::ioctl(fd, BTRFS_IOC_DEV_INFO, &device) == 0) return device;
  }
  return Error("look at btrfs", path);
}

class Real final : public GrowthSystem {
 public:
  absl::StatusOr<std::optional<uint64_t>> KernelPartitionBytes(const BlockDevice& disk,
                                                               int number) override {
    KEELSON_ASSIGN_OR_RETURN(const std::string device, PartitionDevicePath(disk.name(), number));
    if (device.empty()) return std::optional<uint64_t>();
    const std::string path = "/sys/class/block/" + LastName(device);
    uint64_t sectors = 0;  // of 512 bytes, whatever the disk has
    if (!(std::ifstream(path + "/size") >> sectors)) {
      return absl::NotFoundError(
          absl::StrCat("the kernel knows no partition ", number, " of '", disk.name(), "'"));
    }
    return std::optional(sectors * 512);
  }

  absl::Status ResizePartition(const BlockDevice& disk, int number, uint64_t start_bytes,
                               uint64_t bytes) override {
    KEELSON_ASSIGN_OR_RETURN(const UniqueFd fd, OpenForReading(disk.name()));
    blkpg_partition partition = {};
    partition.start = static_cast<long long>(start_bytes);
    partition.length = static_cast<long long>(bytes);
    partition.pno = number;
    blkpg_ioctl_arg argument = {};
    argument.op = BLKPG_RESIZE_PARTITION;
    argument.datalen = sizeof(partition);
    argument.data = &partition;
    if (::ioctl(fd.get(), BLKPG, &argument) == 0) return absl::OkStatus();
    return Error(absl::StrCat("resize partition ", number, " of"), disk.name());
  }

  absl::StatusOr<MountedFileSystem> LookAt(const std::string& path) override {
    struct statfs info = {};
    if (::statfs(path.c_str(), &info) != 0) return Error("statfs", path);
    if (info.f_type == EXT4_SUPER_MAGIC) return LookAtExt4(path);
    KEELSON_ASSIGN_OR_RETURN(const UniqueFd fd, OpenForReading(path));
    if (info.f_type == BTRFS_SUPER_MAGIC) {
      KEELSON_ASSIGN_OR_RETURN(const auto device, BtrfsDevice(fd.get(), path));
      return MountedFileSystem{.kind = FileSystemKind::kBtrfs,
                               .bytes = device.total_bytes,
                               .block_bytes = static_cast<uint32_t>(info.f_bsize)};
    }
    if (info.f_type == kXfsMagic) {
      XfsGeometry geometry = {};
      if (::ioctl(fd.get(), kXfsGeometry, &geometry) != 0) return Error("look at xfs", path);
      return MountedFileSystem{.kind = FileSystemKind::kXfs,
                               .bytes = geometry.data_blocks * geometry.block_bytes,
                               .block_bytes = geometry.block_bytes};
    }
    return absl::InvalidArgumentError(absl::StrCat("file system at '", path,
                                                   "': expected ext4, btrfs or xfs, found type 0x",
                                                   absl::Hex(static_cast<uint64_t>(info.f_type))));
  }

  absl::Status ResizeFileSystem(const std::string& path, const MountedFileSystem& mounted,
                                uint64_t bytes) override {
    KEELSON_ASSIGN_OR_RETURN(const UniqueFd fd, OpenForReading(path));
    const uint64_t blocks = bytes / mounted.block_bytes;
    int result = -1;
    switch (mounted.kind) {
      case FileSystemKind::kExt4:
        result = ::ioctl(fd.get(), kExt4ResizeFs, &blocks);
        break;
      case FileSystemKind::kXfs: {
        XfsGeometry geometry = {};
        if (::ioctl(fd.get(), kXfsGeometry, &geometry) != 0) return Error("look at xfs", path);
        const XfsGrowData grow = {.new_blocks = blocks,
                                  .inode_percent_max = geometry.inode_percent_max};
        result = ::ioctl(fd.get(), kXfsGrowData, &grow);
        break;
      }
      case FileSystemKind::kBtrfs: {
        KEELSON_ASSIGN_OR_RETURN(const auto device, BtrfsDevice(fd.get(), path));
        btrfs_ioctl_vol_args arguments = {};
        absl::StrCat(device.devid, ":max").copy(arguments.name, sizeof(arguments.name) - 1);
        result = ::ioctl(fd.get(), BTRFS_IOC_RESIZE, &arguments);
        break;
      }
    }
    if (result == 0) return absl::OkStatus();
    return Error(absl::StrCat("resize ", std::string(FileSystemKindName(mounted.kind)), " to ",
                              bytes, " bytes at"),
                 path);
  }
};

}  // namespace

GrowthSystem& RealGrowthSystem() {
  static Real* const kReal = new Real;
  return *kReal;
}

}  // namespace keelson::partition
