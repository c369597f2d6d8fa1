// The system calls that cgroup managers make, as a dependency: tests run the managers over plain
// folders and decide what a kernel would (testing/fake_cgroup_system.h).
//
// Every call returns 0 or a descriptor on success and a negative errno on failure. Files and folders
// are named relative to an open folder; nothing follows symbolic links or leaves the folder.
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_CGROUP_SYSTEM_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_CGROUP_SYSTEM_H_

#include <linux/bpf.h>
#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace keelson::container {

class CgroupSystem {
 public:
  virtual ~CgroupSystem() = default;

  // A mount point of the host, by its absolute path.
  virtual int OpenRoot(const std::string& mount_point) = 0;
  // A folder at `path` ("a/b", "." for itself) below the folder `parent`.
  virtual int OpenFolder(int parent, const std::string& path) = 0;
  // A file in `folder` or below ("a/b/tasks"). `flags` as of open(2); close-on-exec is added.
  virtual int OpenFile(int folder, const std::string& file, int flags) = 0;
  virtual int MakeFolder(int parent, const std::string& name) = 0;
  virtual int RemoveFolder(int parent, const std::string& name) = 0;
  virtual int Read(int folder, const std::string& file, std::string* text) = 0;
  // One write call with all of `value`.
  virtual int Write(int folder, const std::string& file, std::string_view value) = 0;
  // Names of the folders in `folder`, in any order.
  virtual int ListFolders(int folder, std::vector<std::string>* names) = 0;
  // Reads `file`, which the kernel announces changes of (cgroup.events), until `done` says yes to its
  // text; waits for an announcement in between. -ETIMEDOUT after `limit`.
  virtual int WaitUntil(int folder, const std::string& file, absl::Duration limit,
                        bool (*done)(const std::string& text)) = 0;
  // The owner of `file`, or of the folder itself when `file` is empty.
  virtual int Chown(int folder, const std::string& file, uid_t uid, gid_t gid) = 0;

  virtual int Kill(pid_t pid, int signal) = 0;
  // /proc/<pid>/cgroup.
  virtual int ReadProcessCgroups(pid_t pid, std::string* text) = 0;
  virtual absl::Status AttachDevices(int folder, const std::vector<bpf_insn>& program) = 0;
  virtual absl::Duration Monotonic() = 0;
  virtual void Sleep(absl::Duration duration) = 0;
};

// The kernel. Lives for ever; thread-safe.
CgroupSystem& RealCgroupSystem();

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_CGROUP_SYSTEM_H_
