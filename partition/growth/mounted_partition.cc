#include "partition/growth/mounted_partition.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file_system.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

namespace stdfs = std::filesystem;

constexpr const char kMountInfo[] = "/proc/self/mountinfo";
constexpr uint64_t kMountInfoBytesMax = uint64_t{16} << 20;
// Fields of a line: id, parent, device number, root, mount point, options, optional fields that end
// with "-", type, source.
constexpr size_t kDeviceField = 2;
constexpr size_t kMountField = 4;
constexpr size_t kOptionalFields = 6;

// The kernel writes blank, tab, line end and backslash as three octal digits.
std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](size_t at) { return text[i + at] >= '0' && text[i + at] <= '7'; };
    if (text[i] == '\\' && i + 3 < text.size() && digit(1) && digit(2) && digit(3)) {
      out.push_back(static_cast<char>((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 |
                                      (text[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

// The folder in /sys of a block device, such as ".../block/vda/vda9"; empty if there is none.
stdfs::path SysFolder(const MountSource& source) {
  std::error_code error;
  const stdfs::path by_number = stdfs::canonical("/sys/dev/block/" + source.device_number, error);
  if (!error) return by_number;
  const stdfs::path node = stdfs::canonical(source.source, error);
  if (error) return {};
  stdfs::path by_name = stdfs::canonical("/sys/class/block/" + node.filename().string(), error);
  return error ? stdfs::path() : by_name;
}

}  // namespace

absl::StatusOr<MountSource> FindMountSource(std::string_view mountinfo, std::string_view mount) {
  std::optional<MountSource> found;
  for (const absl::string_view line :
       absl::StrSplit(absl::string_view(mountinfo.data(), mountinfo.size()), '\n')) {
    const std::vector<std::string> fields = absl::StrSplit(line, ' ');
    if (fields.size() <= kOptionalFields || Unescape(fields[kMountField]) != mount) continue;
    size_t dash = kOptionalFields;
    while (dash < fields.size() && fields[dash] != "-") ++dash;
    if (dash + 2 >= fields.size()) continue;
    // The last one lies on top.
    found = {.device_number = fields[kDeviceField], .source = Unescape(fields[dash + 2])};
  }
  if (found.has_value()) return *std::move(found);
  return absl::NotFoundError(absl::StrCat("nothing is mounted at '", std::string(mount), "'"));
}

absl::StatusOr<MountedPartition> FindMountedPartition(const std::string& mount) {
  KEELSON_ASSIGN_OR_RETURN(const std::string text,
                           ReadFile(RealFileSystem(), kMountInfo, kMountInfoBytesMax));
  std::error_code error;
  const stdfs::path place = stdfs::canonical(mount, error);
  KEELSON_ASSIGN_OR_RETURN(const MountSource source,
                           FindMountSource(text, error ? mount : place.string()));
  const stdfs::path sys = SysFolder(source);
  MountedPartition partition;
  if (sys.empty() || !(std::ifstream(sys / "partition") >> partition.number)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "'", mount, "' is mounted from '", source.source, "', which is no partition of a disk"));
  }
  // A name in /sys has '!' where the one in /dev has '/'.
  std::string disk = sys.parent_path().filename().string();
  for (char& c : disk) c = c == '!' ? '/' : c;
  partition.disk = "/dev/" + disk;
  return partition;
}

}  // namespace keelson::partition
