// Reads a FAT volume, such as an EFI system partition, from a disk or the image of one: without the
// kernel, so without root, and without a write.
//
//   KEELSON_ASSIGN_OR_RETURN(const auto volume, FatVolume::Open(window));
//   KEELSON_ASSIGN_OR_RETURN(const auto names, volume->List("EFI/Linux"));
//
// FAT12, FAT16 and FAT32 with long names, as Linux's vfat reads them. Names are UTF-8; letters of
// another case are found too. Characters of short names beyond ASCII, which depend on a code page
// that the volume does not name, are shown as '?'.
//
// Sources: Microsoft, "FAT: General Overview of On-Disk Format" 1.03; Linux fs/fat.
// Threading: as the device below.
#ifndef KEELSON_PARTITION_BOOT_FAT_VOLUME_H_
#define KEELSON_PARTITION_BOOT_FAT_VOLUME_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "partition/block_device.h"

namespace keelson::partition {

// What the first sector says.
struct FatGeometry {
  int bits = 32;  // of an entry of the table: 12, 16 or 32
  uint32_t sector_bytes = 512;
  uint32_t cluster_bytes = 512;
  uint64_t table_offset = 0;  // of the table that counts, in bytes
  uint64_t root_offset = 0;   // FAT12, FAT16: of the root folder
  uint32_t root_entries = 0;  // FAT12, FAT16
  uint32_t root_cluster = 0;  // FAT32
  uint64_t data_offset = 0;   // of cluster 2
  uint32_t clusters = 0;      // numbered from 2

  friend bool operator==(const FatGeometry&, const FatGeometry&) = default;
};

// INVALID_ARGUMENT, with place, expectation and finding: no FAT, or one that contradicts itself.
// `volume_bytes`: how large the device is.
absl::StatusOr<FatGeometry> ParseFatGeometry(std::string_view first_sector, uint64_t volume_bytes);

// One name in a folder.
struct FatEntry {
  std::string name;
  bool folder = false;
  uint32_t first_cluster = 0;
  uint32_t bytes = 0;  // of a file

  friend bool operator==(const FatEntry&, const FatEntry&) = default;
};

// The names in the bytes of a folder, in its order; without volume labels, "." and "..". Damaged
// long names are left out and the short ones used, as everywhere.
std::vector<FatEntry> ParseFatFolder(std::string_view bytes);

// A file system that cannot be written to: every change is PERMISSION_DENIED.
// A chain of clusters that leaves the volume, or does not end, is DATA_LOSS.
class FatVolume final : public FileSystem {
 public:
  // `device` must outlive it. Errors: as ParseFatGeometry, and those of the device.
  static absl::StatusOr<std::unique_ptr<FatVolume>> Open(const BlockDevice& device);

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             const OpenOptions& options) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status CreateDirectories(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  absl::StatusOr<bool> Exists(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  // By counting free clusters.
  absl::StatusOr<SpaceInfo> Space(const std::string& path) override;

  [[nodiscard]] const FatGeometry& geometry() const { return geometry_; }

 private:
  FatVolume(const BlockDevice& device, const FatGeometry& geometry)
      : device_(device), geometry_(geometry) {}

  // What the table says of a cluster: the next one, or a mark.
  absl::StatusOr<uint32_t> Next(uint32_t cluster) const;
  // All clusters of a chain, as long as `bytes_max` allows.
  absl::StatusOr<std::vector<uint32_t>> Chain(uint32_t first, uint64_t bytes_max) const;
  absl::StatusOr<std::string> ReadChain(const std::vector<uint32_t>& chain) const;
  absl::StatusOr<std::vector<FatEntry>> ReadFolder(const FatEntry& folder) const;
  // NOT_FOUND: no such name.
  absl::StatusOr<FatEntry> Find(const std::string& path) const;
  [[nodiscard]] bool IsEnd(uint32_t value) const;
  [[nodiscard]] uint64_t OffsetOf(uint32_t cluster) const;

  const BlockDevice& device_;
  const FatGeometry geometry_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_BOOT_FAT_VOLUME_H_
