#include "container_runtime/resctrl/resctrl.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace keelson::container {
namespace {

constexpr const char* kMonitors = "mon_groups";

// What a line such as "L3:0=00f;1=F0" gives each domain of each resource: {"L3:0", "f"} ... Leading
// zeros, blanks, the case of digits and the order do not count, as the kernel prints its own.
std::map<std::string, std::string> Meaning(const std::string& line) {
  std::map<std::string, std::string> shares;
  const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 1));
  if (parts.size() != 2) return shares;
  const std::string resource(absl::StripAsciiWhitespace(parts[0]));
  for (const std::string& share : std::vector<std::string>(absl::StrSplit(parts[1], ';'))) {
    const std::vector<std::string> sides = absl::StrSplit(share, absl::MaxSplits('=', 1));
    if (sides.size() != 2) continue;
    std::string value = absl::AsciiStrToLower(absl::StripAsciiWhitespace(sides[1]));
    value.erase(0, std::min(value.find_first_not_of('0'), value.size() - 1));
    shares[absl::StrCat(resource, ":", std::string(absl::StripAsciiWhitespace(sides[0])))] = value;
  }
  return shares;
}

// The place of a mount table is escaped: "\040" is a blank.
std::string Unescape(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      const std::string_view digits = text.substr(i + 1, 3);
      result += static_cast<char>((digits[0] - '0') * 64 + (digits[1] - '0') * 8 + digits[2] - '0');
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

}  // namespace

std::string FindResctrl(const std::string& mountinfo) {
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(mountinfo, '\n'))) {
    const std::vector<std::string> fields = absl::StrSplit(line, ' ');
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.end() - dash < 2 || dash - fields.begin() < 6) continue;
    if (dash[1] == "resctrl") return Unescape(fields[4]);
  }
  return "";
}

ResctrlGroup::ResctrlGroup(CgroupSystem& system, UniqueFd root, const IntelRdt& config,
                           const std::string& id)
    : system_(&system), root_(std::move(root)), config_(config), id_(id) {
  name_ = config.clos_id.empty() ? id : config.clos_id;
  if (name_ == "/") name_ = ".";
}

absl::StatusOr<ResctrlGroup> ResctrlGroup::Open(CgroupSystem& system, const std::string& mountinfo,
                                                const IntelRdt& config, const std::string& id) {
  const std::string place = FindResctrl(mountinfo);
  if (place.empty()) {
    return absl::FailedPreconditionError(
        "linux.intelRdt: this machine has no resctrl file system mounted");
  }
  const int root = system.OpenRoot(place);
  if (root < 0) return ErrnoError(-root, absl::StrCat("linux.intelRdt: open '", place, "'"));
  ResctrlGroup group(system, UniqueFd(root), config, id);
  KEELSON_RETURN_IF_ERROR(group.CheckFeatures());
  return group;
}

absl::Status ResctrlGroup::CheckFeatures() {
  const auto has = [this](const char* feature) {
    return Folder(absl::StrCat("info/", feature)).ok();
  };
  if (!config_.l3_cache_schema.empty() && !has("L3") && !has("L3CODE")) {
    return absl::FailedPreconditionError(
        "linux.intelRdt.l3CacheSchema: this machine shares out no L3 caches");
  }
  if (!config_.mem_bw_schema.empty() && !has("MB")) {
    return absl::FailedPreconditionError(
        "linux.intelRdt.memBwSchema: this machine shares out no memory bandwidth");
  }
  if (config_.enable_monitoring && !has("L3_MON")) {
    return absl::FailedPreconditionError(
        "linux.intelRdt.enableMonitoring: this machine has no monitoring of L3 caches");
  }
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> ResctrlGroup::Folder(const std::string& name) {
  const int fd = system_->OpenFolder(root_.get(), name);
  if (fd < 0) return Failure(-fd, absl::StrCat("open resctrl group '", name, "'"));
  return UniqueFd(fd);
}

absl::Status ResctrlGroup::Failure(int error, const std::string& what) {
  absl::Status status = ErrnoError(error, absl::StrCat("linux.intelRdt: ", what));
  std::string words;
  const int info = system_->OpenFolder(root_.get(), "info");
  if (info < 0) return status;
  const UniqueFd folder(info);
  if (system_->Read(folder.get(), "last_cmd_status", &words) < 0) return status;
  words = std::string(absl::StripAsciiWhitespace(words));
  if (words.empty() || words == "ok") return status;
  return absl::Status(status.code(), absl::StrCat(std::string(status.message()),
                                                  " (last_cmd_status: ", words, ")"));
}

absl::Status ResctrlGroup::WriteFile(int folder, const std::string& file, const std::string& text) {
  const int result = system_->Write(folder, file, text);
  if (result >= 0) return absl::OkStatus();
  return Failure(-result, absl::StrCat("write '", std::string(absl::StripAsciiWhitespace(text)),
                                       "' to '", file, "' of resctrl group '", name_, "'"));
}

std::vector<std::string> ResctrlGroup::SchemataOf(const IntelRdt& config) {
  std::vector<std::string> lines;
  const auto add = [&lines](const std::string& text) {
    for (const std::string& line :
         std::vector<std::string>(absl::StrSplit(text, '\n', absl::SkipWhitespace()))) {
      lines.push_back(line);
    }
  };
  add(config.l3_cache_schema);
  add(config.mem_bw_schema);
  for (const std::string& line : config.schemata) add(line);
  return lines;
}

absl::StatusOr<bool> ResctrlGroup::IsMissing() {
  const int folder = system_->OpenFolder(root_.get(), name_);
  if (folder >= 0) {
    const UniqueFd closed(folder);
    return false;
  }
  if (folder != -ENOENT) return Failure(-folder, absl::StrCat("open resctrl group '", name_, "'"));
  if (!config_.clos_id.empty() && SchemataOf(config_).empty()) {
    return absl::FailedPreconditionError(absl::StrCat("linux.intelRdt.closID: there is no group '",
                                                      config_.clos_id,
                                                      "', and without a schema none is made"));
  }
  return true;
}

// A line of the config must be true of the group; what it does not speak of may be anything.
absl::Status ResctrlGroup::CheckSame() {
  const std::vector<std::string> wanted = SchemataOf(config_);
  if (wanted.empty()) return absl::OkStatus();
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd folder, Folder(name_));
  std::string text;
  const int result = system_->Read(folder.get(), "schemata", &text);
  if (result < 0) {
    return Failure(-result, absl::StrCat("read 'schemata' of resctrl group '", name_, "'"));
  }
  std::map<std::string, std::string> present;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    present.merge(Meaning(line));
  }
  for (const std::string& line : wanted) {
    for (const auto& [domain, share] : Meaning(line)) {
      const auto found = present.find(domain);
      if (found != present.end() && found->second == share) continue;
      return absl::FailedPreconditionError(
          absl::StrCat("linux.intelRdt: group '", name_, "' is there already and has '",
                       found == present.end() ? "nothing" : found->second, "' for ", domain,
                       ", not '", share, "'"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ResctrlGroup::Create() {
  KEELSON_ASSIGN_OR_RETURN(bool made, IsMissing());
  if (made) {
    const int result = system_->MakeFolder(root_.get(), name_);
    if (result < 0 && result != -EEXIST) {
      return Failure(-result, absl::StrCat("mkdir resctrl group '", name_, "'"));
    }
    made = result >= 0;
  }
  // Without closID the group is of nobody but this container, whoever made it.
  KEELSON_RETURN_IF_ERROR(made || config_.clos_id.empty() ? Update(SchemataOf(config_))
                                                          : CheckSame());
  KEELSON_RETURN_IF_ERROR(MakeMonitor());
  return made;
}

absl::Status ResctrlGroup::MakeMonitor() {
  if (!config_.enable_monitoring) return absl::OkStatus();
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd monitors, Folder(absl::StrCat(name_, "/", kMonitors)));
  const int made = system_->MakeFolder(monitors.get(), id_);
  if (made < 0 && made != -EEXIST) {
    return Failure(-made, absl::StrCat("mkdir monitoring group '", id_, "'"));
  }
  return absl::OkStatus();
}

absl::Status ResctrlGroup::Update(const std::vector<std::string>& schemata) {
  if (schemata.empty()) return absl::OkStatus();
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd folder, Folder(name_));
  return WriteFile(folder.get(), "schemata", absl::StrCat(absl::StrJoin(schemata, "\n"), "\n"));
}

absl::Status ResctrlGroup::Join(pid_t pid) {
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd folder, Folder(name_));
  KEELSON_RETURN_IF_ERROR(WriteFile(folder.get(), "tasks", absl::StrCat(pid)));
  if (!config_.enable_monitoring) return absl::OkStatus();
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd monitor,
                           Folder(absl::StrCat(name_, "/", kMonitors, "/", id_)));
  return WriteFile(monitor.get(), "tasks", absl::StrCat(pid));
}

absl::Status ResctrlGroup::Remove(bool folder_is_ours) {
  const auto remove = [this](int folder, const std::string& name) -> absl::Status {
    const int result = system_->RemoveFolder(folder, name);
    if (result >= 0 || result == -ENOENT) return absl::OkStatus();
    return Failure(-result, absl::StrCat("rmdir resctrl group '", name, "'"));
  };
  if (config_.enable_monitoring) {
    const int monitors = system_->OpenFolder(root_.get(), absl::StrCat(name_, "/", kMonitors));
    if (monitors >= 0) {
      const UniqueFd folder(monitors);
      KEELSON_RETURN_IF_ERROR(remove(folder.get(), id_));
    }
  }
  if (!folder_is_ours || name_ == ".") return absl::OkStatus();
  return remove(root_.get(), name_);
}

}  // namespace keelson::container
