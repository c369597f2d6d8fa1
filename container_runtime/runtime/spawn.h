// Carries a plan out: makes the child, answers it, and tells what went wrong.
#ifndef KEELSON_CONTAINER_RUNTIME_RUNTIME_SPAWN_H_
#define KEELSON_CONTAINER_RUNTIME_RUNTIME_SPAWN_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "container_runtime/plan/plan.h"

namespace keelson::container {

struct Child {
  pid_t pid = 0;
  UniqueFd pidfd;
};

struct SpawnRequest {
  // Descriptors for registers, not owned.
  std::vector<std::pair<int16_t, int>> registers;
  // A v2 cgroup to be born in (-1: none), and v1 `tasks` files to write "0" to.
  int clone_into = -1;
  std::vector<int> cgroup_tasks;
  // Called in this process when the child has reached a point; what it returns fails the whole.
  std::function<absl::Status(SyncPoint, const Child&)> reached;
  // Takes the seccomp listener's descriptor.
  std::function<absl::Status(const Child&, UniqueFd)> listener;
};

// Returns when the child has been let go past the last SyncPoint. After an error the child is dead and
// reaped. The plan is used up.
//
// Async-signal-safety of the child is this function's business; it may be called from any thread.
// Errors name what the failing step was for: 'mounts[1]: error mounting "proc" to rootfs at "/proc":
// fsmount: operation not permitted'.
absl::StatusOr<Child> Spawn(Plan& plan, const SpawnRequest& request);

// The checked descriptor of the host's /proc.
absl::StatusOr<UniqueFd> OpenProc();

// strerror as a sentence's end: "no such file or directory".
std::string ErrnoText(int error);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_RUNTIME_SPAWN_H_
