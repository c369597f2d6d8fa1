// Processes by number and start time, which together are never used twice.
#ifndef KEELSON_CONTAINER_RUNTIME_RUNTIME_PROCESS_ID_H_
#define KEELSON_CONTAINER_RUNTIME_RUNTIME_PROCESS_ID_H_

#include <sys/types.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace keelson::container {

struct ProcessInfo {
  char state = '?';         // 'R', 'S', 'Z' ...
  uint64_t start_time = 0;  // clock ticks since boot
};

// Of /proc/PID/stat. NOT_FOUND when there is no such process.
absl::StatusOr<ProcessInfo> ReadProcessInfo(pid_t pid);

// Whether the process that started then still runs (a zombie does not).
bool IsAlive(pid_t pid, uint64_t start_time);

// A pidfd of that very process. NOT_FOUND when it has ended.
absl::StatusOr<UniqueFd> OpenProcess(pid_t pid, uint64_t start_time);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_RUNTIME_PROCESS_ID_H_
