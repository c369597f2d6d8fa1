// What the runtime remembers of a container between its commands: a folder for each in the root
// folder (default /run/cradle).
//
//   <root>/<id>/state.json   this struct, replaced by rename; fields have runc's names where it has them
//   <root>/<id>/config.json  the config the container was made from
//   <root>/<id>/exec.fifo    there from `create` to `start`
//
// The folder itself, made exclusively, is the claim to the id. Whether a container runs is never
// stored: status.h works it out from the process.
//
// Threading: a Store may be used from several threads; commands on one container exclude each
// other by Lock, across processes too.
#ifndef KEELSON_CONTAINER_RUNTIME_STATE_STATE_H_
#define KEELSON_CONTAINER_RUNTIME_STATE_STATE_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "container_runtime/cgroup/cgroup_location.h"
#include "container_runtime/cgroup/host_layout.h"

namespace keelson::container {

struct ContainerState {
  std::string id;
  std::string oci_version;
  std::string bundle;       // absolute
  std::string rootfs;       // absolute
  pid_t pid = 0;            // of the init process; 0: not yet made
  uint64_t start_time = 0;  // of it, in clock ticks since boot (/proc/PID/stat, field 22)
  std::string created;      // RFC 3339 with nanoseconds, UTC
  uid_t owner = 0;
  std::map<std::string, std::string> annotations;
  CgroupLocation cgroup;
  // Where the hierarchies of `cgroup` were mounted when the container was made: their names, mount
  // points and controllers. Empty: not known.
  HostLayout host;
  bool systemd_cgroup = false;
  bool own_pid_namespace = true;
  bool rootless = false;
  // Of a container whose root is mounted in a namespace of others: which mount was at its place before,
  // and which is the container's; 0: not known.
  uint64_t mount_before = 0, root_mount = 0;
  std::string intel_rdt_path;  // a resctrl folder that we made

  friend bool operator==(const ContainerState&, const ContainerState&) = default;
};

std::string StateToJson(const ContainerState& state);
// Errors: DATA_LOSS text that StateToJson did not make.
absl::StatusOr<ContainerState> ParseState(std::string_view text);

// The container's id is a single file name of letters, digits and "_+-.".
// Errors: INVALID_ARGUMENT.
absl::Status ValidateId(std::string_view id);

class Store {
 public:
  // `root` is made when it is missing (mode 0700) by the first Create.
  explicit Store(std::string root) : root_(std::move(root)) {}

  // Makes the folder. ALREADY_EXISTS when the id is taken.
  absl::Status Create(const std::string& id);

  absl::Status Save(const ContainerState& state);
  // NOT_FOUND when there is no such container (or none finished being claimed).
  [[nodiscard]] absl::StatusOr<ContainerState> Load(const std::string& id) const;

  // A file of the container's folder, such as "config.json".
  absl::Status WriteFile(const std::string& id, const std::string& name, std::string_view text);
  [[nodiscard]] absl::StatusOr<std::string> ReadFile(const std::string& id,
                                                     const std::string& name) const;
  [[nodiscard]] bool HasFile(const std::string& id, const std::string& name) const;
  absl::Status RemoveFile(const std::string& id, const std::string& name);

  // Removes the folder and the files in it. Idempotent.
  absl::Status Remove(const std::string& id);

  // The folder is there, whatever is in it.
  [[nodiscard]] bool Exists(const std::string& id) const;

  // Ids in order. NOT_FOUND when the root folder is missing.
  [[nodiscard]] absl::StatusOr<std::vector<std::string>> List() const;

  // Waits until no other command holds it; released when the descriptor is closed.
  [[nodiscard]] absl::StatusOr<UniqueFd> Lock(const std::string& id) const;

  [[nodiscard]] std::string PathOf(const std::string& id) const { return root_ + "/" + id; }
  [[nodiscard]] const std::string& root() const { return root_; }

 private:
  const std::string root_;
};

// Reads a host file of at most `bytes_max` bytes; /proc files too.
absl::StatusOr<std::string> ReadHostFile(const std::string& path, size_t bytes_max = 1 << 24);

// Writes `text` to a hidden file beside `path` and renames it: readers see all or nothing.
absl::Status ReplaceFile(const std::string& path, std::string_view text, mode_t mode);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_STATE_STATE_H_
