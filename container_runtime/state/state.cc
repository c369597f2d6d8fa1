#include "container_runtime/state/state.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace keelson::container {
namespace {

using Json = nlohmann::json;

constexpr size_t kIdBytesMax = 1024;

constexpr const char* kUnified = "unified";

// For each hierarchy its name, its mount point and its controllers.
std::vector<std::vector<std::string>> LayoutToLists(const HostLayout& host) {
  std::vector<std::vector<std::string>> lists;
  for (const Hierarchy& h : host.hierarchies) {
    std::vector<std::string>& list = lists.emplace_back();
    list = {h.name, h.mount_point};
    list.insert(list.end(), h.controllers.begin(), h.controllers.end());
  }
  return lists;
}

HostLayout LayoutFromLists(const std::vector<std::vector<std::string>>& lists) {
  HostLayout host;
  for (const std::vector<std::string>& list : lists) {
    if (list.size() < 2) return {};  // Nobody's; DetectHost finds out.
    host.hierarchies.push_back({.name = list[0],
                                .unified = list[0] == kUnified,
                                .controllers = {list.begin() + 2, list.end()},
                                .mount_point = list[1]});
  }
  return host;
}

// Throws nlohmann's exceptions.
ContainerState FromJson(const Json& json) {
  ContainerState state;
  state.id = json.at("id");
  state.oci_version = json.at("oci_version");
  state.bundle = json.at("bundle");
  state.rootfs = json.at("rootfs");
  state.pid = json.at("init_process_pid");
  state.start_time = json.at("init_process_start");
  state.created = json.at("created");
  state.owner = json.at("owner");
  state.annotations = json.at("annotations").get<std::map<std::string, std::string>>();
  state.cgroup.paths = json.at("cgroup_paths").get<std::map<std::string, std::string>>();
  state.cgroup.tolerate_permission = json.at("cgroup_tolerate_permission");
  state.cgroup.unit = json.at("cgroup_unit");
  state.cgroup.slice = json.at("cgroup_slice");
  state.cgroup.user_manager = json.at("cgroup_user_manager");
  state.systemd_cgroup = json.at("systemd_cgroup");
  state.own_pid_namespace = json.at("own_pid_namespace");
  state.rootless = json.at("rootless");
  state.intel_rdt_path = json.at("intel_rdt_path");
  // Files of earlier versions are without these.
  state.mount_before = json.value("mount_before", uint64_t{0});
  state.root_mount = json.value("root_mount", uint64_t{0});
  if (const auto mounts = json.find("cgroup_mounts"); mounts != json.end()) {
    state.host = LayoutFromLists(*mounts);
  }
  return state;
}

}  // namespace

std::string StateToJson(const ContainerState& state) {
  const Json json = {{"id", state.id},
                     {"oci_version", state.oci_version},
                     {"bundle", state.bundle},
                     {"rootfs", state.rootfs},
                     {"init_process_pid", state.pid},
                     {"init_process_start", state.start_time},
                     {"created", state.created},
                     {"owner", state.owner},
                     {"annotations", state.annotations},
                     {"cgroup_paths", state.cgroup.paths},
                     {"cgroup_mounts", LayoutToLists(state.host)},
                     {"cgroup_tolerate_permission", state.cgroup.tolerate_permission},
                     {"cgroup_unit", state.cgroup.unit},
                     {"cgroup_slice", state.cgroup.slice},
                     {"cgroup_user_manager", state.cgroup.user_manager},
                     {"systemd_cgroup", state.systemd_cgroup},
                     {"own_pid_namespace", state.own_pid_namespace},
                     {"rootless", state.rootless},
                     {"intel_rdt_path", state.intel_rdt_path},
                     {"mount_before", state.mount_before},
                     {"root_mount", state.root_mount}};
  // Bytes that are no UTF-8 came from a path; they are replaced rather than losing the container.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<ContainerState> ParseState(std::string_view text) {
  constexpr size_t kTextBytesMax = size_t{4} << 20;
  if (text.size() > kTextBytesMax) return absl::DataLossError("state: the file is too long");
  try {
    const Json json = Json::parse(text);
    return FromJson(json);
  } catch (const Json::exception& error) {
    return absl::DataLossError(absl::StrCat("state: ", error.what()));
  }
}

absl::Status ValidateId(std::string_view id) {
  const std::string shown(id.substr(0, kIdBytesMax));
  if (id.empty()) return absl::InvalidArgumentError("container id cannot be empty");
  if (id.size() > kIdBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("invalid container ID format: longer than ", kIdBytesMax, " bytes"));
  }
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.";
  if (id.find_first_not_of(kAllowed) != std::string_view::npos || id == "." || id == "..") {
    return absl::InvalidArgumentError(absl::StrCat("invalid container ID format: '", shown, "'"));
  }
  return absl::OkStatus();
}

}  // namespace keelson::container
