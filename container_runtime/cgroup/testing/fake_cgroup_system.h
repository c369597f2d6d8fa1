// A CgroupSystem over plain folders that does what a kernel would do with cgroups: folders are born
// with files, cannot be removed while in use, freeze, kill and count processes.
//
//   FakeCgroupSystem system(temporary_folder);
//   HostLayout host = system.Host(FakeHost::kHybrid);
//   system.FailWrite("memory.max", EACCES);
//   system.AddProcess("unified", "/a/b", 42);
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_TESTING_FAKE_CGROUP_SYSTEM_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_TESTING_FAKE_CGROUP_SYSTEM_H_

#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "container_runtime/cgroup/cgroup_system.h"
#include "container_runtime/cgroup/host_layout.h"

namespace keelson::container::testing {

enum class FakeHost {
  kUnified,  // v2 with cpu cpuset io memory pids hugetlb
  kLegacy,   // v1: cpuset, "cpu,cpuacct", memory, pids, devices, blkio, freezer, name=systemd
  kHybrid,   // kLegacy, and v2 with hugetlb
};

class FakeCgroupSystem : public CgroupSystem {
 public:
  // `folder` exists and is empty; whoever made it removes it.
  explicit FakeCgroupSystem(std::string folder) : base_(std::move(folder)) {}

  // Makes the roots of `kind` in the folder, and the layout that shows them.
  HostLayout Host(FakeHost kind);

  // --- what a test decides ---
  // The next `times` writes of `file` (in any cgroup) fail with `error`.
  void FailWrite(const std::string& file, int error, int times = 1);
  // Folders cannot be made: of hierarchy `name`, or of all with "".
  void FailMake(const std::string& hierarchy, int error) { fail_make_[hierarchy] = error; }
  // The file does not exist in any cgroup made from now on.
  void Hide(const std::string& file) { hidden_.insert(file); }
  void AddProcess(const std::string& hierarchy, const std::string& path, pid_t pid);
  // Processes that a signal does not end, as in state D.
  void MakeImmortal(pid_t pid) { immortal_.insert(pid); }
  void SetProcessCgroups(pid_t pid, std::string text) { process_cgroups_[pid] = std::move(text); }
  // freezer.state reads FREEZING this often before it is FROZEN.
  void SlowFreezer(int reads) { freezing_reads_ = reads; }

  // --- what a test sees ---
  // "<hierarchy>:<path>/<file>=<value>" of every write that succeeded.
  std::vector<std::string> writes;
  std::vector<std::pair<pid_t, int>> signals;
  std::vector<bpf_insn> device_program;
  std::vector<std::string> chowned;  // "<file> <uid>:<gid>"
  absl::Status device_status;        // what AttachDevices answers
  absl::Duration now;

  [[nodiscard]] std::string Contents(const std::string& hierarchy, const std::string& path,
                                     const std::string& file);
  void Set(const std::string& hierarchy, const std::string& path, const std::string& file,
           const std::string& text);
  [[nodiscard]] bool FolderExists(const std::string& hierarchy, const std::string& path);

  int OpenRoot(const std::string& mount_point) override;
  int OpenFolder(int parent, const std::string& path) override;
  int OpenFile(int folder, const std::string& file, int flags) override;
  int MakeFolder(int parent, const std::string& name) override;
  int RemoveFolder(int parent, const std::string& name) override;
  int Read(int folder, const std::string& file, std::string* text) override;
  int Write(int folder, const std::string& file, std::string_view value) override;
  int ListFolders(int folder, std::vector<std::string>* names) override;
  int WaitUntil(int folder, const std::string& file, absl::Duration limit,
                bool (*done)(const std::string&)) override;
  int Chown(int folder, const std::string& file, uid_t uid, gid_t gid) override;
  int Kill(pid_t pid, int signal) override;
  int ReadProcessCgroups(pid_t pid, std::string* text) override;
  absl::Status AttachDevices(int folder, const std::vector<bpf_insn>& program) override;
  absl::Duration Monotonic() override { return now; }
  void Sleep(absl::Duration duration) override { now += duration; }

 private:
  // The folder behind a descriptor, and the hierarchy that it is in.
  [[nodiscard]] static std::string PathOf(int fd);
  [[nodiscard]] std::string HierarchyOf(const std::string& folder) const;
  void Populate(const std::string& folder);
  // Effects of a write beyond the file itself; the text that the file then has.
  std::string Effect(const std::string& folder, const std::string& file, const std::string& value);
  void RemoveProcess(const std::string& folder, pid_t pid);
  void UpdateEvents(const std::string& root);

  const std::string base_;
  HostLayout host_;
  std::map<std::string, std::deque<int>> fail_write_;
  std::map<std::string, int> fail_make_;
  std::set<std::string> hidden_;
  std::set<pid_t> immortal_;
  std::map<pid_t, std::string> process_cgroups_;
  int freezing_reads_ = 0;
};

}  // namespace keelson::container::testing

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_TESTING_FAKE_CGROUP_SYSTEM_H_
