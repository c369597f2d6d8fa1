// What to write to which cgroup file for `linux.resources`: the decision, without the act. Pure.
//
//   KEELSON_ASSIGN_OR_RETURN(std::vector<SettingGroup> groups, SettingsFor(resources, false));
//
// Devices are not here: v1 needs the present state (device_rules.h), v2 a program (device_bpf.h).
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_SETTINGS_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_SETTINGS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "container_runtime/config/resources.h"

namespace keelson::container {

// One write call.
struct Setting {
  std::string file;   // in the container's folder, such as "memory.max"
  std::string value;  // without a newline
  // The file may be missing (older kernel, no swap accounting, another I/O scheduler) and then the
  // write is skipped.
  bool optional = false;
  // Written instead of `file` if that is missing.
  std::string fallback_file, fallback_value;
  // Read back after writing: the kernel clamps this file silently, and a clamped value is an error.
  bool verify = false;

  friend bool operator==(const Setting&, const Setting&) = default;
};

// Writes that depend on one another, such as quota and period: the kernel refuses (EINVAL) some
// orders depending on the present values. Whoever writes them goes through the list again and
// again, leaving out what succeeded, until a round brings nothing new.
struct SettingGroup {
  std::string controller;  // "memory"; whoever writes looks for its hierarchy
  std::vector<Setting> settings;

  friend bool operator==(const SettingGroup&, const SettingGroup&) = default;
};

// For a controller on v2 (`unified`) or on v1. Groups of other controllers are included: the caller
// takes those of the controllers that are on this side.
//
// Errors: INVALID_ARGUMENT a value outside its range, named with its JSON path.
absl::StatusOr<std::vector<SettingGroup>> SettingsFor(const Resources& resources, bool unified);

// `resources.unified`, one group for each file; "memory.high" belongs to controller "memory", "cgroup.*" to
// "". A value of several lines is several writes.
// Errors: INVALID_ARGUMENT a key with "/" or without ".", or empty.
absl::StatusOr<std::vector<SettingGroup>> UnifiedSettings(const Resources& resources);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_SETTINGS_H_
