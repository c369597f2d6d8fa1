// The structs of an OCI bundle's config.json, as values: no JSON, no system call.
//
// Names and order follow the OCI runtime specification (config.md, config-linux.md), in
// snake_case. An absent number, string or object is an empty std::optional where absence differs
// from a zero value; elsewhere it is the empty or zero value.
//
// config/parser.h makes a Spec of text, config/writer.h text of a Spec. Threading: plain values.
#ifndef KEELSON_CONTAINER_RUNTIME_CONFIG_SPEC_H_
#define KEELSON_CONTAINER_RUNTIME_CONFIG_SPEC_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "container_runtime/config/resources.h"
#include "container_runtime/config/seccomp.h"

namespace keelson::container {

struct Root {
  std::string path;  // absolute, or relative to the bundle
  bool readonly = false;
};

struct ConsoleSize {
  uint32_t height = 0;  // in characters
  uint32_t width = 0;
};

struct Rlimit {
  std::string type;  // "RLIMIT_NOFILE"
  uint64_t soft = 0;
  uint64_t hard = 0;
};

// Ids are those of the container's user namespace.
struct User {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::optional<uint32_t> umask;
  std::vector<uint32_t> additional_gids;
};

// Names such as "CAP_CHOWN".
struct Capabilities {
  std::vector<std::string> bounding, effective, inheritable, permitted, ambient;
};

// sched_setattr(2).
struct Scheduler {
  std::string policy;  // "SCHED_OTHER" ...
  int32_t nice = 0;
  int32_t priority = 0;
  std::vector<std::string> flags;                  // "SCHED_FLAG_RESET_ON_FORK" ...
  uint64_t runtime = 0, deadline = 0, period = 0;  // nanoseconds
};

struct IoPriority {
  std::string io_class;  // "IOPRIO_CLASS_BE" ...
  int32_t priority = 0;  // [0, 7]
};

// Lists of processors such as "0-3,7".
struct ExecCpuAffinity {
  std::string initial, final;
};

struct Process {
  bool terminal = false;
  std::optional<ConsoleSize> console_size;
  User user;
  std::vector<std::string> args;
  std::vector<std::string> env;  // "NAME=value"
  std::string cwd;
  std::optional<Capabilities> capabilities;
  std::vector<Rlimit> rlimits;
  bool no_new_privileges = false;
  std::string apparmor_profile;
  std::string selinux_label;
  std::optional<int32_t> oom_score_adj;  // [-1000, 1000]
  std::optional<Scheduler> scheduler;
  std::optional<IoPriority> io_priority;
  std::optional<ExecCpuAffinity> exec_cpu_affinity;
};

struct IdMapping {
  uint32_t container_id = 0;
  uint32_t host_id = 0;
  uint32_t size = 0;
};

struct Mount {
  std::string destination;
  std::string type;
  std::string source;
  std::vector<std::string> options;
  std::vector<IdMapping> uid_mappings, gid_mappings;
};

struct Hook {
  std::string path;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::optional<int32_t> timeout_s;  // > 0
};

struct Hooks {
  std::vector<Hook> prestart, create_runtime, create_container, start_container, poststart,
      poststop;
};

enum class NamespaceType { kPid, kNetwork, kMount, kIpc, kUts, kUser, kCgroup, kTime };

struct Namespace {
  NamespaceType type = NamespaceType::kPid;
  std::string path;  // empty: a new one
};

struct TimeOffset {
  int64_t secs = 0;
  uint32_t nanosecs = 0;
};

// A node to make in the container's /dev.
struct Device {
  char type = 'c';  // 'c', 'b', 'u' (as 'c') or 'p'
  std::string path;
  int64_t major = 0, minor = 0;
  std::optional<uint32_t> file_mode;
  std::optional<uint32_t> uid, gid;
};

struct NetDevice {
  std::string name;  // in the container; empty: as outside
};

struct IntelRdt {
  std::string clos_id;
  std::string l3_cache_schema, mem_bw_schema;
  std::vector<std::string> schemata;
  bool enable_monitoring = false;
};

struct Personality {
  std::string domain;  // "LINUX" or "LINUX32"
  std::vector<std::string> flags;
};

struct MemoryPolicy {
  std::string mode;   // "MPOL_BIND" ...
  std::string nodes;  // "0-3,7"
  std::vector<std::string> flags;
};

struct Linux {
  std::vector<IdMapping> uid_mappings, gid_mappings;
  std::vector<Namespace> namespaces;
  std::map<std::string, TimeOffset> time_offsets;  // "monotonic", "boottime"
  std::vector<Device> devices;
  std::map<std::string, NetDevice> net_devices;  // by the host's name
  std::string cgroups_path;
  Resources resources;
  std::string rootfs_propagation;
  std::vector<std::string> masked_paths, readonly_paths;
  std::optional<Seccomp> seccomp;
  std::map<std::string, std::string> sysctl;
  std::optional<IntelRdt> intel_rdt;
  std::string mount_label;
  std::optional<Personality> personality;
  std::optional<MemoryPolicy> memory_policy;
};

struct Spec {
  std::string oci_version;
  std::optional<Root> root;
  std::vector<Mount> mounts;
  std::optional<Process> process;
  std::string hostname, domainname;
  Hooks hooks;
  std::map<std::string, std::string> annotations;
  Linux linux_;  // `linux` is a macro of GNU C
};

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CONFIG_SPEC_H_
