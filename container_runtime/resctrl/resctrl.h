// Intel RDT: a container's group in the resctrl file system, which shares out caches and memory
// bandwidth (linux.intelRdt; Linux Documentation/filesystems/resctrl.rst).
//
//   KEELSON_ASSIGN_OR_RETURN(ResctrlGroup group, ResctrlGroup::Open(system, mounts, config, "web"));
//   KEELSON_ASSIGN_OR_RETURN(const bool missing, group.IsMissing());
//   ... note in the state that the folder will be ours ...
//   KEELSON_ASSIGN_OR_RETURN(const bool made, group.Create());
//   KEELSON_RETURN_IF_ERROR(group.Join(pid));
//   ...
//   KEELSON_RETURN_IF_ERROR(group.Remove(/*folder_is_ours=*/made));
//
// A group is a folder: that of closID, else one of the container's id; "/" is the root. A monitoring
// group is a folder below its `mon_groups`, of the container's id.
//
// Errors name the file, the value and the reason, and what the kernel says in info/last_cmd_status.
// Threading: used by one thread at a time.
#ifndef KEELSON_CONTAINER_RUNTIME_RESCTRL_RESCTRL_H_
#define KEELSON_CONTAINER_RUNTIME_RESCTRL_RESCTRL_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "container_runtime/cgroup/cgroup_system.h"
#include "container_runtime/config/spec.h"

namespace keelson::container {

// Where resctrl is mounted, by the text of /proc/self/mountinfo; "" where it is not.
std::string FindResctrl(const std::string& mountinfo);

class ResctrlGroup {
 public:
  // `mountinfo` as above; `system` outlives the group. Errors: FAILED_PRECONDITION when resctrl is not
  // mounted, or has not what the config asks for (L3 caches, memory bandwidth, monitoring).
  static absl::StatusOr<ResctrlGroup> Open(CgroupSystem& system, const std::string& mountinfo,
                                           const IntelRdt& config, const std::string& id);

  // Whether Create will make the group's folder. FAILED_PRECONDITION when it may not, as the config has
  // a closID and no schema: then somebody else provides the group.
  absl::StatusOr<bool> IsMissing();

  // Makes what is missing and writes the schemata; whether the folder was made. A group that was there
  // already keeps its schemata, which must say what the config says: FAILED_PRECONDITION otherwise.
  absl::StatusOr<bool> Create();

  // Moves a process with all its threads into the group, and into the monitoring group if there is one.
  absl::Status Join(pid_t pid);

  // Writes other schemata into the group (`cradle update`); an empty list changes nothing.
  absl::Status Update(const std::vector<std::string>& schemata);

  // Removes the monitoring group, and the folder if it is ours. What is missing is no error.
  absl::Status Remove(bool folder_is_ours);

  // Lines of the config's schemas, in the order in which they are written.
  static std::vector<std::string> SchemataOf(const IntelRdt& config);

 private:
  ResctrlGroup(CgroupSystem& system, UniqueFd root, const IntelRdt& config, const std::string& id);
  absl::Status CheckFeatures();
  absl::Status CheckSame();
  absl::Status MakeMonitor();
  absl::Status WriteFile(int folder, const std::string& file, const std::string& text);
  absl::Status Failure(int error, const std::string& what);
  absl::StatusOr<UniqueFd> Folder(const std::string& name);

  CgroupSystem* system_;
  UniqueFd root_;
  IntelRdt config_;
  std::string id_, name_;  // name_: of the folder below the root, "." for the root itself
};

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_RESCTRL_RESCTRL_H_
