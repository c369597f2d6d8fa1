// The class behind NewCgroupfsManager; the systemd manager builds on it.
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_INTERNAL_CGROUPFS_MANAGER_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_INTERNAL_CGROUPFS_MANAGER_H_

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "container_runtime/cgroup/cgroup_stats.h"
#include "container_runtime/cgroup/cgroupfs_manager.h"
#include "container_runtime/cgroup/internal/cgroup_folder.h"
#include "container_runtime/cgroup/internal/cgroup_limits.h"
#include "container_runtime/cgroup/internal/cgroup_processes.h"

namespace keelson::container {

class CgroupfsManager final : public CgroupManager {
 public:
  CgroupfsManager(CgroupSystem& system, const HostLayout& host, CgroupLocation location,
                  const CgroupfsOptions& options);

  absl::Status Create() override;
  absl::Status Apply(const Resources& resources) override;
  absl::Status Update(const Resources& resources) override;
  absl::StatusOr<Attachment> PrepareAttach(const SubCgroup& sub) override;
  absl::Status Attach(pid_t pid) override;
  absl::Status Delegate(uid_t uid, gid_t gid) override;
  absl::Status Freeze(absl::Duration limit) override { return processes_.Freeze(limit); }
  absl::Status Thaw() override { return processes_.Thaw(); }
  absl::StatusOr<FreezerState> Freezer() override { return processes_.Freezer(); }
  absl::Status Signal(int signal) override { return processes_.Signal(signal); }
  absl::Status Kill(absl::Duration limit) override { return processes_.Kill(limit); }
  absl::StatusOr<std::vector<pid_t>> Pids() override { return processes_.Pids(); }
  bool Exists() override;
  absl::Status Destroy() override;
  absl::StatusOr<CgroupStats> Stats() override;
  absl::StatusOr<std::unique_ptr<OomWatch>> WatchOom() override;
  const CgroupLocation& location() const override { return location_; }
  int FolderFd(const std::string& name) const override;

  // Makes the folders without asking whether they are in use: for the systemd manager, whose unit may
  // have made some of them.
  absl::Status MakeFolders();

 private:
  absl::Status CheckUnused();
  // Makes `folder` and what is missing above.
  absl::Status Make(CgroupFolder& folder);
  absl::Status MakeAncestors(CgroupFolder& folder);
  // v1 only: a cpuset without processors or nodes takes no process, so each level copies its parent's.
  absl::Status FillCpuset(CgroupFolder& folder);
  absl::Status CheckDomain(CgroupFolder& folder);
  // Opens what attaching to `sub` needs of `folder`.
  absl::Status OpenAttach(CgroupFolder& folder, const SubCgroup& sub, Attachment& attachment);
  // The path of a process in the hierarchy of `folder`, relative to its mount.
  absl::StatusOr<std::string> PathOfProcess(const CgroupFolder& folder, pid_t pid);

  CgroupSystem& system_;
  const CgroupfsOptions options_;
  CgroupLocation location_;
  std::vector<CgroupFolder> folders_;
  // Hierarchies of the location that permissions kept the container from.
  std::set<std::string> left_out_;
  CgroupProcesses processes_;
  CgroupLimits limits_;
};

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_INTERNAL_CGROUPFS_MANAGER_H_
