#include "partition/slots/failed_versions.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char kList[] = "failed_versions";
constexpr uint64_t kFileBytesMax = 1 << 20;

absl::Status Malformed(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("failed versions: ", std::string(what)));
}

absl::StatusOr<FailedVersion> RecordOf(const Json& item) {
  if (!item.is_object()) return Malformed("a record is not an object");
  FailedVersion record;
  for (const auto& [key, value] : item.items()) {
    if (key == "version" && value.is_string()) {
      record.version = value.get<std::string>();
    } else if (key == "partition" && value.is_number_unsigned() && value < 1 << 20) {
      record.partition = value.get<int>();
    } else if (key == "reason" && value.is_string()) {
      record.reason = value.get<std::string>();
    } else if (key == "time" && value.is_number_integer()) {
      record.unix_time = value.get<int64_t>();
    } else {
      return Malformed(absl::StrCat("key '", key, "' is unknown or has a wrong value"));
    }
  }
  if (record.version.empty()) return Malformed("a record has no version");
  return record;
}

}  // namespace

absl::StatusOr<FailedVersions> FailedVersions::Parse(std::string_view json) {
  const Json root = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object() || root.size() != 1 || !root.contains(kList) || !root[kList].is_array()) {
    return Malformed(absl::StrCat("expected an object with the list '", kList, "'"));
  }
  FailedVersions versions;
  for (const Json& item : root[kList]) {
    KEELSON_ASSIGN_OR_RETURN(FailedVersion record, RecordOf(item));
    versions.Add(std::move(record));
  }
  return versions;
}

std::string FailedVersions::ToJson() const {
  Json list = Json::array();
  for (const FailedVersion& record : records_) {
    list.push_back({{"version", record.version},
                    {"partition", record.partition},
                    {"reason", record.reason},
                    {"time", record.unix_time}});
  }
  return Json{{kList, list}}.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

const FailedVersion* FailedVersions::Find(std::string_view version) const {
  for (const FailedVersion& record : records_) {
    if (record.version == version) return &record;
  }
  return nullptr;
}

absl::Status FailedVersions::Check(std::string_view version) const {
  const FailedVersion* failed = Find(version);
  if (failed == nullptr) return absl::OkStatus();
  const std::string place =
      failed->partition == 0 ? "" : absl::StrCat(", in partition ", failed->partition);
  return absl::FailedPreconditionError(
      absl::StrCat("version '", failed->version, "' failed here before", place, " at ",
                   absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixSeconds(failed->unix_time),
                                    absl::UTCTimeZone()),
                   ": ", failed->reason));
}

void FailedVersions::Add(FailedVersion record) {
  (void)Remove(record.version);
  if (records_.size() == kCountMax) records_.erase(records_.begin());
  records_.push_back(std::move(record));
}

bool FailedVersions::Remove(std::string_view version) {
  return std::erase_if(records_,
                       [&](const FailedVersion& record) { return record.version == version; }) > 0;
}

absl::StatusOr<FailedVersions> ReadFailedVersions(FileSystem& fs, const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(fs, path, kFileBytesMax);
  if (absl::IsNotFound(text.status())) return FailedVersions();
  KEELSON_RETURN_IF_ERROR(text.status());
  absl::StatusOr<FailedVersions> versions = FailedVersions::Parse(*text);
  if (versions.ok()) return versions;
  return Annotate(versions.status(), absl::StrCat("'", path, "'"));
}

absl::Status WriteFailedVersions(FileSystem& fs, const std::string& path,
                                 const FailedVersions& versions) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (!folder.empty()) KEELSON_RETURN_IF_ERROR(fs.CreateDirectories(folder));
  return WriteFileAtomically(fs, path, versions.ToJson());
}

}  // namespace keelson::partition
