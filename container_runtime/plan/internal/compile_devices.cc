#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <string>

#include "absl/strings/str_cat.h"
#include "container_runtime/path/in_root.h"
#include "container_runtime/plan/internal/container_compiler.h"

namespace keelson::container {
namespace {

struct DefaultDevice {
  const char* path;
  int major, minor;
};
constexpr std::array<DefaultDevice, 6> kDefaultDevices = {{{"/dev/null", 1, 3},
                                                           {"/dev/random", 1, 8},
                                                           {"/dev/full", 1, 7},
                                                           {"/dev/tty", 5, 0},
                                                           {"/dev/zero", 1, 5},
                                                           {"/dev/urandom", 1, 9}}};
constexpr uint32_t kDefaultMode = 0666;

mode_t TypeBits(char type) {
  if (type == 'b') return S_IFBLK;
  return type == 'p' ? S_IFIFO : S_IFCHR;
}

}  // namespace

void ContainerCompiler::OneDevice(const Device& device) {
  const char* what = plan_.Text(absl::StrCat("error creating device node \"", device.path, "\""));
  if (user_namespace_) {
    // Nobody but the host's root may make nodes; the host's own is bound in its place.
    const int16_t copy = CloneHost(device.path, false, what);
    // The mount it comes from may allow programs and set-user-id ones; a device needs neither.
    CloneList().push_back({.op = Op::kSetAttributes,
                           .what = what,
                           .in = copy,
                           .value = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC});
    Attach(copy, device.path, false, what);
    return;
  }
  const mode_t mode = TypeBits(device.type) | (device.file_mode.value_or(kDefaultMode) & 07777);
  const uint64_t number = device.type == 'p' ? 0
                                             : makedev(static_cast<unsigned>(device.major),
                                                       static_cast<unsigned>(device.minor));
  const uint64_t owner = (uint64_t{device.uid.value_or(0)} << 32) | device.gid.value_or(0);
  plan_.child.push_back({.op = Op::kMakeNode,
                         .what = what,
                         .in = kRoot,
                         .value = mode,
                         .value2 = number,
                         .value3 = owner,
                         .path = plan_.Text(device.path)});
}

absl::Status ContainerCompiler::Devices() {
  if (dev_is_bound_) return absl::OkStatus();
  // An image may ship /dev as a symlink, out of the container or not (CVE-2026-41579).
  plan_.child.push_back({.op = Op::kTarget,
                         .what = "open /dev of the container",
                         .out = kDev,
                         .in = kRoot,
                         .flags = kNoSymlinks,
                         .value = static_cast<uint64_t>(Make::kDirectory),
                         .path = "dev"});
  for (const DefaultDevice& device : kDefaultDevices) {
    const bool replaced =
        std::any_of(config_.devices.begin(), config_.devices.end(),
                    [&device](const Device& own) { return own.path == device.path; });
    if (replaced) continue;
    OneDevice({.type = 'c', .path = device.path, .major = device.major, .minor = device.minor});
  }
  for (Device device : config_.devices) {
    while (device.path.size() > 1 && device.path.back() == '/') device.path.pop_back();
    OneDevice(device);
  }
  plan_.child.push_back(
      {.op = Op::kRemoveFile, .what = "remove /dev/ptmx", .in = kDev, .path = "ptmx"});
  std::vector<std::pair<const char*, const char*>> links = {{"ptmx", "pts/ptmx"},
                                                            {"fd", "/proc/self/fd"},
                                                            {"stdin", "/proc/self/fd/0"},
                                                            {"stdout", "/proc/self/fd/1"},
                                                            {"stderr", "/proc/self/fd/2"}};
  if (options_.has_kcore) links.emplace_back("core", "/proc/kcore");
  for (const auto& [name, target] : links) {
    plan_.child.push_back({.op = Op::kSymlink,
                           .what = plan_.Text(absl::StrCat("symlink /dev/", name)),
                           .in = kDev,
                           .path = name,
                           .text = target});
  }
  return absl::OkStatus();
}

}  // namespace keelson::container
