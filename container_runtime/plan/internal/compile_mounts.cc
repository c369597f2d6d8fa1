#include <fcntl.h>
#include <linux/mount.h>

#include <algorithm>
#include <array>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "container_runtime/path/in_root.h"
#include "container_runtime/plan/internal/container_compiler.h"

namespace keelson::container {
namespace {

constexpr uint64_t kRecursive = AT_RECURSIVE;
constexpr uint64_t kMsRec = 0x4000, kMsSlave = 1 << 19;

// Without "." and "..", which stop at the root; starts with "/".
std::string Clean(const std::string& path) {
  std::vector<std::string> parts;
  size_t at = 0;
  while (at < path.size()) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    if (part == ".." && !parts.empty()) parts.pop_back();
    if (!part.empty() && part != "." && part != "..") parts.push_back(part);
    at = end + 1;
  }
  std::string result;
  for (const std::string& part : parts) absl::StrAppend(&result, "/", part);
  return result.empty() ? "/" : result;
}

bool IsBelow(const std::string& path, std::string_view folder) {
  return path.size() > folder.size() && path.compare(0, folder.size(), folder) == 0 &&
         path[folder.size()] == '/';
}

std::string BaseName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

std::vector<MountOption> ContainerCompiler::Options(const MountRequest& request) {
  std::vector<MountOption> options;
  for (const auto& [key, value] : request.data) {
    options.push_back(
        {.key = plan_.Text(key), .value = value.has_value() ? plan_.Text(*value) : nullptr});
  }
  return options;
}

void ContainerCompiler::Attach(int16_t mount, const std::string& destination, bool directory,
                               const char* what, uint64_t target_flags) {
  const int16_t target = plan_.NewRegister();
  plan_.child.push_back({.op = Op::kTarget,
                         .what = what,
                         .out = target,
                         .in = kRoot,
                         .at = mount,
                         .flags = target_flags,
                         .value = static_cast<uint64_t>(directory ? Make::kDirectory : Make::kFile),
                         .path = plan_.Text(destination)});
  plan_.child.push_back({.op = Op::kMove, .what = what, .in = mount, .at = target});
}

int16_t ContainerCompiler::CloneHost(const std::string& path, bool recursive, const char* what) {
  const int16_t mount = plan_.NewRegister();
  std::vector<Step>& list = CloneList();
  list.push_back({.op = Op::kCloneTree,
                  .what = what,
                  .out = mount,
                  .flags = recursive ? kRecursive : 0,
                  .path = plan_.Text(path)});
  if (&list == &plan_.outside) {
    const uint64_t propagation =
        ParsePropagation(config_.rootfs_propagation).value_or(kMsSlave | kMsRec);
    list.push_back({.op = Op::kPropagation,
                    .what = what,
                    .in = mount,
                    .flags = recursive ? kRecursive : 0,
                    .value = propagation & ~kMsRec});
  }
  return mount;
}

void ContainerCompiler::AfterMount(int16_t mount, const MountRequest& request, const char* what) {
  for (const uint64_t flag : request.propagation) {
    plan_.child.push_back({.op = Op::kPropagation,
                           .what = what,
                           .in = mount,
                           .flags = (flag & kMsRec) != 0 ? kRecursive : 0,
                           .value = flag & ~kMsRec});
  }
  if (request.recursive_set == 0 && request.recursive_clear == 0) return;
  plan_.child.push_back({.op = Op::kSetAttributes,
                         .what = what,
                         .in = mount,
                         .flags = kRecursive,
                         .value = request.recursive_set,
                         .value2 = request.recursive_clear});
}

int16_t ContainerCompiler::IdMapOf(const Mount& mount) {
  const bool own = !mount.uid_mappings.empty();
  const Namespace* user = FindNamespace(config_, NamespaceType::kUser);
  const bool joined = user != nullptr && !user->path.empty();
  if (!own && joined && config_.uid_mappings.empty()) return OpenNamespace(*user);
  const int16_t space = plan_.NewRegister();
  plan_.id_maps.push_back({.out = space,
                           .uids = own ? mount.uid_mappings : config_.uid_mappings,
                           .gids = own ? mount.gid_mappings : config_.gid_mappings});
  return space;
}

absl::Status ContainerCompiler::BindMount(const Mount& mount, const MountRequest& request,
                                          const char* what) {
  if (mount.source.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": a bind mount needs a source"));
  }
  const std::string source = Clean(mount.source);
  // What lies in the container's root is what earlier mounts have made of it.
  const bool inside = IsBelow(source, options_.rootfs);
  bool directory = true;
  int16_t copy = kNone;
  if (inside) {
    copy = plan_.NewRegister();
    plan_.child.push_back({.op = Op::kCloneAt,
                           .what = what,
                           .out = copy,
                           .in = kRoot,
                           .flags = request.recursive ? kRecursive : 0,
                           .path = plan_.Text(source.substr(options_.rootfs.size()))});
  } else {
    KEELSON_ASSIGN_OR_RETURN(directory, options_.is_directory(mount.source));
    copy = CloneHost(mount.source, request.recursive, what);
  }
  std::vector<Step>& list = inside ? plan_.child : CloneList();
  if (request.idmap || !mount.uid_mappings.empty()) {
    list.push_back({.op = Op::kSetAttributes,
                    .what = what,
                    .in = copy,
                    .at = IdMapOf(mount),
                    .flags = request.recursive_idmap ? kRecursive : 0,
                    .value = MOUNT_ATTR_IDMAP});
  }
  if (request.attributes_named) {
    list.push_back({.op = Op::kRemountBind,
                    .what = what,
                    .in = copy,
                    .value = request.set,
                    .value2 = request.clear});
  }
  Attach(copy, mount.destination, directory, what, inside ? uint64_t{kLikeSource} : 0);
  AfterMount(copy, request, what);
  return absl::OkStatus();
}

void ContainerCompiler::FileSystemMount(const Mount& mount, const MountRequest& request,
                                        const char* what) {
  const bool tmpfs = mount.type == "tmpfs";
  const bool kernel_view = mount.type == "proc" || mount.type == "sysfs";
  const bool dev = Clean(mount.destination) == "/dev";
  std::vector<MountOption> options;
  if (!mount.source.empty()) options.push_back({"source", plan_.Text(mount.source)});
  bool has_mode = false;
  // Written to before it becomes read only.
  const bool late = (dev || request.copy_up) && (request.set & MOUNT_ATTR_RDONLY) != 0;
  for (const MountOption& option : Options(request)) {
    has_mode |= std::string_view(option.key) == "mode";
    // A tmpfs is read only by its mount alone, as with other runtimes; it may have been filled before.
    if (!tmpfs || std::string_view(option.key) != "ro") options.push_back(option);
  }
  const bool labelled = tmpfs || mount.type == "devpts" || mount.type == "mqueue";
  if (!config_.mount_label.empty() && labelled) {
    options.push_back({"context", plan_.Text(config_.mount_label)});
  }
  const int16_t target = plan_.NewRegister();
  const int16_t made = plan_.NewRegister();
  plan_.child.push_back({.op = Op::kTarget,
                         .what = what,
                         .out = target,
                         .in = kRoot,
                         .flags = kernel_view ? uint64_t{kNoSymlinks} : 0,
                         .value = static_cast<uint64_t>(Make::kDirectory),
                         .path = plan_.Text(mount.destination)});
  const uint64_t readonly = late ? MOUNT_ATTR_RDONLY : 0;
  plan_.child.push_back({.op = Op::kNewMount,
                         .what = what,
                         .out = made,
                         .at = target,
                         .flags = (tmpfs && !has_mode ? uint64_t{kModeOfTarget} : 0) |
                                  (mount.type == "sysfs" ? uint64_t{kBindIfRefused} : 0),
                         .value = request.set & ~readonly,
                         .path = "/sys",
                         .text = plan_.Text(mount.type),
                         .options = plan_.Array(options),
                         .count = static_cast<uint32_t>(options.size())});
  if (request.copy_up) {
    plan_.child.push_back({.op = Op::kCopyUp, .what = what, .in = made, .at = target});
  }
  plan_.child.push_back({.op = Op::kMove, .what = what, .in = made, .at = target});
  if (late && dev) readonly_dev_ = made;
  if (late && !dev) {
    plan_.child.push_back(
        {.op = Op::kSetAttributes, .what = what, .in = made, .value = MOUNT_ATTR_RDONLY});
  }
  AfterMount(made, request, what);
}

void ContainerCompiler::UnifiedMount(const std::string& destination, const MountRequest& request,
                                     const char* what) {
  const Hierarchy* unified = options_.host->Unified();
  const auto path = options_.location->paths.find("unified");
  const bool joined = path != options_.location->paths.end();
  const int16_t made = plan_.NewRegister();
  const std::string folder = joined ? unified->mount_point + path->second : unified->mount_point;
  if (FindNamespace(config_, NamespaceType::kCgroup) == nullptr && joined) {
    // Without a cgroup namespace a new mount would show the whole machine.
    plan_.child.push_back({.op = Op::kCloneTree,
                           .what = what,
                           .out = made,
                           .flags = kRecursive,
                           .path = plan_.Text(folder)});
    plan_.child.push_back(
        {.op = Op::kSetAttributes, .what = what, .in = made, .value = request.set});
  } else {
    plan_.child.push_back({.op = Op::kNewMount,
                           .what = what,
                           .out = made,
                           .flags = kBindIfRefused,
                           .value = request.set,
                           .path = plan_.Text(folder),
                           .text = "cgroup2",
                           .options = plan_.Array(std::vector<MountOption>{{"source", "cgroup"}}),
                           .count = 1});
  }
  Attach(made, destination, true, what, kNoSymlinks);
  AfterMount(made, request, what);
}

// A tmpfs with one folder for each hierarchy, and links for controllers that share one.
void ContainerCompiler::CgroupV1Mount(const Mount& mount, const MountRequest& request,
                                      const char* what) {
  constexpr uint64_t kAttributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  const int16_t base = plan_.NewRegister();
  const std::vector<MountOption> options = {{"source", "tmpfs"}, {"mode", "755"}};
  plan_.child.push_back({.op = Op::kNewMount,
                         .what = what,
                         .out = base,
                         .value = (request.set & ~uint64_t{MOUNT_ATTR_RDONLY}) | kAttributes,
                         .text = "tmpfs",
                         .options = plan_.Array(options),
                         .count = 2});
  Attach(base, mount.destination, true, what, kNoSymlinks);
  const bool own = FindNamespace(config_, NamespaceType::kCgroup) != nullptr;
  for (const Hierarchy& hierarchy : options_.host->hierarchies) {
    const auto path = options_.location->paths.find(hierarchy.name);
    // Who has no privileges has no group of his own beside v1, and none to show.
    if (path == options_.location->paths.end() || !options_.privileged) continue;
    const std::string name = BaseName(hierarchy.mount_point);
    const std::string destination = absl::StrCat(mount.destination, "/", name);
    if (hierarchy.unified) {
      UnifiedMount(destination, request, what);
      continue;
    }
    const int16_t made = plan_.NewRegister();
    if (own) {
      std::vector<MountOption> flags = {{"source", "cgroup"}};
      if (hierarchy.controllers.empty()) {
        const char* label = plan_.Text(hierarchy.name.substr(hierarchy.name.find('=') + 1));
        flags = {{"source", label}, {"none", nullptr}, {"name", label}};
      }
      for (const std::string& controller : hierarchy.controllers) {
        flags.push_back({plan_.Text(controller), nullptr});
      }
      plan_.child.push_back({.op = Op::kNewMount,
                             .what = what,
                             .out = made,
                             .value = request.set | kAttributes,
                             .text = "cgroup",
                             .options = plan_.Array(flags),
                             .count = static_cast<uint32_t>(flags.size())});
    } else {
      plan_.child.push_back({.op = Op::kCloneTree,
                             .what = what,
                             .out = made,
                             .path = plan_.Text(hierarchy.mount_point + path->second)});
      plan_.child.push_back(
          {.op = Op::kSetAttributes, .what = what, .in = made, .value = request.set | kAttributes});
    }
    Attach(made, destination, true, what);
    AfterMount(made, request, what);
    if (hierarchy.controllers.size() < 2) continue;
    for (const std::string& controller : hierarchy.controllers) {
      plan_.child.push_back({.op = Op::kSymlink,
                             .what = what,
                             .in = kRoot,
                             .path = plan_.Text(absl::StrCat(mount.destination, "/", controller)),
                             .text = plan_.Text(name)});
    }
  }
  if ((request.set & MOUNT_ATTR_RDONLY) != 0) {
    plan_.child.push_back(
        {.op = Op::kSetAttributes, .what = what, .in = base, .value = MOUNT_ATTR_RDONLY});
  }
  AfterMount(base, request, what);
}

absl::Status ContainerCompiler::CgroupMount(const Mount& mount, const MountRequest& request,
                                            const char* what) {
  if (options_.host == nullptr || options_.location == nullptr ||
      options_.host->mode() == HostMode::kNone) {
    return absl::FailedPreconditionError(absl::StrCat(what, ": the host mounts no cgroup"));
  }
  if (options_.host->mode() == HostMode::kUnified) {
    UnifiedMount(mount.destination, request, what);
  } else {
    CgroupV1Mount(mount, request, what);
  }
  return absl::OkStatus();
}

// A file mounted over one of procfs would be read, and written, in its place (CVE-2019-19921).
absl::Status ContainerCompiler::CheckProcOverlap(const Mount& mount,
                                                 const MountRequest& request) const {
  static constexpr std::array<const char*, 11> kAllowed = {"/proc/cpuinfo",
                                                           "/proc/diskstats",
                                                           "/proc/meminfo",
                                                           "/proc/stat",
                                                           "/proc/swaps",
                                                           "/proc/uptime",
                                                           "/proc/loadavg",
                                                           "/proc/slabinfo",
                                                           "/proc/sys/kernel/ns_last_pid",
                                                           "/proc/sys/crypto/fips_enabled",
                                                           "/proc/net/dev"};
  const std::string destination = Clean(mount.destination);
  if (destination == "/proc") {
    if (mount.type == "proc" || (request.bind && Clean(mount.source) == "/proc")) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat("'", mount.destination, "' cannot be mounted because it is not of type proc"));
  }
  if (!IsBelow(destination, "/proc")) return absl::OkStatus();
  for (const char* allowed : kAllowed) {
    if (destination == allowed) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", mount.destination, "' cannot be mounted because it is inside /proc"));
}

absl::Status ContainerCompiler::OneMount(Mount mount, const std::string& place) {
  // Some configs name the place by its path on the host.
  if (IsBelow(Clean(mount.destination), options_.rootfs)) {
    mount.destination = Clean(mount.destination).substr(options_.rootfs.size());
  }
  KEELSON_ASSIGN_OR_RETURN(const MountRequest request,
                           ParseMountOptions(mount.options, mount.type));
  KEELSON_RETURN_IF_ERROR(CheckProcOverlap(mount, request));
  const std::string source = mount.source.empty() ? mount.type : mount.source;
  const char* what = plan_.Text(absl::StrCat(place, ": error mounting \"", source,
                                             "\" to rootfs at \"", mount.destination, "\""));
  if (request.bind) {
    dev_is_bound_ |= Clean(mount.destination) == "/dev";
    return BindMount(mount, request, what);
  }
  if (mount.type == "cgroup" || mount.type == "cgroup2") return CgroupMount(mount, request, what);
  if (mount.type.empty()) {
    return absl::InvalidArgumentError("has neither a type nor the option bind");
  }
  FileSystemMount(mount, request, what);
  return absl::OkStatus();
}

absl::Status ContainerCompiler::Mounts() {
  for (size_t i = 0; i < spec_.mounts.size(); ++i) {
    const std::string place = absl::StrCat("mounts[", i, "]");
    KEELSON_RETURN_IF_ERROR(Annotate(OneMount(spec_.mounts[i], place), place));
  }
  return absl::OkStatus();
}

}  // namespace keelson::container
