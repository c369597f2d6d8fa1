// The container's folder in one hierarchy: reads and writes with errors that say where.
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_INTERNAL_CGROUP_FOLDER_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_INTERNAL_CGROUP_FOLDER_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "container_runtime/cgroup/cgroup_system.h"
#include "container_runtime/cgroup/host_layout.h"

namespace keelson::container {

class CgroupFolder {
 public:
  // `path` begins with "/". Nothing is opened yet. `system` outlives this.
  CgroupFolder(CgroupSystem& system, Hierarchy hierarchy, std::string path);

  [[nodiscard]] const std::string& name() const { return hierarchy_.name; }
  [[nodiscard]] bool unified() const { return hierarchy_.unified; }
  [[nodiscard]] bool Has(std::string_view controller) const { return hierarchy_.Has(controller); }
  [[nodiscard]] const Hierarchy& hierarchy() const { return hierarchy_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  // Components of the path; not empty.
  [[nodiscard]] const std::vector<std::string>& components() const { return components_; }

  // The descriptor of the folder, opened now if need be; a negative errno when it cannot be.
  int fd();
  // The root of the hierarchy, likewise.
  int root();
  // A file of the folder, which is not opened itself for that. A descriptor or a negative errno.
  int OpenFile(const std::string& file, int flags);
  // Forgets the folder's descriptor, after it was removed or made.
  void Close() { folder_.Reset(); }

  absl::Status Write(const std::string& file, std::string_view value);
  // As Write, with the errno (0 for success) instead of a message.
  int TryWrite(const std::string& file, std::string_view value);
  absl::StatusOr<std::string> Read(const std::string& file);
  // The errno, 0 for success.
  int TryRead(const std::string& file, std::string* text);

  // "<operation> of cgroup '/a/b' (memory): <strerror>"; `error` is positive.
  [[nodiscard]] absl::Status Error(int error, std::string_view operation) const;

 private:
  CgroupSystem* system_;  // a pointer, so that a folder can be assigned
  Hierarchy hierarchy_;
  std::string path_;
  std::vector<std::string> components_;
  UniqueFd root_;
  UniqueFd folder_;
};

// True for the errnos that mean "not yours": EACCES, EPERM, EROFS.
bool IsPermission(int error);
// True for the errnos of a cgroup that is gone: ENOENT, ENODEV.
bool IsGone(int error);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_INTERNAL_CGROUP_FOLDER_H_
