#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "container_runtime/state/state.h"

namespace keelson::container {
namespace {

constexpr const char* kStateFile = "state.json";

absl::Status MakeRoot(const std::string& root) {
  for (size_t slash = root.find('/', 1);; slash = root.find('/', slash + 1)) {
    const std::string part = root.substr(0, slash);
    const bool last = slash == std::string::npos;
    if (::mkdir(part.c_str(), last ? 0700 : 0755) != 0 && errno != EEXIST) {
      return ErrnoError(errno, absl::StrCat("mkdir '", part, "'"));
    }
    if (last) return absl::OkStatus();
  }
}

}  // namespace

absl::StatusOr<std::string> ReadHostFile(const std::string& path, size_t bytes_max) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.ok()) return ErrnoError(errno, absl::StrCat("open '", path, "'"));
  std::string text;
  while (true) {
    char chunk[8192];
    const ssize_t got = ::read(file.get(), chunk, sizeof(chunk));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, absl::StrCat("read '", path, "'"));
    if (got == 0) return text;
    text.append(chunk, static_cast<size_t>(got));
    if (text.size() > bytes_max) {
      return absl::ResourceExhaustedError(
          absl::StrCat("'", path, "' is longer than ", bytes_max, " bytes"));
    }
  }
}

absl::Status ReplaceFile(const std::string& path, std::string_view text, mode_t mode) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  const std::string name = path.substr(folder.size());
  const std::string hidden = absl::StrCat(folder, ".", name, ".", ::getpid());
  const UniqueFd file(
      ::open(hidden.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!file.ok()) return ErrnoError(errno, absl::StrCat("open '", hidden, "'"));
  while (!text.empty()) {
    const ssize_t written = ::write(file.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error = errno;
      (void)::unlink(hidden.c_str());
      return ErrnoError(error, absl::StrCat("write '", hidden, "'"));
    }
    text.remove_prefix(static_cast<size_t>(written));
  }
  // State lives on tmpfs and dies with the machine, so there is nothing to sync.
  if (::rename(hidden.c_str(), path.c_str()) == 0) return absl::OkStatus();
  const int error = errno;
  (void)::unlink(hidden.c_str());
  return ErrnoError(error, absl::StrCat("rename to '", path, "'"));
}

absl::Status Store::Create(const std::string& id) {
  KEELSON_RETURN_IF_ERROR(ValidateId(id));
  KEELSON_RETURN_IF_ERROR(MakeRoot(root_));
  if (::mkdir(PathOf(id).c_str(), 0711) == 0) return absl::OkStatus();
  if (errno == EEXIST) {
    return absl::AlreadyExistsError(
        absl::StrCat("container with given ID already exists: '", id, "'"));
  }
  return ErrnoError(errno, absl::StrCat("mkdir '", PathOf(id), "'"));
}

absl::Status Store::WriteFile(const std::string& id, const std::string& name,
                              std::string_view text) {
  return ReplaceFile(absl::StrCat(PathOf(id), "/", name), text, 0600);
}

absl::StatusOr<std::string> Store::ReadFile(const std::string& id, const std::string& name) const {
  return ReadHostFile(absl::StrCat(PathOf(id), "/", name));
}

bool Store::HasFile(const std::string& id, const std::string& name) const {
  struct stat status = {};
  return ::lstat(absl::StrCat(PathOf(id), "/", name).c_str(), &status) == 0;
}

absl::Status Store::RemoveFile(const std::string& id, const std::string& name) {
  const std::string path = absl::StrCat(PathOf(id), "/", name);
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return ErrnoError(errno, absl::StrCat("unlink '", path, "'"));
}

absl::Status Store::Save(const ContainerState& state) {
  return WriteFile(state.id, kStateFile, StateToJson(state));
}

absl::StatusOr<ContainerState> Store::Load(const std::string& id) const {
  KEELSON_RETURN_IF_ERROR(ValidateId(id));
  absl::StatusOr<std::string> text = ReadFile(id, kStateFile);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(absl::StrCat("container does not exist: '", id, "'"));
  }
  KEELSON_RETURN_IF_ERROR(text.status());
  absl::StatusOr<ContainerState> state = ParseState(*text);
  if (!state.ok()) return Annotate(state.status(), absl::StrCat("container '", id, "'"));
  return state;
}

bool Store::Exists(const std::string& id) const {
  struct stat status = {};
  return ValidateId(id).ok() && ::lstat(PathOf(id).c_str(), &status) == 0;
}

absl::Status Store::Remove(const std::string& id) {
  KEELSON_RETURN_IF_ERROR(ValidateId(id));
  const std::string path = PathOf(id);
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) {
    return errno == ENOENT ? absl::OkStatus()
                           : ErrnoError(errno, absl::StrCat("open '", path, "'"));
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> owner(directory, ::closedir);
  // state.json goes last: without it nobody would know of the cgroup after a crash in between.
  while (const dirent* entry = ::readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == ".." || name == kStateFile) continue;
    // Symlinks are not followed, and the errors show at rmdir.
    std::error_code error;
    (void)std::filesystem::remove_all(absl::StrCat(path, "/", entry->d_name), error);
  }
  (void)::unlinkat(::dirfd(directory), kStateFile, 0);
  if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return ErrnoError(errno, absl::StrCat("rmdir '", path, "'"));
}

absl::StatusOr<std::vector<std::string>> Store::List() const {
  DIR* directory = ::opendir(root_.c_str());
  if (directory == nullptr) return ErrnoError(errno, absl::StrCat("open '", root_, "'"));
  const std::unique_ptr<DIR, int (*)(DIR*)> owner(directory, ::closedir);
  std::vector<std::string> ids;
  while (const dirent* entry = ::readdir(directory)) {
    if (entry->d_type == DT_DIR && ValidateId(entry->d_name).ok()) ids.emplace_back(entry->d_name);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

absl::StatusOr<UniqueFd> Store::Lock(const std::string& id) const {
  KEELSON_RETURN_IF_ERROR(ValidateId(id));
  const std::string path = PathOf(id);
  UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.ok() && errno == ENOENT) {
    return absl::NotFoundError(absl::StrCat("container does not exist: '", id, "'"));
  }
  if (!folder.ok()) return ErrnoError(errno, absl::StrCat("open '", path, "'"));
  while (::flock(folder.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return ErrnoError(errno, absl::StrCat("lock '", path, "'"));
  }
  return folder;
}

}  // namespace keelson::container
