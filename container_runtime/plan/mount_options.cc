#include "container_runtime/plan/mount_options.h"

#include <linux/mount.h>

#include <algorithm>
#include <array>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace keelson::container {
namespace {

// <sys/mount.h> and <linux/mount.h> do not go together in Debian 12.
constexpr uint64_t kRec = 0x4000, kUnbindable = 1 << 17, kPrivate = 1 << 18, kSlave = 1 << 19,
                   kShared = 1 << 20;
constexpr uint64_t kNoSymfollow = 0x200000;

struct Attribute {
  const char* name;
  uint64_t set, clear;
  const char* flag;  // for the file system itself; null: it is the mount's alone
};

// Times form one field, MOUNT_ATTR__ATIME: its old value is cleared when a new one is set.
constexpr std::array<Attribute, 18> kAttributes = {{
    {"ro", MOUNT_ATTR_RDONLY, 0, "ro"},
    {"rw", 0, MOUNT_ATTR_RDONLY, nullptr},
    {"nosuid", MOUNT_ATTR_NOSUID, 0, nullptr},
    {"suid", 0, MOUNT_ATTR_NOSUID, nullptr},
    {"nodev", MOUNT_ATTR_NODEV, 0, nullptr},
    {"dev", 0, MOUNT_ATTR_NODEV, nullptr},
    {"noexec", MOUNT_ATTR_NOEXEC, 0, nullptr},
    {"exec", 0, MOUNT_ATTR_NOEXEC, nullptr},
    {"nodiratime", MOUNT_ATTR_NODIRATIME, 0, nullptr},
    {"diratime", 0, MOUNT_ATTR_NODIRATIME, nullptr},
    {"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME, nullptr},
    {"atime", 0, MOUNT_ATTR__ATIME, nullptr},
    {"relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, nullptr},
    {"norelatime", 0, MOUNT_ATTR__ATIME, nullptr},
    {"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME, nullptr},
    {"nostrictatime", 0, MOUNT_ATTR__ATIME, nullptr},
    {"nosymfollow", kNoSymfollow, 0, nullptr},
    {"symfollow", 0, kNoSymfollow, nullptr},
}};

// Flags of the file system; an empty one is the default and needs no call.
constexpr std::array<std::pair<const char*, const char*>, 12> kFileSystemFlags = {{
    {"sync", "sync"},
    {"async", "async"},
    {"dirsync", "dirsync"},
    {"lazytime", "lazytime"},
    {"nolazytime", "nolazytime"},
    {"mand", "mand"},
    {"nomand", "nomand"},
    {"iversion", ""},
    {"noiversion", ""},
    {"silent", ""},
    {"loud", ""},
    {"defaults", ""},
}};

const Attribute* FindAttribute(std::string_view name) {
  const auto* found = std::find_if(kAttributes.begin(), kAttributes.end(),
                                   [name](const Attribute& a) { return name == a.name; });
  return found == kAttributes.end() ? nullptr : found;
}

void Apply(const Attribute& attribute, uint64_t* set, uint64_t* clear) {
  *set = (*set & ~attribute.clear) | attribute.set;
  *clear = (*clear & ~attribute.set) | attribute.clear;
}

// True when `option` was one of ours.
bool TakeOption(const std::string& option, MountRequest* request) {
  if (option == "bind" || option == "rbind") {
    request->bind = true;
    request->recursive |= option == "rbind";
    return true;
  }
  if (option == "idmap" || option == "ridmap") {
    request->idmap = true;
    request->recursive_idmap |= option == "ridmap";
    return true;
  }
  if (option == "tmpcopyup") return request->copy_up = true;
  if (const auto propagation = ParsePropagation(option); propagation.has_value()) {
    request->propagation.push_back(*propagation);
    return true;
  }
  if (const Attribute* attribute = FindAttribute(option); attribute != nullptr) {
    Apply(*attribute, &request->set, &request->clear);
    request->attributes_named = true;
    return true;
  }
  if (option.size() > 1 && option[0] == 'r') {
    if (const Attribute* attribute = FindAttribute(option.substr(1)); attribute != nullptr) {
      Apply(*attribute, &request->recursive_set, &request->recursive_clear);
      return true;
    }
  }
  return false;
}

}  // namespace

std::optional<uint64_t> ParsePropagation(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, uint64_t>, 4> kKinds = {
      {{"shared", kShared}, {"slave", kSlave}, {"private", kPrivate}, {"unbindable", kUnbindable}}};
  for (const auto& [kind, flag] : kKinds) {
    if (name == kind) return flag;
    if (name.size() == kind.size() + 1 && name[0] == 'r' && name.substr(1) == kind) {
      return flag | kRec;
    }
  }
  return std::nullopt;
}

absl::StatusOr<MountRequest> ParseMountOptions(const std::vector<std::string>& options,
                                               std::string_view type) {
  MountRequest request;
  // "bind" as a type is an old habit; the option is what counts, but a mount of type "bind" can
  // mean nothing else.
  request.bind = type == "bind" || type == "rbind";
  request.recursive = type == "rbind";
  for (const std::string& option : options) {
    if (option.empty() || TakeOption(option, &request)) continue;
    const auto* flag = std::find_if(kFileSystemFlags.begin(), kFileSystemFlags.end(),
                                    [&option](const auto& known) { return option == known.first; });
    if (flag != kFileSystemFlags.end()) {
      if (flag->second[0] != '\0') request.data.emplace_back(flag->second, std::nullopt);
      continue;
    }
    const size_t equals = option.find('=');
    if (equals == std::string::npos) {
      request.data.emplace_back(option, std::nullopt);
    } else {
      request.data.emplace_back(option.substr(0, equals), option.substr(equals + 1));
    }
  }
  if (!request.bind) {
    if ((request.set & MOUNT_ATTR_RDONLY) != 0) request.data.emplace_back("ro", std::nullopt);
    return request;
  }
  for (const auto& [key, value] : request.data) {
    const bool flag = std::any_of(kFileSystemFlags.begin(), kFileSystemFlags.end(),
                                  [&key = key](const auto& f) { return key == f.second; });
    if (!flag) {
      return absl::InvalidArgumentError(
          absl::StrCat("bind mounts cannot have any filesystem-specific options: '", key, "'"));
    }
  }
  request.data.clear();
  return request;
}

std::vector<std::string> KnownMountOptions() {
  std::vector<std::string> names = {"bind", "rbind", "idmap", "ridmap", "tmpcopyup"};
  for (const char* kind : {"shared", "slave", "private", "unbindable"}) {
    names.emplace_back(kind);
    names.push_back(absl::StrCat("r", kind));
  }
  for (const Attribute& attribute : kAttributes) {
    names.emplace_back(attribute.name);
    names.push_back(absl::StrCat("r", attribute.name));
  }
  for (const auto& [name, flag] : kFileSystemFlags) names.emplace_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace keelson::container
