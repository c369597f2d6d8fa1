#include "partition/boot/fat_volume.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/little_endian.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

constexpr size_t kFirstSectorBytes = 512;
// What a folder may have: 65536 entries of 32 bytes.
constexpr uint64_t kFolderBytesMax = uint64_t{2} << 20;
constexpr size_t kEntryBytes = 32;
// FAT32 uses 28 bits of an entry.
constexpr uint32_t kFat32Mask = 0x0fffffff;

absl::Status ReadOnly(const std::string& what) {
  return absl::PermissionDeniedError(absl::StrCat(what, ": the volume is read without the kernel"));
}

// Of a file: its clusters are looked up once, when it is opened.
class FatFile final : public File {
 public:
  FatFile(const BlockDevice& device, const FatGeometry& geometry, std::vector<uint64_t> places,
          uint32_t bytes)
      : device_(device), geometry_(geometry), places_(std::move(places)), bytes_(bytes) {}

  absl::Status WriteAt(uint64_t /*offset*/, std::string_view /*data*/) override {
    return ReadOnly("write");
  }
  absl::Status WriteAt(uint64_t /*offset*/, std::span<const std::string_view> /*pieces*/) override {
    return ReadOnly("write");
  }
  [[nodiscard]] absl::StatusOr<size_t> ReadAt(uint64_t offset,
                                              std::span<char> buffer) const override {
    if (offset >= bytes_) return 0;
    const size_t size = std::min<uint64_t>(buffer.size(), bytes_ - offset);
    for (size_t done = 0; done < size;) {
      const uint64_t at = offset + done;
      const uint64_t within = at % geometry_.cluster_bytes;
      const size_t piece = std::min<uint64_t>(geometry_.cluster_bytes - within, size - done);
      KEELSON_RETURN_IF_ERROR(device_.Read(places_[at / geometry_.cluster_bytes] + within,
                                           buffer.subspan(done, piece)));
      done += piece;
    }
    return size;
  }
  [[nodiscard]] absl::StatusOr<uint64_t> Size() const override { return bytes_; }
  absl::Status SyncData() override { return absl::OkStatus(); }
  absl::Status Truncate(uint64_t /*size*/) override { return ReadOnly("truncate"); }
  absl::Status Allocate(uint64_t /*offset*/, uint64_t /*length*/) override {
    return ReadOnly("allocate");
  }

 private:
  const BlockDevice& device_;
  const FatGeometry geometry_;
  const std::vector<uint64_t> places_;  // of each cluster, in bytes
  const uint32_t bytes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FatVolume>> FatVolume::Open(const BlockDevice& device) {
  std::array<char, kFirstSectorBytes> first{};
  KEELSON_RETURN_IF_ERROR(device.Read(0, first));
  const absl::StatusOr<FatGeometry> geometry =
      ParseFatGeometry({first.data(), first.size()}, device.geometry().bytes());
  if (!geometry.ok()) return Annotate(geometry.status(), absl::StrCat("'", device.name(), "'"));
  return std::unique_ptr<FatVolume>(new FatVolume(device, *geometry));
}

bool FatVolume::IsEnd(uint32_t value) const {
  const uint32_t first_end = geometry_.bits == 12   ? 0xff8
                             : geometry_.bits == 16 ? 0xfff8
                                                    : 0x0ffffff8;
  return value >= first_end;
}

uint64_t FatVolume::OffsetOf(uint32_t cluster) const {
  return geometry_.data_offset + uint64_t{cluster - 2} * geometry_.cluster_bytes;
}

absl::StatusOr<uint32_t> FatVolume::Next(uint32_t cluster) const {
  std::array<char, 4> entry{};
  const size_t size = geometry_.bits == 32 ? 4 : 2;
  const uint64_t offset = geometry_.table_offset + uint64_t{cluster} * geometry_.bits / 8;
  KEELSON_RETURN_IF_ERROR(device_.Read(offset, std::span(entry).first(size)));
  if (geometry_.bits == 32) return LoadLe32(entry.data()) & kFat32Mask;
  const uint32_t pair = LoadLe16(entry.data());
  if (geometry_.bits == 16) return pair;
  return cluster % 2 == 0 ? pair & 0xfff : pair >> 4;  // Two entries share the middle byte.
}

absl::StatusOr<std::vector<uint32_t>> FatVolume::Chain(uint32_t first, uint64_t bytes_max) const {
  std::vector<uint32_t> chain;
  for (uint32_t cluster = first; !IsEnd(cluster);) {
    if (cluster < 2 || cluster - 2 >= geometry_.clusters) {
      return absl::DataLossError(absl::StrCat("'", device_.name(), "': a chain of clusters from ",
                                              first, " leads to ", cluster, ": expected 2 to ",
                                              geometry_.clusters + 1));
    }
    if (chain.size() * uint64_t{geometry_.cluster_bytes} >= bytes_max) {
      return absl::DataLossError(absl::StrCat("'", device_.name(), "': a chain of clusters from ",
                                              first, ": expected at most ", bytes_max,
                                              " bytes, found more"));
    }
    chain.push_back(cluster);
    KEELSON_ASSIGN_OR_RETURN(cluster, Next(cluster));
  }
  return chain;
}

absl::StatusOr<std::string> FatVolume::ReadChain(const std::vector<uint32_t>& chain) const {
  std::string bytes(chain.size() * geometry_.cluster_bytes, '\0');
  for (size_t i = 0; i < chain.size(); ++i) {
    KEELSON_RETURN_IF_ERROR(device_.Read(
        OffsetOf(chain[i]), {bytes.data() + i * geometry_.cluster_bytes, geometry_.cluster_bytes}));
  }
  return bytes;
}

absl::StatusOr<std::vector<FatEntry>> FatVolume::ReadFolder(const FatEntry& folder) const {
  // 0 is the root: of FAT32 a chain like any, else a place of its own.
  const uint32_t first = folder.first_cluster != 0 ? folder.first_cluster : geometry_.root_cluster;
  if (first == 0) {
    std::string bytes(geometry_.root_entries * kEntryBytes, '\0');
    KEELSON_RETURN_IF_ERROR(device_.Read(geometry_.root_offset, {bytes.data(), bytes.size()}));
    return ParseFatFolder(bytes);
  }
  KEELSON_ASSIGN_OR_RETURN(const std::vector<uint32_t> chain, Chain(first, kFolderBytesMax));
  KEELSON_ASSIGN_OR_RETURN(const std::string bytes, ReadChain(chain));
  return ParseFatFolder(bytes);
}

absl::StatusOr<FatEntry> FatVolume::Find(const std::string& path) const {
  FatEntry at = {.folder = true};
  for (const absl::string_view part : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    if (!at.folder) return absl::NotFoundError(absl::StrCat("'", path, "' does not exist"));
    KEELSON_ASSIGN_OR_RETURN(const std::vector<FatEntry> entries, ReadFolder(at));
    const auto found = std::find_if(entries.begin(), entries.end(), [&](const FatEntry& entry) {
      return absl::EqualsIgnoreCase(entry.name, part);
    });
    if (found == entries.end()) {
      return absl::NotFoundError(absl::StrCat("'", path, "' does not exist"));
    }
    at = *found;
  }
  return at;
}

absl::StatusOr<std::unique_ptr<File>> FatVolume::Open(const std::string& path,
                                                      const OpenOptions& options) {
  if (options.write) return ReadOnly(absl::StrCat("open '", path, "' for writing"));
  KEELSON_ASSIGN_OR_RETURN(const FatEntry entry, Find(path));
  if (entry.folder) {
    return absl::FailedPreconditionError(absl::StrCat("open '", path, "': it is a folder"));
  }
  std::vector<uint64_t> places;
  if (entry.bytes != 0) {
    const uint64_t clusters =
        (uint64_t{entry.bytes} + geometry_.cluster_bytes - 1) / geometry_.cluster_bytes;
    KEELSON_ASSIGN_OR_RETURN(const std::vector<uint32_t> chain,
                             Chain(entry.first_cluster, clusters * geometry_.cluster_bytes));
    if (chain.size() < clusters) {
      return absl::DataLossError(
          absl::StrCat("'", path, "': expected ", clusters, " clusters, found ", chain.size()));
    }
    for (const uint32_t cluster : chain) places.push_back(OffsetOf(cluster));
  }
  return std::make_unique<FatFile>(device_, geometry_, std::move(places), entry.bytes);
}

absl::StatusOr<std::vector<std::string>> FatVolume::List(const std::string& path) {
  KEELSON_ASSIGN_OR_RETURN(const FatEntry folder, Find(path));
  if (!folder.folder) {
    return absl::FailedPreconditionError(absl::StrCat("list '", path, "': it is no folder"));
  }
  KEELSON_ASSIGN_OR_RETURN(const std::vector<FatEntry> entries, ReadFolder(folder));
  std::vector<std::string> names;
  for (const FatEntry& entry : entries) names.push_back(entry.name);
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<bool> FatVolume::Exists(const std::string& path) {
  const absl::StatusOr<FatEntry> entry = Find(path);
  if (absl::IsNotFound(entry.status())) return false;
  KEELSON_RETURN_IF_ERROR(entry.status());
  return true;
}

absl::StatusOr<SpaceInfo> FatVolume::Space(const std::string& /*path*/) {
  SpaceInfo space = {.capacity_bytes = uint64_t{geometry_.clusters} * geometry_.cluster_bytes};
  for (uint32_t cluster = 2; cluster - 2 < geometry_.clusters; ++cluster) {
    KEELSON_ASSIGN_OR_RETURN(const uint32_t next, Next(cluster));
    if (next == 0) space.free_bytes += geometry_.cluster_bytes;
  }
  return space;
}

absl::Status FatVolume::Rename(const std::string& from, const std::string& /*to*/) {
  return ReadOnly(absl::StrCat("rename '", from, "'"));
}

absl::Status FatVolume::Remove(const std::string& path) {
  return ReadOnly(absl::StrCat("remove '", path, "'"));
}

absl::Status FatVolume::CreateDirectories(const std::string& path) {
  return ReadOnly(absl::StrCat("make folder '", path, "'"));
}

absl::Status FatVolume::SyncDirectory(const std::string& path) {
  return ReadOnly(absl::StrCat("sync '", path, "'"));
}

absl::StatusOr<std::unique_ptr<FileLock>> FatVolume::Lock(const std::string& path) {
  return ReadOnly(absl::StrCat("lock '", path, "'"));
}

}  // namespace keelson::partition
