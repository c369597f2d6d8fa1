#include <algorithm>
#include <array>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "container_runtime/plan/internal/container_compiler.h"

namespace keelson::container {
namespace {

absl::Status Invalid(std::string_view place, std::string_view reason) {
  return absl::InvalidArgumentError(absl::StrCat(std::string(place), ": ", std::string(reason)));
}

bool HasNew(const Linux& config, NamespaceType type) {
  return FindNamespace(config, type) != nullptr;
}

absl::Status ValidateNames(const Spec& spec) {
  const bool uts = HasNew(spec.linux_, NamespaceType::kUts);
  if (!spec.hostname.empty() && !uts) {
    return Invalid("hostname", "unable to set hostname without a private UTS namespace");
  }
  if (!spec.domainname.empty() && !uts) {
    return Invalid("domainname", "unable to set domainname without a private UTS namespace");
  }
  return absl::OkStatus();
}

absl::Status ValidateUserNamespace(const Linux& config) {
  const Namespace* user = FindNamespace(config, NamespaceType::kUser);
  const bool maps = !config.uid_mappings.empty() || !config.gid_mappings.empty();
  if (user == nullptr && maps) {
    return Invalid("linux.uidMappings", "mappings are given, but no user namespace is");
  }
  if (user == nullptr || !user->path.empty()) return absl::OkStatus();
  if (config.uid_mappings.empty() || config.gid_mappings.empty()) {
    return Invalid("linux.namespaces",
                   "user namespaces enabled, but no uid and gid mappings are given");
  }
  constexpr size_t kMappingsMax = 340;  // the kernel's UID_GID_MAP_MAX_EXTENTS
  for (const auto* list : {&config.uid_mappings, &config.gid_mappings}) {
    if (list->size() > kMappingsMax) {
      return Invalid("linux.uidMappings", absl::StrCat("more than ", kMappingsMax, " lines"));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateNamespaces(const Linux& config) {
  // The kernel lets its root mount nothing in the namespace of the host.
  if (HasNew(config, NamespaceType::kUser) && !HasNew(config, NamespaceType::kMount)) {
    return Invalid("linux.namespaces", "a user namespace needs a mount namespace");
  }
  if (!config.time_offsets.empty() && !HasNew(config, NamespaceType::kTime)) {
    return Invalid("linux.timeOffsets", "needs a time namespace");
  }
  return ValidateUserNamespace(config);
}

absl::Status ValidateProcess(const Process& process) {
  if (process.args.empty()) return Invalid("process.args", "args must not be empty");
  if (process.args[0].empty()) return Invalid("process.args[0]", "is empty");
  if (process.cwd.empty() || process.cwd[0] != '/') {
    return Invalid("process.cwd", "Cwd must be an absolute path");
  }
  return absl::OkStatus();
}

absl::Status ValidatePaths(const Linux& config) {
  const std::array<std::pair<const char*, const std::vector<std::string>*>, 2> kLists = {
      {{"linux.maskedPaths", &config.masked_paths},
       {"linux.readonlyPaths", &config.readonly_paths}}};
  for (const auto& [name, paths] : kLists) {
    for (const std::string& path : *paths) {
      if (path.empty() || path[0] != '/') {
        return Invalid(name, absl::StrCat("'", path, "' is not absolute"));
      }
    }
  }
  if (!config.rootfs_propagation.empty() &&
      !ParsePropagation(config.rootfs_propagation).has_value()) {
    return Invalid("linux.rootfsPropagation",
                   absl::StrCat("unknown value '", config.rootfs_propagation, "'"));
  }
  return absl::OkStatus();
}

// As the kernel's dev_valid_name has it; a name in the container may have one "%d".
bool IsDeviceName(std::string_view name, bool pattern) {
  constexpr size_t kBytesMax = 15;
  if (pattern) {
    const size_t number = name.find("%d");
    if (number != std::string_view::npos) {
      return IsDeviceName(std::string(name.substr(0, number)) + "0", false) &&
             name.find('%', number + 1) == std::string_view::npos && name.size() <= kBytesMax &&
             IsDeviceName("x" + std::string(name.substr(number + 2)), false);
    }
  }
  if (name.empty() || name.size() > kBytesMax || name == "." || name == "..") return false;
  return name.find_first_of("/: \t\n\v\f\r%") == std::string_view::npos;
}

absl::Status ValidateNetDevices(const Linux& config) {
  if (config.net_devices.empty()) return absl::OkStatus();
  if (!HasNew(config, NamespaceType::kNetwork)) {
    return Invalid("linux.netDevices",
                   "unable to move network devices without a private NET namespace");
  }
  std::set<std::string> names;
  for (const auto& [host_name, device] : config.net_devices) {
    const std::string place = absl::StrCat("linux.netDevices.", host_name);
    if (!IsDeviceName(host_name, false)) return Invalid(place, "is no name of a network device");
    const std::string& name = device.name.empty() ? host_name : device.name;
    if (!IsDeviceName(name, true)) {
      return Invalid(place, absl::StrCat("'", name, "' is no name of a network device"));
    }
    if (name.find('%') == std::string::npos && !names.insert(name).second) {
      return Invalid(place, absl::StrCat("the name '", name, "' is given twice"));
    }
  }
  return absl::OkStatus();
}

bool StartsWith(const std::string& text, std::string_view prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

}  // namespace

absl::StatusOr<std::string> SysctlPath(const std::string& name, const Linux& config) {
  // The first separator tells which of the two forms this is; in the other form's separator a
  // name such as "eth0.100" is kept (sysctl.d(5)).
  std::string path = name;
  const size_t first = path.find_first_of("./");
  if (first != std::string::npos && path[first] == '.') {
    for (char& c : path) c = c == '.' ? '/' : (c == '/' ? '.' : c);
  }
  const std::string place = absl::StrCat("linux.sysctl.", name);
  // Nothing but a plain name below /proc/sys (CVE-2022-0811).
  const bool plain = path.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789_-./@:") == std::string::npos;
  if (path.empty() || !plain || absl::StrCat("/", path, "/").find("/../") != std::string::npos ||
      path[0] == '/') {
    return Invalid(place, "is no name of a sysctl");
  }
  constexpr std::array<const char*, 8> kIpc = {
      "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem",
      "kernel/shmall", "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced"};
  auto needs = [&](NamespaceType type, const char* what) -> absl::StatusOr<std::string> {
    if (HasNew(config, type)) return path;
    return Invalid(place, absl::StrCat("sysctl '", name, "' is not allowed without a private ",
                                       what, " namespace"));
  };
  const bool ipc = std::find(kIpc.begin(), kIpc.end(), path) != kIpc.end();
  if (ipc || StartsWith(path, "fs/mqueue/")) return needs(NamespaceType::kIpc, "IPC");
  if (StartsWith(path, "net/")) return needs(NamespaceType::kNetwork, "network");
  if (StartsWith(path, "user/")) return needs(NamespaceType::kUser, "user");
  if (path == "kernel/domainname") return needs(NamespaceType::kUts, "UTS");
  if (path == "kernel/hostname") {
    return Invalid(place, "is not allowed as it conflicts with the OCI 'hostname' field");
  }
  return Invalid(place, absl::StrCat("sysctl '", name, "' is not in a separate kernel namespace"));
}

absl::Status ValidateContainer(const Spec& spec) {
  if (!spec.root.has_value()) return Invalid("root", "is missing");
  if (!spec.process.has_value()) return Invalid("process", "is missing");
  KEELSON_RETURN_IF_ERROR(ValidateProcess(*spec.process));
  KEELSON_RETURN_IF_ERROR(ValidateNames(spec));
  KEELSON_RETURN_IF_ERROR(ValidateNamespaces(spec.linux_));
  KEELSON_RETURN_IF_ERROR(ValidatePaths(spec.linux_));
  const auto domainname = spec.linux_.sysctl.find("kernel.domainname");
  if (!spec.domainname.empty() && domainname != spec.linux_.sysctl.end() &&
      domainname->second != spec.domainname) {
    return Invalid("linux.sysctl.kernel.domainname",
                   "is not allowed as it conflicts with the OCI 'domainname' field");
  }
  KEELSON_RETURN_IF_ERROR(ValidateNetDevices(spec.linux_));
  for (size_t i = 0; i < spec.mounts.size(); ++i) {
    if (!spec.mounts[i].uid_mappings.empty()) {
      const auto& options = spec.mounts[i].options;
      const bool bind = std::any_of(options.begin(), options.end(), [](const std::string& o) {
        return o == "bind" || o == "rbind";
      });
      if (!bind) {
        return Invalid(absl::StrCat("mounts[", i, "]"), "only bind mounts can be id-mapped");
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace keelson::container
