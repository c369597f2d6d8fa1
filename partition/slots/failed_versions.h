// Versions that failed on this machine and why, so that none is installed again and again.
//
// A small JSON file outside of the slots, which all of them see:
//
//   {"failed_versions": [{"version": "1.2.3", "partition": 4, "reason": "...", "time": 1700000000}]}
//
// Threading: values.
#ifndef KEELSON_PARTITION_SLOTS_FAILED_VERSIONS_H_
#define KEELSON_PARTITION_SLOTS_FAILED_VERSIONS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"

namespace keelson::partition {

struct FailedVersion {
  std::string version;
  int partition = 0;      // where it was installed; 0: not in a slot of its own
  std::string reason;     // for people
  int64_t unix_time = 0;  // when that was noticed, in seconds

  friend bool operator==(const FailedVersion&, const FailedVersion&) = default;
};

class FailedVersions {
 public:
  // Oldest records go first when there are more.
  static constexpr size_t kCountMax = 64;

  // INVALID_ARGUMENT: not such a file.
  static absl::StatusOr<FailedVersions> Parse(std::string_view json);
  [[nodiscard]] std::string ToJson() const;

  // Null if `version` did not fail.
  [[nodiscard]] const FailedVersion* Find(std::string_view version) const;

  // FAILED_PRECONDITION, with why and when, if `version` failed here.
  [[nodiscard]] absl::Status Check(std::string_view version) const;

  // Replaces what was known of that version.
  void Add(FailedVersion record);
  // Forgets it. True if it was there.
  bool Remove(std::string_view version);

  [[nodiscard]] const std::vector<FailedVersion>& records() const { return records_; }
  friend bool operator==(const FailedVersions&, const FailedVersions&) = default;

 private:
  std::vector<FailedVersion> records_;
};

// Empty if the file is missing. INVALID_ARGUMENT: as Parse.
absl::StatusOr<FailedVersions> ReadFailedVersions(FileSystem& fs, const std::string& path);
// Replaces it durably and atomically, and makes its folder.
absl::Status WriteFailedVersions(FileSystem& fs, const std::string& path,
                                 const FailedVersions& versions);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_SLOTS_FAILED_VERSIONS_H_
