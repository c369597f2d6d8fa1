// The cgroups of one container, whatever the host mounts: cgroup v1, v2, or both at once with
// each controller on its own side ("hybrid").
//
//   KEELSON_ASSIGN_OR_RETURN(HostLayout host, DetectHost(mount_table, own_cgroups));
//   KEELSON_ASSIGN_OR_RETURN(auto cgroup, NewCgroupfsManager(system, host, location));
//   KEELSON_RETURN_IF_ERROR(cgroup->Create());
//   KEELSON_RETURN_IF_ERROR(cgroup->Apply(spec.linux.resources));
//   KEELSON_ASSIGN_OR_RETURN(Attachment attachment, cgroup->PrepareAttach({}));
//   pid_t child = Clone(attachment.clone_into.get());   // born inside its v2 cgroup
//   ... in the child: AttachSelf(attachment, nullptr);  // and moves itself in the v1 ones
//   ...
//   KEELSON_RETURN_IF_ERROR(cgroup->Kill());
//   KEELSON_RETURN_IF_ERROR(cgroup->Destroy());
//
// Concepts. A *hierarchy* is one mounted tree (host_layout.h). A *location* is the container's path
// in every hierarchy it takes part in; it is what a state file keeps (cgroup_location.h). A
// *manager* acts on the folders of one location through folder descriptors, never through paths
// that a container could influence.
//
// Errors name the file, the value and the reason:
//   "write '-1' to 'memory.max' of cgroup '/a/b' (unified): Permission denied".
// Threading: a manager is used by one thread at a time. Nothing here is async-signal-safe, except
// AttachSelf.
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_CGROUP_MANAGER_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_CGROUP_MANAGER_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/unique_fd.h"
#include "container_runtime/config/resources.h"

namespace keelson::container {

struct CgroupStats;     // cgroup_stats.h
struct CgroupLocation;  // cgroup_location.h

// How a new process gets into the container's cgroups.
//
// Moving a process by its pid takes a lock for which the kernel waits out an RCU grace period: 3 to
// 15 ms on an idle machine. Two ways do not: birth in the cgroup (v2, clone3 with CLONE_INTO_CGROUP),
// and a process of one thread that moves itself, by writing "0" to the v1 file `tasks`
// (cgroup_procs_write_start in kernel/cgroup/cgroup.c: neither a pid nor a thread group, so no lock).
// Measured with eight v1 hierarchies on Linux 6.18, p50: 6.9 ms by pid, 0.075 ms by "0" to `tasks`.
struct Attachment {
  // A folder for clone3(CLONE_INTO_CGROUP). Empty where there is no v2 hierarchy.
  UniqueFd clone_into;

  struct TasksFile {
    UniqueFd fd;            // open for writing, close-on-exec
    std::string hierarchy;  // for messages: "memory", "cpu,cpuacct", "unified"
    std::string path;       // for messages: the cgroup's path in that hierarchy
  };
  // The rest: `tasks` of each v1 hierarchy. The child writes "0" to each (one write call, no
  // newline) while it has one thread; that is async-signal-safe and needs no /proc and no pid. It
  // counts against permissions of the opener, so a child in a user namespace may do it as well.
  std::vector<TasksFile> tasks;

  // True with the systemd driver before the unit exists: CgroupManager::Attach must be called with
  // the pid, which makes the unit around it; the other fields are empty.
  bool by_call = false;
};

// Writes "0" to every file of `attachment.tasks`, in order. Stops at the first that fails and returns
// its index and errno by `failed` (when not null); true when all went well. Async-signal-safe. An
// ESRCH or EINVAL cannot happen to a process that writes for itself.
struct AttachFailure {
  size_t index = 0;
  int errno_value = 0;
};
bool AttachSelf(const Attachment& attachment, AttachFailure* failed);

enum class FreezerState {
  kThawed,
  kFreezing,  // asked for, and some process is not frozen yet
  kFrozen,
};

// What to attach to instead of the container's own cgroup (`exec --cgroup`).
struct SubCgroup {
  // "" (the container's own) or a relative path below it without "..", which must exist.
  std::string path;
  // v1 only: controllers with such a path of their own.
  std::map<std::string, std::string> path_of;
  // v2 alone, with an empty path: where this process of the container is. A container whose init has
  // moved itself down (systemd does) takes no processes at its own level any more, and clone3
  // fails with EBUSY there. 0: the container's own cgroup.
  pid_t same_as = 0;
};

// Tells when the kernel killed a process of the cgroup for want of memory.
class OomWatch {
 public:
  virtual ~OomWatch() = default;

  // To be polled for `poll_events` (EPOLLIN or EPOLLPRI) when something happened; owned by this
  // object.
  [[nodiscard]] virtual int fd() const = 0;
  [[nodiscard]] virtual uint32_t poll_events() const = 0;

  // Takes what happened since the last call: the number of OOM events, 0 if the descriptor woke for
  // another reason. NOT_FOUND when the cgroup is gone; no more events follow.
  virtual absl::StatusOr<uint64_t> Take() = 0;
};

class CgroupManager {
 public:
  virtual ~CgroupManager() = default;

  // Makes the container's folders in every hierarchy (existing ones are taken over) and what is
  // missing above them; on v2 controllers are enabled on the way down, on v1 cpusets are copied from
  // the parent. Undone by Destroy, also after an error.
  //
  // Errors:
  //   FAILED_PRECONDITION  the cgroup exists and has processes, or is frozen, or an ancestor on v2 is
  //                        threaded.
  //   PERMISSION_DENIED    and the location is not `tolerate_permission`; see cgroup_location.h.
  virtual absl::Status Create() = 0;

  // Writes the limits of `resources`; what is absent is not touched. Before the first process is
  // attached. The systemd driver hands them to systemd at Attach.
  //
  // Errors: INVALID_ARGUMENT a value no kernel takes (checked before anything is written);
  // FAILED_PRECONDITION the host lacks the controller; others by errno.
  virtual absl::Status Apply(const Resources& resources) = 0;

  // As Apply, for a cgroup with processes: the order of writes never passes through a state that
  // the kernel refuses (memory against memory+swap, quota against period), and device rules are
  // replaced without a moment in which none or all hold.
  virtual absl::Status Update(const Resources& resources) = 0;

  // Opens what attaching needs. The descriptors stay valid until closed, whatever happens to paths.
  virtual absl::StatusOr<Attachment> PrepareAttach(const SubCgroup& sub) = 0;

  // Moves `pid` with all its threads into the cgroup by cgroup.procs, which may take the wait that
  // Attachment avoids; or, with the systemd driver for the first process, starts the unit around it
  // and writes the limits given to Apply.
  virtual absl::Status Attach(pid_t pid) = 0;

  // Gives the v2 folder and the files that /sys/kernel/cgroup/delegate names to `uid` and `gid`, as
  // the runtime specification asks of a writable cgroup mount. No effect on v1.
  virtual absl::Status Delegate(uid_t uid, gid_t gid) = 0;

  // Stops every process of the cgroup and below until Thaw; returns when all have stopped.
  // Idempotent. DEADLINE_EXCEEDED when they have not within `limit`; the cgroup is thawed then.
  virtual absl::Status Freeze(absl::Duration limit) = 0;
  virtual absl::Status Thaw() = 0;
  [[nodiscard]] virtual absl::StatusOr<FreezerState> Freezer() = 0;

  // Sends `signal` to every process of the cgroup and below; SIGKILL also reaches what forks
  // meanwhile and what is frozen, at whatever depth. Does not wait for the ends.
  virtual absl::Status Signal(int signal) = 0;

  // Kills everything and waits until the cgroup is empty, at most `limit`: DEADLINE_EXCEEDED then.
  virtual absl::Status Kill(absl::Duration limit) = 0;

  // The processes of the cgroup and of those below, as seen from the caller's PID namespace;
  // ascending, each once. Processes of other PID namespaces do not appear.
  [[nodiscard]] virtual absl::StatusOr<std::vector<pid_t>> Pids() = 0;

  // False when no folder of the container is left (or none was ever made).
  [[nodiscard]] virtual bool Exists() = 0;

  // Removes the container's folders and those below, deepest first; waits (up to some seconds) for
  // the last zombies to leave. Folders above the container's that Create made stay, as with every other
  // runtime. Idempotent. FAILED_PRECONDITION when processes live there.
  virtual absl::Status Destroy() = 0;

  [[nodiscard]] virtual absl::StatusOr<CgroupStats> Stats() = 0;

  // FAILED_PRECONDITION where the host has no memory controller.
  virtual absl::StatusOr<std::unique_ptr<OomWatch>> WatchOom() = 0;

  // The paths in use: what was asked for without the hierarchies that permissions kept us from.
  [[nodiscard]] virtual const CgroupLocation& location() const = 0;

  // A descriptor (O_PATH | O_DIRECTORY) of the container's folder in hierarchy `name`, such as
  // "memory" or "unified", for a cgroup mount inside the container. -1: not joined.
  [[nodiscard]] virtual int FolderFd(const std::string& name) const = 0;
};

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_CGROUP_MANAGER_H_
