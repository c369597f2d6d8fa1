// etcd's configuration file: YAML, a flag's name for each field, and two sections for certificates.
// Pure: what stands in the text, not what it means.
#ifndef KEELSON_KVSTORE_CONFIG_CONFIG_FILE_H_
#define KEELSON_KVSTORE_CONFIG_CONFIG_FILE_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace keelson::kvstore {

struct ConfigField {
  std::string section = {};  // "client-transport-security", ... or empty
  std::string name = {};
  std::string value = {};  // of a list, its elements joined by commas
  size_t line = 0;         // from 1
};

// The fields in the order of the text; those that are null or empty are left out. The last of
// several of one name is meant. INVALID_ARGUMENT names the line: no YAML, no mapping, a mapping or
// list where a value belongs, an alias.
absl::StatusOr<std::vector<ConfigField>> ParseConfigFile(std::string_view yaml);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CONFIG_CONFIG_FILE_H_
