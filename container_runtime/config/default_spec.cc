#include "container_runtime/config/default_spec.h"

#include <nlohmann/json.hpp>
#include <vector>

namespace keelson::container {
namespace {

using Json = nlohmann::ordered_json;

Json MountOf(const char* destination, const char* type, const char* source, Json options) {
  Json mount = {{"destination", destination}, {"type", type}, {"source", source}};
  if (!options.empty()) mount["options"] = std::move(options);
  return mount;
}

Json ProcessOf() {
  const Json capabilities = {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"};
  return {
      {"terminal", true},
      {"user", {{"uid", 0}, {"gid", 0}}},
      {"args", {"sh"}},
      {"env", {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"}},
      {"cwd", "/"},
      {"capabilities",
       {{"bounding", capabilities}, {"effective", capabilities}, {"permitted", capabilities}}},
      {"rlimits", {{{"type", "RLIMIT_NOFILE"}, {"hard", 1024}, {"soft", 1024}}}},
      {"noNewPrivileges", true}};
}

Json MountsOf() {
  return Json::array(
      {MountOf("/proc", "proc", "proc", Json::array()),
       MountOf("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
       MountOf("/dev/pts", "devpts", "devpts",
               {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
       MountOf("/dev/shm", "tmpfs", "shm",
               {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}),
       MountOf("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}),
       MountOf("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}),
       MountOf("/sys/fs/cgroup", "cgroup", "cgroup",
               {"nosuid", "noexec", "nodev", "relatime", "ro"})});
}

Json NamespacesOf(std::vector<const char*> types, bool unified) {
  if (unified) types.push_back("cgroup");
  Json namespaces = Json::array();
  for (const char* type : types) namespaces.push_back({{"type", type}});
  return namespaces;
}

Json SpecOf(bool unified) {
  const Json deny = {{"allow", false}, {"access", "rwm"}};
  return {{"ociVersion", kOciVersion},
          {"process", ProcessOf()},
          {"root", {{"path", "rootfs"}, {"readonly", true}}},
          {"hostname", "cradle"},
          {"mounts", MountsOf()},
          {"linux",
           {{"resources", {{"devices", Json::array({deny})}}},
            {"namespaces", NamespacesOf({"pid", "network", "ipc", "uts", "mount"}, unified)},
            {"maskedPaths",
             {"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
              "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
              "/proc/scsi"}},
            {"readonlyPaths",
             {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}}}}};
}

}  // namespace

std::string DefaultSpec(bool unified) { return SpecOf(unified).dump(4) + "\n"; }

std::string RootlessSpec(uid_t uid, gid_t gid, bool unified) {
  Json spec = SpecOf(unified);
  Json& config = spec["linux"];
  config["namespaces"] = NamespacesOf({"pid", "ipc", "uts", "mount", "user"}, unified);
  config["uidMappings"] = Json::array({{{"containerID", 0}, {"hostID", uid}, {"size", 1}}});
  config["gidMappings"] = Json::array({{{"containerID", 0}, {"hostID", gid}, {"size", 1}}});
  config.erase("resources");
  for (Json& mount : spec["mounts"]) {
    if (mount["destination"] == "/sys") {
      mount = MountOf("/sys", "none", "/sys", {"rbind", "nosuid", "noexec", "nodev", "ro"});
    }
    if (!mount.contains("options")) continue;
    Json kept = Json::array();
    for (const Json& option : mount["options"]) {
      if (option.get<std::string>().rfind("gid=", 0) != 0) kept.push_back(option);
    }
    mount["options"] = kept;
  }
  return spec.dump(4) + "\n";
}

}  // namespace keelson::container
