#include "container_runtime/cgroup/testing/fake_cgroup_system.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/unique_fd.h"

namespace keelson::container::testing {
namespace {

namespace fs = std::filesystem;

std::string ReadText(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void WriteText(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::trunc) << text;
}

// Files of each controller with what a new cgroup has in them; v1 as "v1:memory".
const std::map<std::string, std::vector<std::pair<std::string, std::string>>>& FilesOf() {
  static const auto* const files =
      new std::map<std::string, std::vector<std::pair<std::string, std::string>>>{
          {"v1:", {{"cgroup.procs", ""}, {"tasks", ""}, {"cgroup.event_control", ""}}},
          {"v1:cpuset", {{"cpuset.cpus", "\n"}, {"cpuset.mems", "\n"}}},
          {"v1:cpu",
           {{"cpu.shares", "1024\n"},
            {"cpu.cfs_quota_us", "-1\n"},
            {"cpu.cfs_period_us", "100000\n"},
            {"cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 30\n"}}},
          {"v1:cpuacct",
           {{"cpuacct.usage", "5000\n"},
            {"cpuacct.stat", "user 3\nsystem 2\n"},
            {"cpuacct.usage_percpu", "2000 3000 \n"}}},
          {"v1:memory",
           {{"memory.limit_in_bytes", "9223372036854771712\n"},
            {"memory.memsw.limit_in_bytes", "9223372036854771712\n"},
            {"memory.soft_limit_in_bytes", "9223372036854771712\n"},
            {"memory.usage_in_bytes", "4096\n"},
            {"memory.max_usage_in_bytes", "8192\n"},
            {"memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n"},
            {"memory.stat", "cache 100\nrss 200\ntotal_inactive_file 96\n"},
            {"memory.swappiness", "60\n"}}},
          {"v1:pids", {{"pids.max", "max\n"}, {"pids.current", "0\n"}}},
          {"v1:devices",
           {{"devices.list", "a *:* rwm\n"}, {"devices.allow", ""}, {"devices.deny", ""}}},
          {"v1:blkio", {{"blkio.weight", "500\n"}, {"blkio.throttle.read_bps_device", ""}}},
          {"v1:freezer", {{"freezer.state", "THAWED\n"}, {"freezer.self_freezing", "0\n"}}},
          {"v2:",
           {{"cgroup.procs", ""},
            {"cgroup.threads", ""},
            {"cgroup.controllers", ""},
            {"cgroup.subtree_control", ""},
            {"cgroup.events", "populated 0\nfrozen 0\n"},
            {"cgroup.freeze", "0\n"},
            {"cgroup.kill", ""},
            {"cgroup.type", "domain\n"},
            {"cpu.stat", "usage_usec 7\nuser_usec 4\nsystem_usec 3\n"}}},
          {"v2:memory",
           {{"memory.max", "max\n"},
            {"memory.low", "0\n"},
            {"memory.high", "max\n"},
            {"memory.swap.max", "max\n"},
            {"memory.current", "4096\n"},
            {"memory.events", "oom 0\noom_kill 0\n"}}},
          {"v2:cpu", {{"cpu.weight", "100\n"}, {"cpu.max", "max 100000\n"}}},
          {"v2:cpuset", {{"cpuset.cpus", "\n"}, {"cpuset.mems", "\n"}}},
          {"v2:pids", {{"pids.max", "max\n"}, {"pids.current", "0\n"}}},
          {"v2:io", {{"io.max", ""}, {"io.weight", "default 100\n"}, {"io.stat", ""}}},
          {"v2:hugetlb", {{"hugetlb.2MB.max", "max\n"}}},
      };
  return *files;
}

std::string Joined(const std::set<std::string>& words) {
  return words.empty() ? "" : absl::StrJoin(words, " ") + "\n";
}

}  // namespace

HostLayout FakeCgroupSystem::Host(FakeHost kind) {
  if (kind != FakeHost::kUnified) {
    for (const char* name : {"cpuset", "cpu,cpuacct", "memory", "pids", "devices", "blkio",
                             "freezer", "name=systemd"}) {
      Hierarchy h{.name = name, .mount_point = absl::StrCat(base_, "/", name), .own_path = "/"};
      if (h.name != "name=systemd") h.controllers = absl::StrSplit(name, ',');
      host_.hierarchies.push_back(h);
    }
  }
  if (kind != FakeHost::kLegacy) {
    Hierarchy h{.name = "unified",
                .unified = true,
                .controllers = {"hugetlb"},
                .mount_point = absl::StrCat(base_, "/unified"),
                .own_path = "/"};
    if (kind == FakeHost::kUnified) {
      h.controllers = {"cpu", "cpuset", "io", "memory", "pids", "hugetlb"};
    }
    host_.hierarchies.push_back(h);
  }
  for (const Hierarchy& h : host_.hierarchies) {
    fs::create_directory(h.mount_point);
    Populate(h.mount_point);
    if (h.Has("cpuset") && !h.unified) {
      WriteText(h.mount_point + "/cpuset.cpus", "0-1\n");
      WriteText(h.mount_point + "/cpuset.mems", "0\n");
    }
  }
  return host_;
}

void FakeCgroupSystem::FailWrite(const std::string& file, int error, int times) {
  for (int i = 0; i < times; ++i) fail_write_[file].push_back(error);
}

std::string FakeCgroupSystem::PathOf(int fd) {
  return fs::read_symlink(absl::StrCat("/proc/self/fd/", fd)).string();
}

std::string FakeCgroupSystem::HierarchyOf(const std::string& folder) const {
  const std::string below = fs::relative(folder, base_).string();
  return below.substr(0, below.find('/'));
}

void FakeCgroupSystem::Populate(const std::string& folder) {
  const std::string name = HierarchyOf(folder);
  for (const Hierarchy& h : host_.hierarchies) {
    if (h.name != name) continue;
    const bool root = folder == h.mount_point;
    std::vector<std::string> controllers = h.controllers;
    if (h.unified && !root) {
      controllers = absl::StrSplit(ReadText(folder + "/../cgroup.subtree_control"),
                                   absl::ByAnyChar(" \n"), absl::SkipEmpty());
    }
    const std::string version = h.unified ? "v2:" : "v1:";
    std::vector<std::string> kinds = {version};
    for (const std::string& c : controllers) kinds.push_back(version + c);
    for (const std::string& key : kinds) {
      const auto it = FilesOf().find(key);
      if (it == FilesOf().end()) continue;
      for (const auto& [file, text] : it->second) {
        const std::string path = absl::StrCat(folder, "/", file);
        if (hidden_.count(file) == 0 && !fs::exists(path)) WriteText(path, text);
      }
    }
    if (h.unified) {
      WriteText(folder + "/cgroup.controllers",
                Joined(std::set<std::string>(controllers.begin(), controllers.end())));
    }
  }
}

std::string FakeCgroupSystem::Contents(const std::string& hierarchy, const std::string& path,
                                       const std::string& file) {
  return ReadText(absl::StrCat(base_, "/", hierarchy, path, "/", file));
}

void FakeCgroupSystem::Set(const std::string& hierarchy, const std::string& path,
                           const std::string& file, const std::string& text) {
  WriteText(absl::StrCat(base_, "/", hierarchy, path, "/", file), text);
}

bool FakeCgroupSystem::FolderExists(const std::string& hierarchy, const std::string& path) {
  return fs::is_directory(absl::StrCat(base_, "/", hierarchy, path));
}

void FakeCgroupSystem::AddProcess(const std::string& hierarchy, const std::string& path,
                                  pid_t pid) {
  const std::string folder = absl::StrCat(base_, "/", hierarchy, path);
  KEELSON_CHECK(fs::is_directory(folder)) << folder;
  WriteText(folder + "/cgroup.procs", absl::StrCat(ReadText(folder + "/cgroup.procs"), pid, "\n"));
  UpdateEvents(absl::StrCat(base_, "/", hierarchy));
}

void FakeCgroupSystem::RemoveProcess(const std::string& folder, pid_t pid) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().filename() != "cgroup.procs") continue;
    std::string kept;
    const std::string text = ReadText(entry.path());
    for (const std::string& line :
         std::vector<std::string>(absl::StrSplit(text, '\n', absl::SkipEmpty()))) {
      if (line != absl::StrCat(pid)) absl::StrAppend(&kept, line, "\n");
    }
    if (kept != text) WriteText(entry.path(), kept);
  }
  UpdateEvents(folder);
}

// "populated" of a cgroup counts the whole subtree.
void FakeCgroupSystem::UpdateEvents(const std::string& root) {
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().filename() != "cgroup.events") continue;
    const std::string folder = entry.path().parent_path();
    bool populated = false;
    for (const auto& below : fs::recursive_directory_iterator(folder)) {
      if (below.path().filename() == "cgroup.procs" && fs::file_size(below.path()) > 0) {
        populated = true;
      }
    }
    const bool frozen = ReadText(folder + "/cgroup.freeze") == "1\n";
    WriteText(entry.path(),
              absl::StrCat("populated ", populated ? 1 : 0, "\nfrozen ", frozen ? 1 : 0, "\n"));
  }
}

int FakeCgroupSystem::OpenRoot(const std::string& mount_point) {
  return RealCgroupSystem().OpenRoot(mount_point);
}
int FakeCgroupSystem::OpenFolder(int parent, const std::string& path) {
  return RealCgroupSystem().OpenFolder(parent, path);
}
int FakeCgroupSystem::OpenFile(int folder, const std::string& file, int flags) {
  return RealCgroupSystem().OpenFile(folder, file, flags);
}
int FakeCgroupSystem::ListFolders(int folder, std::vector<std::string>* names) {
  return RealCgroupSystem().ListFolders(folder, names);
}

int FakeCgroupSystem::MakeFolder(int parent, const std::string& name) {
  const std::string folder = absl::StrCat(PathOf(parent), "/", name);
  for (const std::string& key : {HierarchyOf(folder), std::string()}) {
    const auto it = fail_make_.find(key);
    if (it != fail_make_.end()) return -it->second;
  }
  const int error = RealCgroupSystem().MakeFolder(parent, name);
  if (error == 0) Populate(folder);
  return error;
}

int FakeCgroupSystem::RemoveFolder(int parent, const std::string& name) {
  const std::string folder = absl::StrCat(PathOf(parent), "/", name);
  if (!fs::is_directory(folder)) return -ENOENT;
  if (!ReadText(folder + "/cgroup.procs").empty()) return -EBUSY;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) return -EBUSY;
  }
  fs::remove_all(folder);
  return 0;
}

int FakeCgroupSystem::Read(int folder, const std::string& file, std::string* text) {
  if (file == "freezer.state" && freezing_reads_ > 0) {
    const int error = RealCgroupSystem().Read(folder, file, text);
    if (*text == "FROZEN\n") {
      --freezing_reads_;
      *text = "FREEZING\n";
    }
    return error;
  }
  return RealCgroupSystem().Read(folder, file, text);
}

std::string FakeCgroupSystem::Effect(const std::string& folder, const std::string& file,
                                     const std::string& value) {
  const std::string old = ReadText(absl::StrCat(folder, "/", file));
  if (file == "cgroup.procs") return absl::StrCat(old, value, "\n");
  if (file == "cgroup.subtree_control") {
    std::set<std::string> words = absl::StrSplit(old, absl::ByAnyChar(" \n"), absl::SkipEmpty());
    for (const std::string& word : std::vector<std::string>(absl::StrSplit(value, ' '))) {
      words.insert(word.substr(1));
    }
    return Joined(words);
  }
  if (file == "cgroup.kill") {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (entry.path().filename() != "cgroup.procs") continue;
      std::string left;
      for (const std::string& pid : std::vector<std::string>(
               absl::StrSplit(ReadText(entry.path()), '\n', absl::SkipEmpty()))) {
        if (immortal_.count(std::stoi(pid)) != 0) absl::StrAppend(&left, pid, "\n");
      }
      WriteText(entry.path(), left);
    }
    return "";
  }
  if (file == "devices.allow" || file == "devices.deny") {
    const std::string list = folder + "/devices.list";
    const bool allow = file == "devices.allow";
    if (value == "a") {
      WriteText(list, allow ? "a *:* rwm\n" : "");
    } else if (allow) {
      WriteText(list, ReadText(list) + value + "\n");
    }
    return "";
  }
  if (file == "freezer.state") {
    WriteText(folder + "/freezer.self_freezing", value == "FROZEN" ? "1\n" : "0\n");
  }
  return value + "\n";
}

int FakeCgroupSystem::Write(int folder, const std::string& file, std::string_view value) {
  auto& errors = fail_write_[file];
  if (!errors.empty()) {
    const int error = errors.front();
    errors.pop_front();
    return -error;
  }
  const std::string path = PathOf(folder);
  if (!fs::exists(path + "/" + file)) return -ENOENT;
  WriteText(path + "/" + file, Effect(path, file, std::string(value)));
  if (file == "cgroup.subtree_control") {
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.is_directory()) Populate(entry.path());
    }
  }
  const std::string hierarchy = HierarchyOf(path);
  const std::string root = absl::StrCat(base_, "/", hierarchy);
  UpdateEvents(root);
  writes.push_back(
      absl::StrCat(hierarchy, ":", path.substr(root.size()), "/", file, "=", std::string(value)));
  return 0;
}

int FakeCgroupSystem::WaitUntil(int folder, const std::string& file, absl::Duration limit,
                                bool (*done)(const std::string&)) {
  std::string text;
  const int error = Read(folder, file, &text);
  if (error != 0) return error;
  if (done(text)) return 0;
  now += limit;
  return -ETIMEDOUT;
}

int FakeCgroupSystem::Chown(int /*folder*/, const std::string& file, uid_t uid, gid_t gid) {
  chowned.push_back(absl::StrCat(file, " ", uid, ":", gid));
  return 0;
}

int FakeCgroupSystem::Kill(pid_t pid, int signal) {
  signals.emplace_back(pid, signal);
  if (signal == SIGKILL && immortal_.count(pid) == 0) RemoveProcess(base_, pid);
  return 0;
}

int FakeCgroupSystem::ReadProcessCgroups(pid_t pid, std::string* text) {
  const auto it = process_cgroups_.find(pid);
  if (it == process_cgroups_.end()) return -ENOENT;
  *text = it->second;
  return 0;
}

absl::Status FakeCgroupSystem::AttachDevices(int /*folder*/, const std::vector<bpf_insn>& program) {
  if (device_status.ok()) device_program = program;
  return device_status;
}

}  // namespace keelson::container::testing
