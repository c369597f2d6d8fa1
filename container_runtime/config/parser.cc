#include "container_runtime/config/parser.h"

#include <array>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "container_runtime/config/internal/json_reader.h"
#include "container_runtime/config/internal/sections.h"

namespace keelson::container {
namespace {

constexpr std::array<std::pair<const char*, NamespaceType>, 8> kNamespaces = {{
    {"pid", NamespaceType::kPid},
    {"network", NamespaceType::kNetwork},
    {"mount", NamespaceType::kMount},
    {"ipc", NamespaceType::kIpc},
    {"uts", NamespaceType::kUts},
    {"user", NamespaceType::kUser},
    {"cgroup", NamespaceType::kCgroup},
    {"time", NamespaceType::kTime},
}};

void ReadIdMapping(JsonReader& reader, IdMapping* out) {
  reader.Read("containerID", &out->container_id);
  reader.Read("hostID", &out->host_id);
  reader.Read("size", &out->size);
  if (out->size == 0) reader.Fail("size", "must be at least 1");
}

void ReadMount(JsonReader& reader, Mount* out) {
  reader.Require("destination");
  reader.Read("destination", &out->destination);
  if (reader.ok() && out->destination.empty()) reader.Fail("destination", "is empty");
  reader.Read("type", &out->type);
  reader.Read("source", &out->source);
  reader.Read("options", &out->options);
  reader.List("uidMappings", &out->uid_mappings, ReadIdMapping);
  reader.List("gidMappings", &out->gid_mappings, ReadIdMapping);
  if (out->uid_mappings.empty() != out->gid_mappings.empty()) {
    reader.Fail("", "has one of uidMappings and gidMappings, want both or neither");
  }
}

void ReadHook(JsonReader& reader, Hook* out) {
  reader.Require("path");
  reader.Read("path", &out->path);
  if (reader.ok() && (out->path.empty() || out->path[0] != '/')) {
    reader.Fail("path", absl::StrCat("'", out->path, "' is not absolute"));
  }
  reader.Read("args", &out->args);
  reader.Read("env", &out->env);
  reader.Read("timeout", &out->timeout_s);
  if (out->timeout_s.has_value() && *out->timeout_s <= 0) {
    reader.Fail("timeout", "must be more than 0 seconds");
  }
}

void ReadHooks(JsonReader& reader, Hooks* out) {
  reader.List("prestart", &out->prestart, ReadHook);
  reader.List("createRuntime", &out->create_runtime, ReadHook);
  reader.List("createContainer", &out->create_container, ReadHook);
  reader.List("startContainer", &out->start_container, ReadHook);
  reader.List("poststart", &out->poststart, ReadHook);
  reader.List("poststop", &out->poststop, ReadHook);
}

void ReadNamespace(JsonReader& reader, Namespace* out) {
  std::string type;
  reader.Require("type");
  reader.Read("type", &type);
  reader.Read("path", &out->path);
  if (!reader.ok()) return;
  if (!out->path.empty() && out->path[0] != '/') {
    reader.Fail("path", absl::StrCat("'", out->path, "' is not absolute"));
  }
  for (const auto& [name, value] : kNamespaces) {
    if (type == name) {
      out->type = value;
      return;
    }
  }
  reader.Fail("type", absl::StrCat("unknown namespace '", type, "'"));
}

void ReadDevice(JsonReader& reader, Device* out) {
  std::string type;
  for (const char* field : {"type", "path"}) reader.Require(field);
  reader.Read("type", &type);
  reader.Read("path", &out->path);
  reader.Read("major", &out->major);
  reader.Read("minor", &out->minor);
  reader.Read("fileMode", &out->file_mode);
  reader.Read("uid", &out->uid);
  reader.Read("gid", &out->gid);
  if (!reader.ok()) return;
  if (type.size() != 1 || std::string("cbup").find(type) == std::string::npos) {
    return reader.Fail("type", absl::StrCat("unknown device type '", type, "'"));
  }
  out->type = type[0];
  if (out->path.empty() || out->path[0] != '/') {
    reader.Fail("path", absl::StrCat("'", out->path, "' is not absolute"));
  }
  if (out->major < 0 || out->minor < 0 || out->major > 0xfff || out->minor > 0xfffff) {
    reader.Fail("", absl::StrCat("device number ", out->major, ":", out->minor, " out of range"));
  }
}

void ReadIntelRdt(JsonReader& reader, IntelRdt* out) {
  reader.Read("closID", &out->clos_id);
  reader.Read("l3CacheSchema", &out->l3_cache_schema);
  reader.Read("memBwSchema", &out->mem_bw_schema);
  reader.Read("schemata", &out->schemata);
  reader.Read("enableMonitoring", &out->enable_monitoring);
  const std::string& id = out->clos_id;
  if (id == "." || id == ".." || (id != "/" && id.find('/') != std::string::npos)) {
    reader.Fail("closID", absl::StrCat("'", id, "' is not one name"));
  }
}

void ReadPersonality(JsonReader& reader, Personality* out) {
  reader.Read("domain", &out->domain);
  reader.Read("flags", &out->flags);
  if (out->domain != "LINUX" && out->domain != "LINUX32") {
    reader.Fail("domain", absl::StrCat("unknown execution domain '", out->domain, "'"));
  }
}

void ReadMemoryPolicy(JsonReader& reader, MemoryPolicy* out) {
  reader.Read("mode", &out->mode);
  if (out->mode.empty()) reader.Fail("mode", "invalid memory policy mode: is missing");
  reader.Read("nodes", &out->nodes);
  reader.Read("flags", &out->flags);
}

void ReadNamespaces(JsonReader& reader, Linux* out) {
  reader.List("namespaces", &out->namespaces, ReadNamespace);
  uint32_t seen = 0;
  for (const Namespace& space : out->namespaces) {
    const uint32_t bit = 1U << static_cast<uint32_t>(space.type);
    if ((seen & bit) != 0) {
      const char* name = kNamespaces[static_cast<size_t>(space.type)].first;
      reader.Fail("namespaces", absl::StrCat("namespace '", name, "' is listed twice"));
    }
    seen |= bit;
  }
  reader.List("uidMappings", &out->uid_mappings, ReadIdMapping);
  reader.List("gidMappings", &out->gid_mappings, ReadIdMapping);
  reader.Members("timeOffsets", [out](const std::string& clock, JsonReader& offset) {
    if (clock != "monotonic" && clock != "boottime") {
      return offset.Fail("", absl::StrCat("unknown clock '", clock, "'"));
    }
    TimeOffset& value = out->time_offsets[clock];
    offset.Read("secs", &value.secs);
    offset.Read("nanosecs", &value.nanosecs);
    if (value.nanosecs > 999999999) offset.Fail("nanosecs", "must be below 1000000000");
  });
}

void ReadLinux(JsonReader& reader, Linux* out) {
  ReadNamespaces(reader, out);
  reader.List("devices", &out->devices, ReadDevice);
  reader.Members("netDevices", [out](const std::string& name, JsonReader& device) {
    device.Read("name", &out->net_devices[name].name);
  });
  reader.Read("cgroupsPath", &out->cgroups_path);
  reader.Child("resources", [out](JsonReader& child) { ReadResources(child, &out->resources); });
  reader.Read("rootfsPropagation", &out->rootfs_propagation);
  reader.Read("maskedPaths", &out->masked_paths);
  reader.Read("readonlyPaths", &out->readonly_paths);
  reader.Object("seccomp", &out->seccomp, ReadSeccomp);
  reader.Read("sysctl", &out->sysctl);
  reader.Object("intelRdt", &out->intel_rdt, ReadIntelRdt);
  reader.Read("mountLabel", &out->mount_label);
  reader.Object("personality", &out->personality, ReadPersonality);
  reader.Object("memoryPolicy", &out->memory_policy, ReadMemoryPolicy);
}

void ReadVersion(JsonReader& reader, std::string* out) {
  reader.Require("ociVersion");
  reader.Read("ociVersion", out);
  if (!reader.ok()) return;
  if (out->rfind("1.", 0) != 0) {
    reader.Fail("ociVersion", absl::StrCat("'", *out, "' is not supported, want 1.x"));
  }
}

void ReadSpec(JsonReader& reader, Spec* out) {
  ReadVersion(reader, &out->oci_version);
  reader.Child("root", [out](JsonReader& root) {
    Root& value = out->root.emplace();
    root.Require("path");
    root.Read("path", &value.path);
    root.Read("readonly", &value.readonly);
  });
  reader.List("mounts", &out->mounts, ReadMount);
  reader.Object("process", &out->process, ReadProcess);
  reader.Read("hostname", &out->hostname);
  reader.Read("domainname", &out->domainname);
  reader.Child("hooks", [out](JsonReader& hooks) { ReadHooks(hooks, &out->hooks); });
  reader.Read("annotations", &out->annotations);
  reader.Child("linux", [out](JsonReader& child) { ReadLinux(child, &out->linux_); });
}

template <typename T>
absl::StatusOr<T> Parse(std::string_view text, void (*read)(JsonReader&, T*)) {
  KEELSON_ASSIGN_OR_RETURN(const Json value, ParseJson(text));
  ErrorSink errors;
  JsonReader reader(value, "", errors);
  T result;
  if (!value.is_object()) {
    reader.Fail("", "the text is not a JSON object");
  } else {
    read(reader, &result);
  }
  KEELSON_RETURN_IF_ERROR(errors.status);
  return result;
}

}  // namespace

absl::StatusOr<Spec> ParseSpec(std::string_view text) { return Parse<Spec>(text, ReadSpec); }

absl::StatusOr<Process> ParseProcess(std::string_view text) {
  return Parse<Process>(text, ReadProcess);
}

absl::StatusOr<Resources> ParseResources(std::string_view text) {
  return Parse<Resources>(text, ReadResources);
}

}  // namespace keelson::container
