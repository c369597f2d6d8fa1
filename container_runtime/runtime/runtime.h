// Containers by the OCI runtime specification: create, start, exec, kill, delete and the rest.
//
//   Runtime runtime({.root = "/run/cradle"});
//   CreateOptions options = {.id = "web", .bundle = "/srv/web"};
//   KEELSON_RETURN_IF_ERROR(runtime.Create(options));
//   KEELSON_RETURN_IF_ERROR(runtime.Start("web"));
//   ...
//   KEELSON_RETURN_IF_ERROR(runtime.Delete("web", /*force=*/true));
//
// Nothing runs in between: all that is known of a container is in files and in the kernel, so any
// process may continue where another left off, and one that is killed in the middle of anything
// leaves what Delete with `force` clears away.
//
// An operation that fails leaves the machine as it was. Errors:
//   INVALID_ARGUMENT     the config, the id or an option is wrong; the message has the place
//   ALREADY_EXISTS       the id is taken
//   NOT_FOUND            no such container
//   FAILED_PRECONDITION  the container is not in the state for this
//   others               the kernel refused something; the message has what and why
//
// Threading: a Runtime may be used from several threads. Containers are made by clone3 and set up by
// code that is async-signal-safe, so the program may have any number of threads.
#ifndef KEELSON_CONTAINER_RUNTIME_RUNTIME_RUNTIME_H_
#define KEELSON_CONTAINER_RUNTIME_RUNTIME_RUNTIME_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/unique_fd.h"
#include "container_runtime/cgroup/cgroup_manager.h"
#include "container_runtime/config/spec.h"
#include "container_runtime/plan/plan.h"
#include "container_runtime/runtime/spawn.h"
#include "container_runtime/state/state.h"

namespace keelson::container {

enum class CgroupDriver { kCgroupfs, kSystemd, kDisabled };

struct RuntimeOptions {
  std::string root;  // the state folder
  CgroupDriver cgroup_driver = CgroupDriver::kCgroupfs;
  bool rootless = false;  // permissions that are missing for cgroups are no error
  // Takes what went wrong without making an operation fail, such as a poststop hook. May be null.
  std::function<void(const std::string&)> warn;
};

enum class ContainerStatus { kCreating, kCreated, kRunning, kPaused, kStopped };

// "created", "running" ...
std::string StatusName(ContainerStatus status);

struct CreateOptions {
  std::string id;
  std::string bundle;                  // a folder
  std::string config = "config.json";  // absolute or relative to the bundle
  std::string pid_file;
  std::string console_socket;  // path of a listening socket
  int console_fd = -1;         // or a connected one, used if there is a terminal; not owned
  std::string pidfd_socket;
  bool no_pivot = false;
  bool no_new_keyring = false;
  int preserve_fds = 0;
  // The service manager's $NOTIFY_SOCKET and $LISTEN_FDS. The program gets a socket of its own, by the
  // manager's path (notify_relay.h), and the descriptors from 3 on, before those of preserve_fds.
  std::string notify_socket;
  int listen_fds = 0;
  std::string listen_names;                      // $LISTEN_FDNAMES
  std::vector<std::string>* warnings = nullptr;  // takes what was left out of what was asked for
};

// A container as it was made.
struct Container {
  ContainerState state;
  Spec spec;
};

struct ExecRequest {
  Process process;
  std::string pid_file;
  std::string console_socket;
  int console_fd = -1;
  std::string pidfd_socket;
  int preserve_fds = 0;
  bool ignore_paused = false;
  SubCgroup cgroup;
};

class Runtime {
 public:
  explicit Runtime(RuntimeOptions options);
  ~Runtime();

  // Makes the container and everything around its program, which waits for Start. The caller is the
  // parent of its init process.
  absl::StatusOr<Child> Create(const CreateOptions& options);

  // Lets the program of a created container run; returns when it does. With `notify_socket`, given to
  // Create too, when it says that it is ready, or ends.
  absl::Status Start(const std::string& id, const std::string& notify_socket = "");

  // Create and Start in one, without the wait in between.
  absl::StatusOr<Child> Run(const CreateOptions& options);

  // What Create would do, without doing it.
  absl::StatusOr<Plan> MakePlan(const CreateOptions& options);

  [[nodiscard]] absl::StatusOr<Container> Open(const std::string& id) const;

  // One more process in a container that Open has returned, which has to run. While the process is
  // born, the calling program is not dumpable (prctl(2)): the container sees the process at once.
  absl::StatusOr<Child> Exec(const ExecRequest& request, const Container& container);

  // Sends `signal` to the init process; with `all`, or if the container has no PID namespace of its
  // own and the signal is SIGKILL, to every process of the container.
  absl::Status Kill(const std::string& id, int signal, bool all);

  // Removes a stopped container, its cgroups and its state, and runs its poststop hooks. `force`:
  // whatever state it is in; what is missing is no error then.
  absl::Status Delete(const std::string& id, bool force);

  absl::Status Pause(const std::string& id);
  absl::Status Resume(const std::string& id);
  absl::Status Update(const std::string& id, const Resources& resources);
  // Writes lines such as "L3:0=f" to the container's resctrl group, which is made where it has none.
  absl::Status UpdateShares(const std::string& id, const std::vector<std::string>& schemata);

  [[nodiscard]] absl::StatusOr<std::vector<pid_t>> Pids(const std::string& id);
  [[nodiscard]] absl::StatusOr<ContainerState> Load(const std::string& id) const;
  [[nodiscard]] ContainerStatus StatusOf(const ContainerState& state);
  [[nodiscard]] absl::StatusOr<Spec> LoadConfig(const std::string& id) const;
  [[nodiscard]] absl::StatusOr<std::vector<std::string>> List() const { return store_.List(); }
  absl::StatusOr<std::unique_ptr<CgroupManager>> Cgroup(const ContainerState& state);
  // The same for those who look and join, where the host's cgroups are mounted as they were: the
  // table of mounts, which grows with every container, is not read.
  absl::StatusOr<std::unique_ptr<CgroupManager>> CgroupAsMade(const ContainerState& state);

  // Where NotifyRelay of a container belongs.
  [[nodiscard]] std::string NotifyFolderOf(const std::string& id) const;

  // State by the specification, as hooks and `state` get it. `pid` 0 when stopped.
  static std::string StateJson(const ContainerState& state, ContainerStatus status, pid_t pid);

 private:
  absl::StatusOr<Child> Make(const CreateOptions& options, bool wait_for_start);
  absl::Status WaitForProgram(const std::string& id, const ContainerState& state);
  absl::Status DeleteLocked(const std::string& id, const ContainerState& state, bool force);

  const RuntimeOptions options_;
  Store store_;
};

// Waits for the process's end and reaps it: its exit status, or 128 and the signal's number.
int AwaitExit(const Child& child);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_RUNTIME_RUNTIME_H_
