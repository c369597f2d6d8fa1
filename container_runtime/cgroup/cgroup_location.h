// Where a container's cgroups are: config.json's cgroupsPath resolved against a host.
//
//   KEELSON_ASSIGN_OR_RETURN(CgroupLocation where,
//                            LocateCgroups(host, {.container_id = id, .cgroups_path = path}));
//
// A location is what a state file keeps. It stays valid wherever the reader of the state file runs, as
// its paths are relative to the mounts and no longer to the writer's own cgroup.
//
// Rules (as runc 1.1 and the runtime specification, config-linux.md "Cgroups Path"):
//   "/a/b"   the cgroup /a/b of every hierarchy
//   "a/b"    below the caller's own cgroup (v1), below its parent (v2, where the own one has
//            processes and so may not have children with limits)
//   ""       the container's id, as if it were a relative path
// ".." never leads out of where the path starts.
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_CGROUP_LOCATION_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_CGROUP_LOCATION_H_

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "container_runtime/cgroup/host_layout.h"

namespace keelson::container {

struct CgroupLocation {
  // Hierarchy name -> cgroup path, relative to where the hierarchy is mounted, such as "/a/b".
  std::map<std::string, std::string> paths;

  // A hierarchy that permissions keep us from is left out instead of being an error: a rootless
  // container that asked for no path. Limits on what was left out are still errors.
  bool tolerate_permission = false;

  // The systemd driver only: the unit ("prefix-name.scope" or "name.slice") and the slice that
  // holds it ("system.slice"). Empty: no systemd.
  std::string unit, slice;
  // systemd's user manager instead of the system's.
  bool user_manager = false;

  friend bool operator==(const CgroupLocation&, const CgroupLocation&) = default;
};

struct LocateOptions {
  std::string container_id;
  std::string cgroups_path;  // as in config.json, for the driver in question
  bool rootless = false;     // the runtime has no privileges over the host's cgroups
};

// Paths for folders that we make ourselves.
// Errors: INVALID_ARGUMENT the root cgroup itself, NUL bytes, a component longer than 255 bytes.
absl::StatusOr<CgroupLocation> LocateCgroups(const HostLayout& host, const LocateOptions& options);

// The unit for "slice:prefix:name", such as "machine.slice:libpod:abc". An empty slice means
// system.slice (user.slice for the user manager), an empty path ":cradle:<id>". `manager_cgroup` is the
// cgroup below which systemd keeps its units: "/" or, for a user manager, its ControlGroup property.
// Errors: INVALID_ARGUMENT other than three fields, a bad slice name, a "/" in a field.
absl::StatusOr<CgroupLocation> LocateUnit(const HostLayout& host, const LocateOptions& options,
                                          const std::string& manager_cgroup);

// "a-b.slice" -> "/a.slice/a-b.slice"; "-.slice" -> "/".
// Errors: INVALID_ARGUMENT not a slice name that systemd takes.
absl::StatusOr<std::string> ExpandSlice(std::string_view slice);

// `path` without ".", "..", empty components and a trailing "/"; absolute, ".." stops at "/".
std::string CleanCgroupPath(std::string_view path);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_CGROUP_LOCATION_H_
