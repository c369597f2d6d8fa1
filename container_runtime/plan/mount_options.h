// The options of a mount in config.json, sorted by what is done with them.
#ifndef KEELSON_CONTAINER_RUNTIME_PLAN_MOUNT_OPTIONS_H_
#define KEELSON_CONTAINER_RUNTIME_PLAN_MOUNT_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace keelson::container {

struct MountRequest {
  bool bind = false;
  bool recursive = false;  // of a bind

  // MOUNT_ATTR_* asked for, and asked against ("dev", "rw" ...).
  uint64_t set = 0, clear = 0;
  // The same for the whole tree ("rro" ...).
  uint64_t recursive_set = 0, recursive_clear = 0;

  // MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, with MS_REC; one call each, in order.
  std::vector<uint64_t> propagation;

  bool idmap = false, recursive_idmap = false;
  bool copy_up = false;

  // For the file system: flags ("ro", "sync") and settings ("size" = "64m"), in order.
  std::vector<std::pair<std::string, std::optional<std::string>>> data;

  // Any option that asks for or against an attribute was there.
  bool attributes_named = false;
};

// Errors: INVALID_ARGUMENT for a bind with options that only a file system understands.
absl::StatusOr<MountRequest> ParseMountOptions(const std::vector<std::string>& options,
                                               std::string_view type);

// MS_* of "shared", "rslave" ...; nullopt when it is none of these.
std::optional<uint64_t> ParsePropagation(std::string_view name);

// Every option that is more than data of a file system; for `features`.
std::vector<std::string> KnownMountOptions();

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_PLAN_MOUNT_OPTIONS_H_
