// One container in the making: what is done, in order, and how it is undone.
#ifndef KEELSON_CONTAINER_RUNTIME_RUNTIME_CREATION_H_
#define KEELSON_CONTAINER_RUNTIME_RUNTIME_CREATION_H_

#include <memory>
#include <optional>
#include <string>

#include "container_runtime/cgroup/host_layout.h"
#include "container_runtime/runtime/bundle.h"
#include "container_runtime/runtime/runtime.h"
#include "container_runtime/runtime/shares.h"

namespace keelson::container {

class Creation {
 public:
  Creation(const RuntimeOptions& runtime, Store& store, const CreateOptions& options,
           bool wait_for_start)
      : runtime_(runtime), store_(store), options_(options), wait_for_start_(wait_for_start) {}

  // Loads and checks everything that needs no change to the machine.
  absl::StatusOr<Plan> Prepare();
  // After Prepare. Everything is undone when this fails.
  absl::StatusOr<Child> Make(Plan plan);

  [[nodiscard]] const Spec& spec() const { return bundle_.spec; }
  [[nodiscard]] const ContainerState& state() const { return state_; }

 private:
  absl::Status Locate();
  absl::Status CheckTerminal() const;
  void AddServiceManager();
  absl::StatusOr<Child> MakeClaimed(Plan& plan);
  absl::Status OpenDescriptors();
  absl::Status FindShares();
  absl::Status MakeShares();
  absl::Status Reached(SyncPoint point, const Child& child);
  absl::Status Finish(const Child& child);
  absl::Status SendListener(const Child& child, UniqueFd listener);
  absl::Status DelegateCgroup();
  void Undo();

  const RuntimeOptions& runtime_;
  Store& store_;
  const CreateOptions& options_;
  const bool wait_for_start_;
  Bundle bundle_;
  HostLayout host_;
  ContainerState state_;
  std::unique_ptr<CgroupManager> cgroup_;
  bool owns_cgroup_ = false;            // cgroup_ has been created by us
  std::optional<ResctrlGroup> shares_;  // linux.intelRdt
  UniqueFd fifo_, console_, pidfd_socket_;
};

// Whether the processes of a container are stopped; an error reading that is a no.
bool IsFrozen(CgroupManager& cgroup);

// cgroup_driver.cc: the manager of a driver. Null for kDisabled.
absl::StatusOr<std::unique_ptr<CgroupManager>> NewManager(const HostLayout& host,
                                                          const ContainerState& state,
                                                          bool user_namespace);
absl::StatusOr<CgroupLocation> LocateFor(const HostLayout& host, const RuntimeOptions& runtime,
                                         const std::string& id, const std::string& cgroups_path);

// What a seccomp agent gets with the descriptor: a "container process state" of the specification.
std::string ListenerMessage(const std::string& oci_version, pid_t pid, const std::string& metadata,
                            const std::string& state_json);

// The time, as state has it.
std::string NowText();

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_RUNTIME_CREATION_H_
