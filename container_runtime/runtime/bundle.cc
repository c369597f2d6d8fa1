#include "container_runtime/runtime/bundle.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "container_runtime/config/parser.h"
#include "container_runtime/path/in_root.h"
#include "container_runtime/state/state.h"

namespace keelson::container {
namespace {

std::string Below(const std::string& folder, const std::string& path) {
  return !path.empty() && path[0] == '/' ? path : absl::StrCat(folder, "/", path);
}

absl::StatusOr<std::string> RealPath(const std::string& path) {
  char resolved[PATH_MAX];
  if (::realpath(path.c_str(), resolved) == nullptr) {
    return ErrnoError(errno, absl::StrCat("'", path, "'"));
  }
  return std::string(resolved);
}

bool IsBind(const Mount& mount) {
  for (const std::string& option : mount.options) {
    if (option == "bind" || option == "rbind") return true;
  }
  return mount.type == "bind";
}

// Text of /etc/passwd below `root`; empty when there is none. Never a device or a pipe, which an
// image may have in its place.
std::string ReadPasswords(int root) {
  constexpr size_t kBytesMax = size_t{1} << 20;
  const UniqueFd file(OpenInRoot(RealKernel(), root, "etc/passwd"));
  struct stat status = {};
  if (!file.ok() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return "";
  const std::string path = absl::StrCat("/proc/self/fd/", file.get());
  return ReadHostFile(path, kBytesMax).value_or("");
}

}  // namespace

std::string HomeOf(int root, uint32_t uid) {
  const std::string wanted = absl::StrCat(uid);
  const std::vector<std::string> lines = absl::StrSplit(ReadPasswords(root), '\n');
  for (const std::string& line : lines) {
    const std::vector<std::string> fields = absl::StrSplit(line, ':');
    if (fields.size() >= 6 && fields[2] == wanted && !fields[5].empty()) return fields[5];
  }
  return "/";
}

void FinishEnvironment(int root, Process& process) {
  std::set<std::string> seen;
  std::vector<std::string> kept;
  for (auto entry = process.env.rbegin(); entry != process.env.rend(); ++entry) {
    if (seen.insert(entry->substr(0, entry->find('='))).second && *entry != "HOME=") {
      kept.push_back(*entry);
    }
  }
  process.env.assign(kept.rbegin(), kept.rend());
  const bool has_home = std::any_of(kept.begin(), kept.end(), [](const std::string& entry) {
    return entry.rfind("HOME=", 0) == 0;
  });
  if (!has_home) process.env.push_back(absl::StrCat("HOME=", HomeOf(root, process.user.uid)));
}

absl::StatusOr<Bundle> LoadBundle(const std::string& folder, const std::string& config) {
  Bundle bundle;
  KEELSON_ASSIGN_OR_RETURN(bundle.path, RealPath(folder.empty() ? "." : folder));
  const std::string file = Below(bundle.path, config);
  absl::StatusOr<std::string> text = ReadHostFile(file);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(
        absl::StrCat("JSON specification file ", file, " not found: no such file or directory"));
  }
  KEELSON_RETURN_IF_ERROR(text.status());
  bundle.config_text = *std::move(text);
  absl::StatusOr<Spec> spec = ParseSpec(bundle.config_text);
  if (!spec.ok()) return Annotate(spec.status(), absl::StrCat("'", file, "'"));
  bundle.spec = *std::move(spec);
  for (Mount& mount : bundle.spec.mounts) {
    if (IsBind(mount) && !mount.source.empty()) mount.source = Below(bundle.path, mount.source);
  }
  if (!bundle.spec.root.has_value()) return absl::InvalidArgumentError("root: is missing");
  const absl::StatusOr<std::string> rootfs = RealPath(Below(bundle.path, bundle.spec.root->path));
  if (!rootfs.ok()) return Annotate(rootfs.status(), "root.path: invalid rootfs");
  bundle.rootfs = *rootfs;
  struct stat status = {};
  if (::stat(bundle.rootfs.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("root.path: '", bundle.rootfs, "' is not a directory"));
  }
  const UniqueFd root(::open(bundle.rootfs.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (bundle.spec.process.has_value()) FinishEnvironment(root.get(), *bundle.spec.process);
  return bundle;
}

}  // namespace keelson::container
