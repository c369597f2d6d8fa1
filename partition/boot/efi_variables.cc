#include "partition/boot/efi_variables.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

constexpr char kLoaderVendor[] = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
constexpr uint64_t kVariableBytesMax = uint64_t{64} << 10;
constexpr size_t kAttributesBytes = 4;

}  // namespace

absl::StatusOr<std::string> ReadLoaderVariable(FileSystem& fs, const std::string& folder,
                                               std::string_view name) {
  const std::string path = JoinPath(
      folder, absl::StrCat(absl::string_view(name.data(), name.size()), "-", kLoaderVendor));
  KEELSON_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(fs, path, kVariableBytesMax));
  std::string text;
  for (size_t i = kAttributesBytes; i + 1 < bytes.size(); i += 2) {
    if (bytes[i] == '\0' && bytes[i + 1] == '\0') break;
    if (bytes[i + 1] != '\0' || bytes[i] < 0x20 || bytes[i] > 0x7e) {
      return absl::DataLossError(
          absl::StrCat("'", path, "': expected printable ASCII, found another unit at byte ", i));
    }
    text += bytes[i];
  }
  if (text.empty()) return absl::DataLossError(absl::StrCat("'", path, "': expected a text"));
  return text;
}

}  // namespace keelson::partition
