// Processes of the container's cgroups: listing, stopping, signalling, and removal of the folders.
//
// With a v2 hierarchy (also beside v1 ones) its cgroup.freeze and cgroup.kill are used: they cover the
// whole subtree, reach what forks meanwhile, and a process stopped by them can still be killed.
// Without, the v1 freezer keeps the cgroup still while every process gets its signal.
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_INTERNAL_CGROUP_PROCESSES_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_INTERNAL_CGROUP_PROCESSES_H_

#include <sys/types.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "container_runtime/cgroup/cgroup_manager.h"
#include "container_runtime/cgroup/internal/cgroup_folder.h"

namespace keelson::container {

class CgroupProcesses {
 public:
  // Both outlive this object.
  CgroupProcesses(CgroupSystem& system, std::vector<CgroupFolder>& folders)
      : system_(system), folders_(folders) {}

  // As the calls of CgroupManager of the same names.
  absl::StatusOr<std::vector<pid_t>> Pids();
  absl::Status Freeze(absl::Duration limit);
  absl::Status Thaw();
  absl::StatusOr<FreezerState> Freezer();
  absl::Status Signal(int signal);
  absl::Status Kill(absl::Duration limit);

  // Removes the folder of `folder` and those below; waits for at most `limit` while it is busy.
  absl::Status Remove(CgroupFolder& folder, absl::Duration limit);

 private:
  CgroupFolder* Unified();
  CgroupFolder* FreezerV1();
  // The hierarchy whose lists are read besides v2's.
  CgroupFolder* ListedV1();

  absl::Status FreezeV1(CgroupFolder& folder, absl::Duration limit);
  // Also the folders below that something inside has frozen: a process there would not die.
  void ThawV1Tree(int folder, int depth);
  absl::StatusOr<std::vector<pid_t>> PidsOf(CgroupFolder* folder);
  absl::Status KillEach(const std::vector<pid_t>& pids);
  // One round of signals; whether any process was left to be signalled.
  absl::StatusOr<bool> KillRound();
  int RemoveBelow(int parent, const std::string& name, int depth);

  CgroupSystem& system_;
  std::vector<CgroupFolder>& folders_;
};

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_INTERNAL_CGROUP_PROCESSES_H_
