// A bundle: the folder with config.json and, most often, the root file system.
#ifndef KEELSON_CONTAINER_RUNTIME_RUNTIME_BUNDLE_H_
#define KEELSON_CONTAINER_RUNTIME_RUNTIME_BUNDLE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "container_runtime/config/spec.h"

namespace keelson::container {

struct Bundle {
  std::string path;         // absolute
  std::string config_text;  // as it was read
  Spec spec;                // sources of binds are absolute
  std::string rootfs;       // absolute; a directory
};

// Errors: NOT_FOUND and others by errno; INVALID_ARGUMENT as config/parser.h has it.
absl::StatusOr<Bundle> LoadBundle(const std::string& folder, const std::string& config);

// The home folder of `uid` by /etc/passwd below `root`, a descriptor of a directory; "/" when it is
// not listed there.
std::string HomeOf(int root, uint32_t uid);

// Of several values of one variable the last stays; HOME is added unless it has a value.
void FinishEnvironment(int root, Process& process);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_RUNTIME_BUNDLE_H_
