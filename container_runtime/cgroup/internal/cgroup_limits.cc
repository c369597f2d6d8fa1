#include "container_runtime/cgroup/internal/cgroup_limits.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "container_runtime/cgroup/device_bpf.h"
#include "container_runtime/cgroup/device_rules.h"

namespace keelson::container {
namespace {

std::string Trimmed(const std::string& text) {
  return std::string(absl::StripAsciiWhitespace(text));
}

std::set<std::string> Words(const std::string& text) {
  return absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
}

// Writes one setting; the errno, 0 for success, and where it went wrong in `file`.
int WriteOne(CgroupFolder& folder, const Setting& setting, std::string* file, std::string* value) {
  *file = setting.file;
  *value = setting.value;
  int error = folder.TryWrite(setting.file, setting.value);
  if (error == ENOENT && !setting.fallback_file.empty()) {
    *file = setting.fallback_file;
    *value = setting.fallback_value;
    error = folder.TryWrite(setting.fallback_file, setting.fallback_value);
  }
  return error == ENOENT && setting.optional ? 0 : error;
}

absl::Status Verify(CgroupFolder& folder, const Setting& setting) {
  KEELSON_ASSIGN_OR_RETURN(const std::string read, folder.Read(setting.file));
  uint64_t is = 0, asked = 0;
  if (!absl::SimpleAtoi(Trimmed(read), &is) || !absl::SimpleAtoi(setting.value, &asked) ||
      is == asked) {
    return absl::OkStatus();
  }
  const std::string what = setting.file == "cpu.shares" ? "cpu-shares" : setting.file;
  return absl::InvalidArgumentError(absl::StrCat("the ", asked > is ? "maximum" : "minimum",
                                                 " allowed ", what, " is ", is, ", asked were ",
                                                 asked));
}

// Says why a v2 file is missing, when it is for want of its controller.
absl::Status WithoutController(CgroupFolder& folder, const SettingGroup& group,
                               const absl::Status& status) {
  std::string text;
  if (folder.TryRead("cgroup.controllers", &text) != 0 ||
      Words(text).count(group.controller) != 0) {
    return status;
  }
  return absl::FailedPreconditionError(absl::StrCat(
      std::string(status.message()), "; controller '", group.controller,
      "' is not enabled there, as a cgroup above has processes of its own, or lacks it"));
}

absl::Status MemoryBusy(CgroupFolder& folder, const std::string& value) {
  std::string usage, peak;
  (void)folder.TryRead("memory.usage_in_bytes", &usage);  // only for the message
  (void)folder.TryRead("memory.max_usage_in_bytes", &peak);
  return absl::FailedPreconditionError(absl::StrCat("unable to set memory limit to ", value,
                                                    " (current usage: ", Trimmed(usage),
                                                    ", peak usage: ", Trimmed(peak), ")"));
}

}  // namespace

CgroupFolder* CgroupLimits::FolderOf(const std::string& controller, bool unified) {
  for (CgroupFolder& f : folders_) {
    if (f.unified() == unified && (f.Has(controller) || (unified && controller.empty()))) return &f;
  }
  return nullptr;
}

bool CgroupLimits::V2Only() const {
  return std::all_of(folders_.begin(), folders_.end(),
                     [](const CgroupFolder& f) { return f.unified(); });
}

absl::Status CgroupLimits::WriteGroup(CgroupFolder& folder, const SettingGroup& group) {
  std::vector<const Setting*> left;
  for (const Setting& setting : group.settings) left.push_back(&setting);
  while (!left.empty()) {
    std::vector<const Setting*> refused;
    absl::Status first;
    for (const Setting* setting : left) {
      std::string file, value;
      const int error = WriteOne(folder, *setting, &file, &value);
      if (error == 0) {
        if (setting->verify) KEELSON_RETURN_IF_ERROR(Verify(folder, *setting));
        continue;
      }
      if (error == EBUSY && file == "memory.limit_in_bytes") return MemoryBusy(folder, value);
      absl::Status status =
          folder.Error(error, absl::StrCat("write '", value, "' to '", file, "'"));
      if (error == ENOENT && folder.unified()) status = WithoutController(folder, group, status);
      if (error != EINVAL) return status;
      if (refused.empty()) first = std::move(status);
      refused.push_back(setting);
    }
    if (refused.size() == left.size()) return first;
    left = std::move(refused);
  }
  return absl::OkStatus();
}

absl::Status CgroupLimits::WriteSide(const std::vector<SettingGroup>& groups, bool unified) {
  std::vector<std::string> wanted;
  for (const SettingGroup& group : groups) wanted.push_back(group.controller);
  for (CgroupFolder& f : folders_) {
    if (unified && f.unified() && !wanted.empty()) {
      KEELSON_RETURN_IF_ERROR(EnableControllers(f, wanted));
    }
  }
  for (const SettingGroup& group : groups) {
    CgroupFolder* folder = FolderOf(group.controller, unified);
    if (folder != nullptr) KEELSON_RETURN_IF_ERROR(WriteGroup(*folder, group));
  }
  return absl::OkStatus();
}

// Lowering memory.max below what is used makes the kernel reclaim and then kill.
absl::Status CgroupLimits::CheckUsage(const Resources& resources) {
  CgroupFolder* folder = FolderOf("memory", true);
  if (folder == nullptr || !resources.memory ||
      !resources.memory->check_before_update.value_or(false)) {
    return absl::OkStatus();
  }
  const int64_t limit = resources.memory->limit.value_or(0);
  std::string text;
  uint64_t usage = 0;
  if (limit <= 0 || folder->TryRead("memory.current", &text) != 0 ||
      !absl::SimpleAtoi(Trimmed(text), &usage) || static_cast<uint64_t>(limit) >= usage) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("rejecting memory limit ", limit, ": current usage is ", usage));
}

absl::Status CgroupLimits::Write(const Resources& resources) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<SettingGroup> v1, SettingsFor(resources, false));
  // Memory and swap relate otherwise on v2; that must not judge a host that has them on v1.
  Resources for_v2 = resources;
  if (FolderOf("memory", true) == nullptr) for_v2.memory.reset();
  KEELSON_ASSIGN_OR_RETURN(const std::vector<SettingGroup> v2, SettingsFor(for_v2, true));
  KEELSON_ASSIGN_OR_RETURN(const std::vector<SettingGroup> raw, UnifiedSettings(resources));
  const auto somewhere = [&](const std::string& controller) {
    const std::string on_v2 = controller == "blkio" ? "io" : controller;
    return FolderOf(controller, false) != nullptr || FolderOf(on_v2, true) != nullptr;
  };
  // Before the first write, so that a refusal changes nothing.
  for (const SettingGroup& group : v1) {
    const bool v1_only = group.controller == "net_cls" || group.controller == "net_prio";
    if (somewhere(group.controller) || (v1_only && V2Only() && !folders_.empty())) continue;
    if (folders_.empty() && left_out_.count("unified") != 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("cannot set ", group.controller,
                       " limit: rootless needs no limits + no cgrouppath when no permission is "
                       "granted for cgroups"));
    }
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot set ", group.controller, " limit: container could not join or create cgroup",
        left_out_.empty() ? " (the host has no such controller)" : " (no permission for cgroups)"));
  }
  for (const SettingGroup& group : raw) {
    if (FolderOf(group.controller, true) != nullptr) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("invalid configuration: unified resource \"", group.settings.front().file,
                     "\" can't be set: controller \"", group.controller, "\" not available",
                     V2Only() ? "" : " on the host's cgroup v2 tree"));
  }
  KEELSON_RETURN_IF_ERROR(CheckUsage(resources));
  KEELSON_RETURN_IF_ERROR(WriteSide(v1, false));
  KEELSON_RETURN_IF_ERROR(WriteSide(v2, true));
  return WriteSide(raw, true);
}

absl::Status CgroupLimits::EnableControllers(CgroupFolder& folder,
                                             const std::vector<std::string>& wanted) {
  std::string text;
  (void)folder.TryRead("cgroup.controllers", &text);  // empty: none is enabled
  const std::set<std::string> present = Words(text);
  std::vector<std::string> missing;
  for (const std::string& controller : wanted) {
    if (folder.Has(controller) && present.count(controller) == 0) missing.push_back(controller);
  }
  if (missing.empty()) return absl::OkStatus();
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  std::string together;
  for (const std::string& c : missing) absl::StrAppend(&together, together.empty() ? "+" : " +", c);
  const int root = folder.root();
  if (root < 0) return folder.Error(-root, "enable controllers");
  UniqueFd current;
  int fd = root;
  for (const std::string& name : folder.components()) {
    const int error = -system_.Write(fd, "cgroup.subtree_control", together);
    // EBUSY: processes live at this level. One by one, the kernel would take those controllers that
    // threads can have, make the level the root of a threaded subtree, and no folder below it would
    // accept a process any more (EOPNOTSUPP). So none.
    if (error != 0 && error != EBUSY) {
      // One that is not available here must not keep the others out.
      for (const std::string& c : missing) {
        (void)system_.Write(fd, "cgroup.subtree_control", absl::StrCat("+", c));
      }
    }
    const int next = system_.OpenFolder(fd, name);
    if (next < 0) return folder.Error(-next, absl::StrCat("open '", name, "'"));
    current.Reset(next);
    fd = next;
  }
  return absl::OkStatus();
}

absl::Status CgroupLimits::WriteDevicesV1(CgroupFolder& folder,
                                          const std::vector<DeviceRule>& rules) {
  KEELSON_ASSIGN_OR_RETURN(const DevicePolicy wanted, DevicePolicy::Of(rules));
  KEELSON_ASSIGN_OR_RETURN(const std::string list, folder.Read("devices.list"));
  KEELSON_ASSIGN_OR_RETURN(const DevicePolicy present, DevicePolicy::OfList(list));
  KEELSON_ASSIGN_OR_RETURN(const std::vector<DeviceWrite> writes, DeviceWrites(present, wanted));
  if (writes.empty()) return absl::OkStatus();
  for (const DeviceWrite& write : writes) {
    KEELSON_RETURN_IF_ERROR(
        folder.Write(write.allow ? "devices.allow" : "devices.deny", write.line));
  }
  // A parent that is stricter leaves out what it does not have, without an error.
  KEELSON_ASSIGN_OR_RETURN(const std::string after, folder.Read("devices.list"));
  KEELSON_ASSIGN_OR_RETURN(const DevicePolicy result, DevicePolicy::OfList(after));
  const absl::StatusOr<std::vector<DeviceWrite>> left = DeviceWrites(result, wanted);
  const bool denies_by_default = writes.front().line != "a" || !writes.front().allow;
  if (denies_by_default && left.ok() && !left->empty()) {
    return folder.Error(EPERM, absl::StrCat("device rule '", left->front().line,
                                            "' does not hold after it was written"));
  }
  return absl::OkStatus();
}

absl::Status CgroupLimits::WriteDevices(const std::vector<DeviceRule>& rules, bool tolerate) {
  absl::Status status;
  if (CgroupFolder* v1 = FolderOf("devices", false)) {
    status = WriteDevicesV1(*v1, rules);
  } else {
    CgroupFolder* v2 = nullptr;
    for (CgroupFolder& f : folders_) {
      if (f.unified()) v2 = &f;
    }
    KEELSON_ASSIGN_OR_RETURN(const DevicePolicy policy, DevicePolicy::Of(rules));
    if (v2 == nullptr) {
      if (tolerate || policy.AllowsEverything()) return absl::OkStatus();
      return absl::FailedPreconditionError(
          "cannot set devices limit: container could not join or create cgroup");
    }
    KEELSON_ASSIGN_OR_RETURN(const std::vector<bpf_insn> program, DeviceProgram(policy));
    const int fd = v2->fd();
    status = fd < 0 ? v2->Error(-fd, "open") : system_.AttachDevices(fd, program);
  }
  if (tolerate && status.code() == absl::StatusCode::kPermissionDenied) return absl::OkStatus();
  return status;
}

}  // namespace keelson::container
