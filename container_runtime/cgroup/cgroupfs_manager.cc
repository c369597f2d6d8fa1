#include "container_runtime/cgroup/cgroupfs_manager.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "container_runtime/cgroup/device_rules.h"
#include "container_runtime/cgroup/internal/cgroupfs_manager.h"
#include "container_runtime/cgroup/oom_watch.h"

namespace keelson::container {
namespace {

// The files to hand over with a v2 folder, before the kernel named them itself (Linux 4.15).
constexpr const char* kDelegated[] = {"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"};
constexpr const char* kDelegateFolder = "/sys/kernel/cgroup";

std::string Trimmed(const std::string& text) {
  return std::string(absl::StripAsciiWhitespace(text));
}

// EACCES, EPERM and EROFS.
bool MayLeaveOut(const absl::Status& status) {
  return status.code() == absl::StatusCode::kPermissionDenied;
}

absl::Status CheckSubPath(const std::string& path) {
  for (const std::string& name : std::vector<std::string>(absl::StrSplit(path, '/'))) {
    if (name != "..") continue;
    return absl::InvalidArgumentError(absl::StrCat("bad sub cgroup path: ", path));
  }
  return absl::OkStatus();
}

}  // namespace

std::unique_ptr<CgroupManager> NewCgroupfsManager(CgroupSystem& system, const HostLayout& host,
                                                  CgroupLocation location,
                                                  const CgroupfsOptions& options) {
  return std::make_unique<CgroupfsManager>(system, host, std::move(location), options);
}

bool AttachSelf(const Attachment& attachment, AttachFailure* failed) {
  for (size_t i = 0; i < attachment.tasks.size(); ++i) {
    if (::write(attachment.tasks[i].fd.get(), "0", 1) == 1) continue;
    if (failed != nullptr) *failed = {.index = i, .errno_value = errno};
    return false;
  }
  return true;
}

CgroupfsManager::CgroupfsManager(CgroupSystem& system, const HostLayout& host,
                                 CgroupLocation location, const CgroupfsOptions& options)
    : system_(system),
      options_(options),
      location_(std::move(location)),
      processes_(system_, folders_),
      limits_(system_, folders_, left_out_) {
  for (const Hierarchy& h : host.hierarchies) {
    const auto it = location_.paths.find(h.name);
    if (it != location_.paths.end()) folders_.emplace_back(system_, h, it->second);
  }
}

absl::Status CgroupfsManager::CheckUnused() {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<pid_t> pids, Pids());
  if (!pids.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("container's cgroup is not empty: ", pids.size(), " process(es) found"));
  }
  KEELSON_ASSIGN_OR_RETURN(const FreezerState state, Freezer());
  if (state != FreezerState::kThawed) {
    return absl::FailedPreconditionError("container's cgroup unexpectedly frozen");
  }
  return absl::OkStatus();
}

absl::Status CgroupfsManager::Create() {
  KEELSON_RETURN_IF_ERROR(CheckUnused());
  absl::Status made = MakeFolders();
  if (!made.ok()) (void)Destroy();  // Best effort: the error is the one that counts.
  return made;
}

absl::Status CgroupfsManager::MakeFolders() {
  for (auto folder = folders_.begin(); folder != folders_.end();) {
    absl::Status status = Make(*folder);
    if (status.ok()) {
      ++folder;
    } else if (location_.tolerate_permission && MayLeaveOut(status)) {
      left_out_.insert(folder->name());
      location_.paths.erase(folder->name());
      folder = folders_.erase(folder);
    } else {
      return status;
    }
  }
  return absl::OkStatus();
}

absl::Status CgroupfsManager::Make(CgroupFolder& folder) {
  const int root = folder.root();
  if (root < 0) {
    return folder.Error(-root, absl::StrCat("open '", folder.hierarchy().mount_point, "'"));
  }
  if (folder.fd() == -ENOENT) KEELSON_RETURN_IF_ERROR(MakeAncestors(folder));
  if (folder.fd() < 0) return folder.Error(-folder.fd(), "open the folder");
  if (!folder.unified()) return folder.Has("cpuset") ? FillCpuset(folder) : absl::OkStatus();
  KEELSON_RETURN_IF_ERROR(CheckDomain(folder));
  // All of them, as statistics need them without limits too. Beside v1, only what limits ask for is
  // enabled, then: elsewhere the v2 tree may be in nobody's use.
  const bool alone = std::all_of(folders_.begin(), folders_.end(),
                                 [](const CgroupFolder& f) { return f.unified(); });
  return alone ? limits_.EnableControllers(folder, folder.hierarchy().controllers)
               : absl::OkStatus();
}

absl::Status CgroupfsManager::MakeAncestors(CgroupFolder& folder) {
  UniqueFd current;
  int fd = folder.root();
  for (const std::string& name : folder.components()) {
    int next = system_.OpenFolder(fd, name);
    if (next == -ENOENT) {
      const int error = -system_.MakeFolder(fd, name);
      if (error != 0 && error != EEXIST) {
        return folder.Error(error, absl::StrCat("mkdir '", name, "'"));
      }
      next = system_.OpenFolder(fd, name);
    }
    if (next < 0) return folder.Error(-next, absl::StrCat("open '", name, "'"));
    current.Reset(next);
    fd = next;
  }
  return absl::OkStatus();
}

absl::Status CgroupfsManager::CheckDomain(CgroupFolder& folder) {
  std::string type;
  if (folder.TryRead("cgroup.type", &type) != 0) return absl::OkStatus();  // before Linux 4.14
  type = Trimmed(type);
  if (type == "domain" || type.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "cgroup '", folder.path(), "' (unified) is in mode '", type,
      "', in which it takes no processes with domain controllers; the parent is threaded"));
}

absl::Status CgroupfsManager::FillCpuset(CgroupFolder& folder) {
  for (const char* file : {"cpuset.cpus", "cpuset.mems"}) {
    std::string value;
    if (folder.TryRead(file, &value) == 0 && !Trimmed(value).empty()) continue;
    // From the top down: a level copies what the one above has or has just got.
    UniqueFd current;
    int fd = folder.root();
    std::string above;
    int error = -system_.Read(fd, file, &above);
    for (const std::string& name : folder.components()) {
      if (error != 0) break;
      const int next = system_.OpenFolder(fd, name);
      if (next < 0) return folder.Error(-next, absl::StrCat("open '", name, "'"));
      current.Reset(next);
      fd = next;
      error = -system_.Read(fd, file, &value);
      if (error != 0) break;
      if (Trimmed(value).empty()) {
        error = -system_.Write(fd, file, Trimmed(above));
      } else {
        above = value;
      }
    }
    if (error != 0) return folder.Error(error, absl::StrCat("copy '", file, "' from the parent"));
  }
  return absl::OkStatus();
}

absl::Status CgroupfsManager::Apply(const Resources& resources) {
  KEELSON_RETURN_IF_ERROR(limits_.Write(resources));
  if (options_.skip_devices) return absl::OkStatus();
  return limits_.WriteDevices(
      options_.default_devices ? WithDefaultDevices(resources.devices) : resources.devices,
      options_.tolerate_devices);
}

absl::Status CgroupfsManager::Update(const Resources& resources) {
  if (!resources.devices.empty()) return Apply(resources);
  return limits_.Write(resources);
}

absl::StatusOr<std::string> CgroupfsManager::PathOfProcess(const CgroupFolder& folder, pid_t pid) {
  std::string text;
  const int error = -system_.ReadProcessCgroups(pid, &text);
  if (error != 0) return ErrnoError(error, absl::StrCat("read the cgroups of process ", pid));
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() == 3 && fields[0] == "0" && fields[1].empty()) return fields[2];
  }
  return folder.Error(ENOENT, absl::StrCat("find process ", pid));
}

absl::Status CgroupfsManager::OpenAttach(CgroupFolder& folder, const SubCgroup& sub,
                                         Attachment& attachment) {
  std::string path = CleanCgroupPath(sub.path).substr(1);
  for (const auto& [controller, own] : sub.path_of) {
    if (folder.Has(controller) || folder.name() == controller) {
      path = CleanCgroupPath(own).substr(1);
    }
  }
  if (!folder.unified()) {
    const int tasks =
        folder.OpenFile(path.empty() ? "tasks" : absl::StrCat(path, "/tasks"), O_WRONLY);
    if (tasks < 0) {
      return folder.Error(-tasks, path.empty()
                                      ? "open 'tasks'"
                                      : absl::StrCat("adding pid to the sub-cgroup '", path, "'"));
    }
    attachment.tasks.push_back(
        {.fd = UniqueFd(tasks), .hierarchy = folder.name(), .path = folder.path()});
    return absl::OkStatus();
  }
  const int base = folder.fd();
  if (base < 0) return folder.Error(-base, "open");
  if (folders_.size() == 1 && path.empty() && sub.same_as != 0) {
    KEELSON_ASSIGN_OR_RETURN(const std::string whole, PathOfProcess(folder, sub.same_as));
    const std::string prefix = folder.path() + "/";
    if (absl::StartsWith(whole, prefix)) path = whole.substr(prefix.size());
  }
  // The child is born in a descriptor that the attachment owns.
  const int fd = system_.OpenFolder(base, path.empty() ? "." : path);
  if (fd < 0) return folder.Error(-fd, absl::StrCat("adding pid to the sub-cgroup '", path, "'"));
  attachment.clone_into.Reset(fd);
  return absl::OkStatus();
}

absl::StatusOr<Attachment> CgroupfsManager::PrepareAttach(const SubCgroup& sub) {
  KEELSON_RETURN_IF_ERROR(CheckSubPath(sub.path));
  for (const auto& [controller, path] : sub.path_of) {
    KEELSON_RETURN_IF_ERROR(CheckSubPath(path));
    const std::string& name = controller;
    const bool known = std::any_of(folders_.begin(), folders_.end(), [&](const CgroupFolder& f) {
      return f.Has(name) || f.name() == name;
    });
    if (known) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("unknown controller ", name, " of the sub cgroup ", path));
  }
  Attachment attachment;
  for (CgroupFolder& folder : folders_) {
    const absl::Status status = OpenAttach(folder, sub, attachment);
    if (!status.ok() && !(location_.tolerate_permission && MayLeaveOut(status))) return status;
  }
  return attachment;
}

absl::Status CgroupfsManager::Attach(pid_t pid) {
  for (CgroupFolder& folder : folders_) {
    absl::Status status = folder.Write("cgroup.procs", absl::StrCat(pid));
    if (status.ok() || (location_.tolerate_permission && MayLeaveOut(status))) continue;
    return status;
  }
  return absl::OkStatus();
}

absl::Status CgroupfsManager::Delegate(uid_t uid, gid_t gid) {
  for (CgroupFolder& folder : folders_) {
    if (!folder.unified()) continue;
    const int fd = folder.fd();
    if (fd < 0) return folder.Error(-fd, "open");
    std::vector<std::string> files(std::begin(kDelegated), std::end(kDelegated));
    const UniqueFd kernel(system_.OpenRoot(kDelegateFolder));
    std::string named;
    if (kernel.ok() && system_.Read(kernel.get(), "delegate", &named) == 0) {
      files = absl::StrSplit(named, '\n', absl::SkipEmpty());
    }
    files.push_back("");  // The folder itself, last: its owner may do as he likes from here on.
    for (const std::string& file : files) {
      const int error = -system_.Chown(fd, file, uid, gid);
      if (error != 0 && error != ENOENT) {
        return folder.Error(error, absl::StrCat("chown '", file, "' to ", uid, ":", gid));
      }
    }
  }
  return absl::OkStatus();
}

bool CgroupfsManager::Exists() {
  return std::any_of(folders_.begin(), folders_.end(), [](CgroupFolder& folder) {
    folder.Close();  // A descriptor outlives its folder.
    return folder.fd() >= 0;
  });
}

absl::Status CgroupfsManager::Destroy() {
  absl::Status first;
  for (CgroupFolder& folder : folders_) {
    absl::Status status = processes_.Remove(folder, options_.destroy_limit);
    if (location_.tolerate_permission && MayLeaveOut(status)) continue;
    if (first.ok()) first = std::move(status);
  }
  return first;
}

absl::StatusOr<std::unique_ptr<OomWatch>> CgroupfsManager::WatchOom() {
  for (CgroupFolder& folder : folders_) {
    if (!folder.Has("memory")) continue;
    const int fd = folder.fd();
    if (fd < 0) return folder.Error(-fd, "open");
    return NewOomWatch(system_, fd, folder.unified(), folder.path());
  }
  return absl::FailedPreconditionError("no memory cgroup to watch for OOM events");
}

int CgroupfsManager::FolderFd(const std::string& name) const {
  for (const CgroupFolder& folder : folders_) {
    // Opening it changes nothing that can be seen from outside.
    if (folder.name() == name) return std::max(const_cast<CgroupFolder&>(folder).fd(), -1);
  }
  return -1;
}

absl::StatusOr<CgroupStats> CgroupfsManager::Stats() {
  CgroupStats stats;
  const auto read = [&](const StatFile& file) -> absl::Status {
    for (CgroupFolder& folder : folders_) {
      if (folder.unified() != file.unified) continue;
      if (!file.controller.empty() && !folder.Has(file.controller)) continue;
      std::string text;
      const int error = folder.TryRead(file.file, &text);
      // Many are not there on every kernel, and a pressure file may be switched off.
      if (error == ENOENT || error == EOPNOTSUPP) continue;
      if (error != 0) return folder.Error(error, absl::StrCat("read '", file.file, "'"));
      KEELSON_RETURN_IF_ERROR(file.parse(file.file, text, stats));
    }
    return absl::OkStatus();
  };
  for (const StatFile& file : StatFiles()) KEELSON_RETURN_IF_ERROR(read(file));
  for (const bool unified : {false, true}) {
    for (const StatFile& file : HugetlbFiles(HugepageSizes(), unified)) {
      KEELSON_RETURN_IF_ERROR(read(file));
    }
  }
  if (stats.pids.current == 0) {
    // Without a pids controller, as runc: the processes.
    KEELSON_ASSIGN_OR_RETURN(const std::vector<pid_t> pids, Pids());
    stats.pids.current = pids.size();
  }
  return stats;
}

}  // namespace keelson::container
