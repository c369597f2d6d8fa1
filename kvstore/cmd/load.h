// Puts by many clients at once, measured.
#ifndef KEELSON_KVSTORE_CMD_LOAD_H_
#define KEELSON_KVSTORE_CMD_LOAD_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "kvstore/client/client.h"

namespace keelson::kvctl {

struct Load {
  std::string prefix;
  size_t key_bytes = 0;  // behind the prefix
  size_t value_bytes = 0;
  // What ends it: as many puts, or that much time at `rate` puts a second.
  uint64_t puts = 0;
  absl::Duration duration;
  double rate = 0;  // 0: as fast as they go
};

struct LoadReport {
  uint64_t puts = 0;  // that succeeded
  double per_second = 0;
  double slowest = 0;  // seconds
  double average = 0;
  double deviation = 0;
  std::map<std::string, uint64_t> errors;  // by text
};

// One thread for each of `clients`.
LoadReport RunLoad(const Load& load, const std::vector<std::unique_ptr<kvstore::Client>>& clients);

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_LOAD_H_
