// How long work on many blocks is done.
#ifndef KEELSON_PARTITION_VERITY_WORK_OPTIONS_H_
#define KEELSON_PARTITION_VERITY_WORK_OPTIONS_H_

#include <cstdint>
#include <functional>

namespace keelson::partition {

struct WorkOptions {
  int threads = 0;  // 0: one a processor
  // Told how many of `total` bytes are done, a few times a megabyte; by one thread at a time,
  // though not always the same.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_WORK_OPTIONS_H_
