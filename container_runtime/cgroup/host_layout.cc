#include "container_runtime/cgroup/host_layout.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace keelson::container {
namespace {

absl::string_view Absl(std::string_view s) { return {s.data(), s.size()}; }

std::vector<std::string> Split(std::string_view text, char separator) {
  return absl::StrSplit(Absl(text), separator, absl::SkipEmpty());
}

struct CgroupMount {
  std::string root;
  std::string mount_point;
  bool unified = false;
  std::vector<std::string> super_options;
};

// The kernel writes space, tab, newline and backslash of a path as three octal digits.
std::string Unescape(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](size_t at) {
      return at < text.size() && text[at] >= '0' && text[at] <= '7' ? text[at] - '0' : -1;
    };
    if (text[i] == '\\' && digit(i + 1) >= 0 && digit(i + 2) >= 0 && digit(i + 3) >= 0) {
      result += static_cast<char>(digit(i + 1) * 64 + digit(i + 2) * 8 + digit(i + 3));
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

// A line of mountinfo (proc_pid_mountinfo(5)): ids, root, mount point, options, tags, "-", type, source,
// options of the superblock. Empty for other file systems.
absl::StatusOr<std::optional<CgroupMount>> ParseMount(std::string_view line) {
  const size_t dash = line.find(" - ");
  if (dash == std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("mountinfo line '", Absl(line), "' has no ' - '"));
  }
  const std::vector<std::string> tail = Split(line.substr(dash + 3), ' ');
  if (tail.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("mountinfo line '", Absl(line), "' has no type"));
  }
  if (tail[0] != "cgroup" && tail[0] != "cgroup2") return std::optional<CgroupMount>();
  const std::vector<std::string> head = Split(line.substr(0, dash), ' ');
  if (head.size() < 6 || tail.size() < 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("mountinfo line '", Absl(line), "' is too short"));
  }
  return std::optional<CgroupMount>(CgroupMount{.root = Unescape(head[3]),
                                                .mount_point = Unescape(head[4]),
                                                .unified = tail[0] == "cgroup2",
                                                .super_options = Split(tail[2], ',')});
}

// "memory" -> path; for v2 the key is "". A line is "4:memory:/a" (cgroups(7)).
absl::StatusOr<std::map<std::string, std::string>> ParseSelfCgroup(std::string_view text) {
  std::map<std::string, std::string> paths;
  for (const std::string& line : Split(text, '\n')) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3 || fields[2].empty() || fields[2][0] != '/') {
      return absl::InvalidArgumentError(
          absl::StrCat("cgroup line '", line, "' is not n:list:/path"));
    }
    paths[fields[1]] = fields[2];
  }
  return paths;
}

// Options of a v1 superblock that are no controller.
bool IsOption(const std::string& word) {
  static constexpr const char* kOptions[] = {"rw",
                                             "ro",
                                             "none",
                                             "noprefix",
                                             "clone_children",
                                             "xattr",
                                             "cpuset_v2_mode",
                                             "favordynmods",
                                             "nofavordynmods"};
  return std::find(std::begin(kOptions), std::end(kOptions), word) != std::end(kOptions) ||
         word.rfind("release_agent=", 0) == 0;
}

// `path` as seen below a mount of `root`; empty when the mount does not show it.
std::optional<std::string> BelowRoot(const std::string& path, const std::string& root) {
  if (root == "/") return path;
  if (path == root) return "/";
  if (path.rfind(root + "/", 0) == 0) return path.substr(root.size());
  return std::nullopt;
}

Hierarchy MakeHierarchy(const CgroupMount& mount, const std::map<std::string, std::string>& own,
                        bool* shows_own) {
  Hierarchy hierarchy{.unified = mount.unified, .mount_point = mount.mount_point};
  std::string key;
  if (mount.unified) {
    hierarchy.name = "unified";
    hierarchy.options = mount.super_options;
  } else {
    for (const std::string& word : mount.super_options) {
      if (word.rfind("name=", 0) == 0) {
        hierarchy.name = word;
      } else if (IsOption(word)) {
        hierarchy.options.push_back(word);
      } else {
        hierarchy.controllers.push_back(word);
      }
    }
  }
  // The list in /proc/self/cgroup may have another order than the mount's options.
  *shows_own = false;
  hierarchy.own_path = "/";
  for (const auto& [list, path] : own) {
    std::vector<std::string> words = Split(list, ',');
    std::vector<std::string> wanted = hierarchy.controllers;
    if (!hierarchy.name.empty() && !mount.unified) wanted.push_back(hierarchy.name);
    if (!mount.unified && wanted.empty()) continue;
    std::sort(words.begin(), words.end());
    std::sort(wanted.begin(), wanted.end());
    if (words != wanted) continue;
    key = list;
    if (std::optional<std::string> below = BelowRoot(path, mount.root)) {
      hierarchy.own_path = *std::move(below);
      *shows_own = true;
    }
  }
  if (hierarchy.name.empty()) {
    std::string joined;
    for (const std::string& c : hierarchy.controllers) {
      joined += (joined.empty() ? "" : ",") + c;
    }
    hierarchy.name = key.empty() ? joined : key;
  }
  return hierarchy;
}

absl::StatusOr<std::string> ReadWhole(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return ErrnoError(errno, absl::StrCat("open '", path, "'"));
  std::string text;
  char buffer[8192];
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, absl::StrCat("read '", path, "'"));
    if (n == 0) return text;
    text.append(buffer, static_cast<size_t>(n));
  }
}

}  // namespace

bool Hierarchy::Has(std::string_view controller) const {
  return std::find(controllers.begin(), controllers.end(), controller) != controllers.end();
}

HostMode HostLayout::mode() const {
  const bool v2 = Unified() != nullptr;
  if (hierarchies.empty()) return HostMode::kNone;
  if (!v2) return HostMode::kLegacy;
  return hierarchies.size() == 1 ? HostMode::kUnified : HostMode::kHybrid;
}

const Hierarchy* HostLayout::Find(std::string_view name) const {
  for (const Hierarchy& h : hierarchies) {
    if (h.name == name) return &h;
  }
  return nullptr;
}

const Hierarchy* HostLayout::OfController(std::string_view controller) const {
  for (const Hierarchy& h : hierarchies) {
    if (h.Has(controller)) return &h;
  }
  return nullptr;
}

const Hierarchy* HostLayout::Unified() const {
  for (const Hierarchy& h : hierarchies) {
    if (h.unified) return &h;
  }
  return nullptr;
}

absl::StatusOr<HostLayout> ParseHostLayout(std::string_view mountinfo,
                                           std::string_view self_cgroup) {
  KEELSON_ASSIGN_OR_RETURN(const auto own, ParseSelfCgroup(self_cgroup));
  struct Candidate {
    Hierarchy hierarchy;
    bool shows_own = false;
  };
  std::vector<Candidate> found;
  for (const std::string& line : Split(mountinfo, '\n')) {
    KEELSON_ASSIGN_OR_RETURN(const std::optional<CgroupMount> mount, ParseMount(line));
    if (!mount) continue;
    Candidate next;
    next.hierarchy = MakeHierarchy(*mount, own, &next.shows_own);
    const auto same = std::find_if(found.begin(), found.end(), [&](const Candidate& c) {
      return c.hierarchy.name == next.hierarchy.name;
    });
    if (same == found.end()) {
      found.push_back(std::move(next));
    } else if (!same->shows_own && next.shows_own) {
      *same = std::move(next);
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const Candidate& a, const Candidate& b) {
    return !a.hierarchy.unified && b.hierarchy.unified;
  });
  HostLayout layout;
  for (Candidate& c : found) layout.hierarchies.push_back(std::move(c.hierarchy));
  return layout;
}

absl::StatusOr<HostLayout> DetectHost() {
  KEELSON_ASSIGN_OR_RETURN(const std::string mountinfo, ReadWhole("/proc/self/mountinfo"));
  KEELSON_ASSIGN_OR_RETURN(const std::string self, ReadWhole("/proc/self/cgroup"));
  KEELSON_ASSIGN_OR_RETURN(HostLayout layout, ParseHostLayout(mountinfo, self));
  for (Hierarchy& h : layout.hierarchies) {
    if (!h.unified) continue;
    KEELSON_ASSIGN_OR_RETURN(const std::string list,
                             ReadWhole(absl::StrCat(h.mount_point, "/cgroup.controllers")));
    h.controllers = absl::StrSplit(list, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  }
  return layout;
}

bool IsMounted(const HostLayout& layout) {
  return std::all_of(layout.hierarchies.begin(), layout.hierarchies.end(), [](const Hierarchy& h) {
    struct statfs fs = {};
    return ::statfs(h.mount_point.c_str(), &fs) == 0 &&
           fs.f_type == (h.unified ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC);
  });
}

}  // namespace keelson::container
