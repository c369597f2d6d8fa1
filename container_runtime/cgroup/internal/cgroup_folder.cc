#include "container_runtime/cgroup/internal/cgroup_folder.h"

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/status.h"

namespace keelson::container {
namespace {
absl::string_view Absl(std::string_view s) { return {s.data(), s.size()}; }
}  // namespace

bool IsPermission(int error) { return error == EACCES || error == EPERM || error == EROFS; }
bool IsGone(int error) { return error == ENOENT || error == ENODEV; }

CgroupFolder::CgroupFolder(CgroupSystem& system, Hierarchy hierarchy, std::string path)
    : system_(&system), hierarchy_(std::move(hierarchy)), path_(std::move(path)) {
  components_ = absl::StrSplit(path_, '/', absl::SkipEmpty());
}

int CgroupFolder::root() {
  if (!root_.ok()) {
    const int fd = system_->OpenRoot(hierarchy_.mount_point);
    if (fd < 0) return fd;
    root_.Reset(fd);
  }
  return root_.get();
}

int CgroupFolder::fd() {
  if (!folder_.ok()) {
    const int top = root();
    if (top < 0) return top;
    const int fd = system_->OpenFolder(top, path_.substr(1));
    if (fd < 0) return fd;
    folder_.Reset(fd);
  }
  return folder_.get();
}

int CgroupFolder::OpenFile(const std::string& file, int flags) {
  if (folder_.ok()) return system_->OpenFile(folder_.get(), file, flags);
  const int top = root();
  return top < 0 ? top : system_->OpenFile(top, absl::StrCat(path_.substr(1), "/", file), flags);
}

int CgroupFolder::TryWrite(const std::string& file, std::string_view value) {
  const int folder = fd();
  return folder < 0 ? -folder : -system_->Write(folder, file, value);
}

absl::Status CgroupFolder::Write(const std::string& file, std::string_view value) {
  const int error = TryWrite(file, value);
  if (error == 0) return absl::OkStatus();
  return Error(error, absl::StrCat("write '", Absl(value), "' to '", file, "'"));
}

int CgroupFolder::TryRead(const std::string& file, std::string* text) {
  const int folder = fd();
  return folder < 0 ? -folder : -system_->Read(folder, file, text);
}

absl::StatusOr<std::string> CgroupFolder::Read(const std::string& file) {
  std::string text;
  const int error = TryRead(file, &text);
  if (error == 0) return text;
  return Error(error, absl::StrCat("read '", file, "'"));
}

absl::Status CgroupFolder::Error(int error, std::string_view operation) const {
  return ErrnoError(error,
                    absl::StrCat(Absl(operation), " of cgroup '", path_, "' (", name(), ")"));
}

}  // namespace keelson::container
