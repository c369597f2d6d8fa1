#include "container_runtime/cgroup/cgroup_location.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/status.h"

namespace keelson::container {
namespace {

constexpr size_t kNameBytesMax = 255;  // NAME_MAX
constexpr std::string_view kSliceSuffix = ".slice";

absl::string_view Absl(std::string_view s) { return {s.data(), s.size()}; }

std::string Parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

std::string Join(const std::string& base, const std::string& below) {
  return base == "/" ? below : base + below;
}

absl::Status CheckComponents(const std::string& path) {
  if (path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("cgroupsPath has a NUL byte");
  }
  for (const std::string& name : std::vector<std::string>(absl::StrSplit(path, '/'))) {
    if (name.size() > kNameBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat("cgroupsPath has a component of ", name.size(),
                                                     " bytes; the most is ", kNameBytesMax));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string CleanCgroupPath(std::string_view path) {
  std::vector<std::string> kept;
  for (const std::string& name : std::vector<std::string>(absl::StrSplit(Absl(path), '/'))) {
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      if (!kept.empty()) kept.pop_back();
    } else {
      kept.push_back(name);
    }
  }
  return "/" + absl::StrJoin(kept, "/");
}

absl::StatusOr<CgroupLocation> LocateCgroups(const HostLayout& host, const LocateOptions& options) {
  const std::string asked =
      options.cgroups_path.empty() ? options.container_id : options.cgroups_path;
  KEELSON_RETURN_IF_ERROR(CheckComponents(asked));
  const bool absolute = asked[0] == '/';
  const std::string clean = CleanCgroupPath(asked);
  if (clean == "/") {
    return absl::InvalidArgumentError(
        absl::StrCat("cgroupsPath '", options.cgroups_path, "' is the root cgroup"));
  }
  CgroupLocation location{.tolerate_permission = options.rootless && options.cgroups_path.empty()};
  for (const Hierarchy& h : host.hierarchies) {
    // Only the parent: with v2 alone, a cgroup with processes cannot give its children limits.
    const std::string own = host.mode() == HostMode::kUnified ? Parent(h.own_path) : h.own_path;
    const std::string base = absolute ? "/" : own;
    location.paths[h.name] = Join(base, clean);
  }
  return location;
}

absl::StatusOr<std::string> ExpandSlice(std::string_view slice) {
  const auto bad = [&] {
    return absl::InvalidArgumentError(absl::StrCat("invalid slice name: '", Absl(slice), "'"));
  };
  if (slice.size() <= kSliceSuffix.size() || !absl::EndsWith(Absl(slice), Absl(kSliceSuffix)) ||
      slice.find('/') != std::string_view::npos) {
    return bad();
  }
  const std::string_view stem = slice.substr(0, slice.size() - kSliceSuffix.size());
  if (stem == "-") return "/";
  std::string path, prefix;
  for (const std::string& part : std::vector<std::string>(absl::StrSplit(Absl(stem), '-'))) {
    if (part.empty()) return bad();
    prefix += (prefix.empty() ? "" : "-") + part;
    absl::StrAppend(&path, "/", prefix, Absl(kSliceSuffix));
  }
  return path;
}

absl::StatusOr<CgroupLocation> LocateUnit(const HostLayout& host, const LocateOptions& options,
                                          const std::string& manager_cgroup) {
  std::vector<std::string> fields = {"", "cradle", options.container_id};
  if (!options.cgroups_path.empty()) fields = absl::StrSplit(options.cgroups_path, ':');
  if (fields.size() != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected cgroupsPath to be of format \"slice:prefix:name\" for systemd "
                     "cgroups, got '",
                     options.cgroups_path, "' instead"));
  }
  CgroupLocation location;
  location.user_manager = options.rootless;
  const std::string& name = fields[2];
  for (const std::string& field : fields) {
    if (field.find('/') != std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("cgroupsPath '", options.cgroups_path, "' has a '/' in a field"));
    }
  }
  if (name.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("cgroupsPath '", options.cgroups_path, "' has no name"));
  }
  KEELSON_RETURN_IF_ERROR(CheckComponents(name));
  location.slice = !fields[0].empty() ? fields[0]
                   : options.rootless ? "user.slice"
                                      : "system.slice";
  if (location.slice == "-") location.slice = "-.slice";
  // A slice is a unit of its own below its parents, a scope one inside `slice`.
  location.unit = name;
  std::string below;
  if (absl::EndsWith(name, Absl(kSliceSuffix))) {
    KEELSON_ASSIGN_OR_RETURN(below, ExpandSlice(name));
  } else {
    location.unit = absl::StrCat(fields[1], fields[1].empty() ? "" : "-", name, ".scope");
    KEELSON_ASSIGN_OR_RETURN(const std::string slice, ExpandSlice(location.slice));
    below = Join(slice, "/" + location.unit);
  }
  for (const Hierarchy& h : host.hierarchies) {
    location.paths[h.name] = Join(CleanCgroupPath(manager_cgroup), below);
  }
  return location;
}

}  // namespace keelson::container
