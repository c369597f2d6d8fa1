#include "container_runtime/cgroup/systemd_manager.h"

#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "container_runtime/cgroup/cgroup_stats.h"
#include "container_runtime/cgroup/device_rules.h"
#include "container_runtime/cgroup/internal/cgroupfs_manager.h"

namespace keelson::container {
namespace {

using Connect = std::function<absl::StatusOr<std::unique_ptr<UnitControl>>()>;

class SystemdManager final : public CgroupManager {
 public:
  SystemdManager(CgroupSystem& system, const HostLayout& host, CgroupLocation location,
                 Connect connect, const SystemdOptions& options)
      : files_(system, host, std::move(location), options.cgroupfs),
        connect_(std::move(connect)),
        options_(options),
        unified_(host.OfController("memory") == nullptr || host.OfController("memory")->unified) {}

  absl::Status Create() override {
    starts_ = true;
    // A unit of that name with processes is another container; one without is started over.
    KEELSON_ASSIGN_OR_RETURN(const std::vector<pid_t> pids, files_.Pids());
    if (pids.empty()) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("container's cgroup is not empty: ", pids.size(), " process(es) found"));
  }

  absl::Status Apply(const Resources& resources) override {
    KEELSON_RETURN_IF_ERROR(Translate(resources, true));
    if (!starts_) return SetAndWrite(true);
    return absl::OkStatus();
  }

  absl::Status Update(const Resources& resources) override {
    KEELSON_RETURN_IF_ERROR(Translate(resources, !resources.devices.empty()));
    return SetAndWrite(!resources.devices.empty());
  }

  absl::StatusOr<Attachment> PrepareAttach(const SubCgroup& sub) override {
    // A rootless caller is outside the subtree that is delegated to it, so systemd has to move the process.
    if (starts_ || files_.location().user_manager) {
      attach_to_ = sub.path;
      Attachment attachment;
      attachment.by_call = true;
      return attachment;
    }
    return files_.PrepareAttach(sub);
  }

  absl::Status Attach(pid_t pid) override {
    KEELSON_ASSIGN_OR_RETURN(UnitControl * control, Control());
    if (!starts_) {
      if (!files_.location().user_manager) return files_.Attach(pid);
      const std::string sub = CleanCgroupPath(attach_to_);
      return control->AttachProcesses(files_.location().unit, sub == "/" ? "" : sub,
                                      {static_cast<uint32_t>(pid)});
    }
    const bool slice = IsSlice();
    std::vector<UnitProperty> properties = Common();
    if (!slice) properties.push_back({"PIDs", std::vector<uint32_t>{static_cast<uint32_t>(pid)}});
    properties.insert(properties.end(), limits_.begin(), limits_.end());
    properties.insert(properties.end(), options_.properties.begin(), options_.properties.end());
    const std::string& unit = files_.location().unit;
    absl::Status status = control->Start(unit, properties);
    if (absl::IsAlreadyExists(status)) {
      // Often what is left of a failed one.
      (void)control->ResetFailed(unit);
      status = control->Start(unit, properties);
    }
    KEELSON_RETURN_IF_ERROR(status);
    starts_ = false;
    // The hierarchies that systemd does not manage, and the limits that it does not know.
    KEELSON_RETURN_IF_ERROR(files_.MakeFolders());
    KEELSON_RETURN_IF_ERROR(files_.Attach(pid));
    return files_.Apply(resources_);
  }

  absl::Status Destroy() override {
    absl::Status stopped;
    if (files_.Exists()) {
      KEELSON_ASSIGN_OR_RETURN(UnitControl * control, Control());
      stopped = control->Stop(files_.location().unit);
    } else if (absl::StatusOr<UnitControl*> control = Control(); control.ok()) {
      (void)(*control)->ResetFailed(files_.location().unit);
    }
    const absl::Status removed = files_.Destroy();
    return stopped.ok() ? removed : stopped;
  }

  absl::Status Delegate(uid_t uid, gid_t gid) override { return files_.Delegate(uid, gid); }
  absl::Status Freeze(absl::Duration limit) override { return files_.Freeze(limit); }
  absl::Status Thaw() override { return files_.Thaw(); }
  absl::StatusOr<FreezerState> Freezer() override { return files_.Freezer(); }
  absl::Status Signal(int signal) override { return files_.Signal(signal); }
  absl::Status Kill(absl::Duration limit) override { return files_.Kill(limit); }
  absl::StatusOr<std::vector<pid_t>> Pids() override { return files_.Pids(); }
  bool Exists() override { return files_.Exists(); }
  absl::StatusOr<CgroupStats> Stats() override { return files_.Stats(); }
  absl::StatusOr<std::unique_ptr<OomWatch>> WatchOom() override { return files_.WatchOom(); }
  const CgroupLocation& location() const override { return files_.location(); }
  int FolderFd(const std::string& name) const override { return files_.FolderFd(name); }

 private:
  [[nodiscard]] bool IsSlice() const { return absl::EndsWith(files_.location().unit, ".slice"); }

  absl::StatusOr<UnitControl*> Control() {
    if (control_ == nullptr) {
      KEELSON_ASSIGN_OR_RETURN(control_, connect_());
    }
    return control_.get();
  }

  // What every container's unit has.
  [[nodiscard]] std::vector<UnitProperty> Common() const {
    std::vector<UnitProperty> properties = {{"Description", options_.description},
                                            {"DefaultDependencies", false}};
    const std::string& slice = files_.location().slice;
    if (IsSlice()) {
      properties.push_back({"Wants", std::vector<std::string>{slice}});
    } else {
      properties.push_back({"Slice", slice});
      // systemd keeps out of what is below.
      properties.push_back({"Delegate", true});
    }
    for (const char* name : {"MemoryAccounting", "CPUAccounting", "TasksAccounting"}) {
      properties.push_back({name, true});
    }
    properties.push_back({unified_ ? "IOAccounting" : "BlockIOAccounting", true});
    return properties;
  }

  absl::Status Translate(const Resources& resources, bool devices) {
    Resources wanted = resources;
    const bool skip = !devices || options_.cgroupfs.skip_devices;
    if (!skip && options_.cgroupfs.default_devices) {
      wanted.devices = WithDefaultDevices(std::move(wanted.devices));
    }
    int64_t quota = 0;
    KEELSON_ASSIGN_OR_RETURN(limits_, PropertiesOf(wanted, unified_, &quota));
    if (skip && !unified_) {
      std::erase_if(limits_,
                    [](const UnitProperty& p) { return absl::StartsWith(p.name, "Device"); });
    }
    resources_ = resources;
    if (quota > 0 && resources_.cpu && resources_.cpu->quota.value_or(0) > 0) {
      resources_.cpu->quota = quota;
    }
    return absl::OkStatus();
  }

  absl::Status SetAndWrite(bool devices) {
    KEELSON_ASSIGN_OR_RETURN(UnitControl * control, Control());
    // systemd sets v1 devices up by denying all first; a running container would notice.
    bool thaw = false;
    if (devices && !unified_) {
      KEELSON_ASSIGN_OR_RETURN(const FreezerState state, files_.Freezer());
      if (state == FreezerState::kThawed) {
        KEELSON_RETURN_IF_ERROR(files_.Freeze(absl::Seconds(10)));
        thaw = true;
      }
    }
    absl::Status status = control->Set(files_.location().unit, limits_);
    if (status.ok()) status = devices ? files_.Apply(resources_) : files_.Update(resources_);
    if (thaw) {
      const absl::Status thawed = files_.Thaw();
      if (status.ok()) status = thawed;
    }
    return status;
  }

  CgroupfsManager files_;
  const Connect connect_;
  const SystemdOptions options_;
  const bool unified_;
  std::unique_ptr<UnitControl> control_;
  bool starts_ = false;    // the next Attach starts the unit
  std::string attach_to_;  // sub-cgroup of the next Attach
  std::vector<UnitProperty> limits_;
  Resources resources_;
};

}  // namespace

std::unique_ptr<CgroupManager> NewSystemdManager(CgroupSystem& system, const HostLayout& host,
                                                 CgroupLocation location, Connect connect,
                                                 const SystemdOptions& options) {
  return std::make_unique<SystemdManager>(system, host, std::move(location), std::move(connect),
                                          options);
}

}  // namespace keelson::container
