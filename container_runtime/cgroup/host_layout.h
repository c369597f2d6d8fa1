// Which cgroup hierarchies the host mounts, where, and which controller is on which.
//
//   KEELSON_ASSIGN_OR_RETURN(HostLayout host, DetectHost());
//   const Hierarchy* memory = host.OfController("memory");   // nullptr: the host has none
//
// Each controller is looked up by itself: a host may keep most controllers on v1 and have, say,
// hugetlb on v2 ("hybrid"). What /proc/self/mountinfo shows is what counts; mount points are not
// guessed.
//
// Threading: HostLayout is a value.
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_HOST_LAYOUT_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_HOST_LAYOUT_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace keelson::container {

struct Hierarchy {
  // "memory", "cpu,cpuacct", "name=systemd"; "unified" for the v2 tree.
  std::string name;
  bool unified = false;
  // Controllers to be had here, such as "memory". Empty for a named hierarchy.
  std::vector<std::string> controllers;
  // Where it is mounted: "/sys/fs/cgroup/memory".
  std::string mount_point;
  // The cgroup of the calling process, relative to `mount_point`: "/" or "/a/b".
  std::string own_path;
  // cgroup2 mount option nsdelegate, favordynmods ... as in the kernel's list.
  std::vector<std::string> options;

  [[nodiscard]] bool Has(std::string_view controller) const;
  friend bool operator==(const Hierarchy&, const Hierarchy&) = default;
};

enum class HostMode {
  kNone,     // no cgroup is mounted
  kLegacy,   // v1 only
  kHybrid,   // v1, and a v2 tree beside it
  kUnified,  // v2 only
};

struct HostLayout {
  // v1 in the order of mounting, the v2 tree last.
  std::vector<Hierarchy> hierarchies;

  [[nodiscard]] HostMode mode() const;
  // nullptr when there is none.
  [[nodiscard]] const Hierarchy* Find(std::string_view name) const;
  [[nodiscard]] const Hierarchy* OfController(std::string_view controller) const;
  [[nodiscard]] const Hierarchy* Unified() const;
  friend bool operator==(const HostLayout&, const HostLayout&) = default;
};

// Pure. `mountinfo` is /proc/self/mountinfo, `self_cgroup` /proc/self/cgroup. The controllers of the
// v2 tree are not in either: the caller fills them in from cgroup.controllers of its root.
//
// Of several mounts of one hierarchy the first counts that shows the caller's own cgroup. A mount of
// a part of the tree (a container without a cgroup namespace) is understood: paths are relative to
// the mounted part.
//
// Errors: INVALID_ARGUMENT a line that the kernel does not write.
absl::StatusOr<HostLayout> ParseHostLayout(std::string_view mountinfo,
                                           std::string_view self_cgroup);

// ParseHostLayout of the calling process, with the v2 controllers read.
absl::StatusOr<HostLayout> DetectHost();

// Whether there is a cgroup file system of its kind at each mount point of a layout that was noted
// earlier. It may be used then in place of DetectHost, which reads the table of all mounts, by those
// who look at cgroups that were there when it was noted.
bool IsMounted(const HostLayout& layout);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_HOST_LAYOUT_H_
