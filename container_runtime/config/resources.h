// linux.resources of config.json: what a container may use of the machine.
//
// Every limit is optional: absent means "do not touch". -1 means unlimited where the field is
// signed. Specification: config-linux.md, "Control groups".
#ifndef KEELSON_CONTAINER_RUNTIME_CONFIG_RESOURCES_H_
#define KEELSON_CONTAINER_RUNTIME_CONFIG_RESOURCES_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace keelson::container {

struct DeviceRule {
  bool allow = false;
  char type = 'a';                      // 'a' all, 'c' character, 'b' block
  std::optional<int64_t> major, minor;  // absent (or -1): any
  std::string access;                   // of "rwm"; empty with type 'a': all three
};

// Bytes, but for swappiness.
struct MemoryLimits {
  std::optional<int64_t> limit, reservation, swap, kernel, kernel_tcp;
  std::optional<uint64_t> swappiness;  // [0, 100]
  std::optional<bool> disable_oom_killer, use_hierarchy, check_before_update;
};

// Microseconds, but for shares and idle.
struct CpuLimits {
  std::optional<uint64_t> shares;
  std::optional<int64_t> quota;
  std::optional<uint64_t> burst, period;
  std::optional<int64_t> realtime_runtime;
  std::optional<uint64_t> realtime_period;
  std::string cpus, mems;       // lists such as "0-3,7"
  std::optional<int64_t> idle;  // 0 or 1
};

struct WeightDevice {
  int64_t major = 0, minor = 0;
  std::optional<uint16_t> weight, leaf_weight;
};

// Bytes or operations a second.
struct ThrottleDevice {
  int64_t major = 0, minor = 0;
  uint64_t rate = 0;
};

struct BlockIoLimits {
  std::optional<uint16_t> weight, leaf_weight;  // [10, 1000]
  std::vector<WeightDevice> weight_device;
  std::vector<ThrottleDevice> throttle_read_bps, throttle_write_bps, throttle_read_iops,
      throttle_write_iops;
};

struct HugepageLimit {
  std::string page_size;  // "2MB"
  uint64_t limit = 0;     // bytes
};

struct InterfacePriority {
  std::string name;
  uint32_t priority = 0;
};

struct NetworkLimits {
  std::optional<uint32_t> class_id;
  std::vector<InterfacePriority> priorities;
};

struct RdmaLimit {
  std::optional<uint32_t> hca_handles, hca_objects;
};

struct Resources {
  std::vector<DeviceRule> devices;
  std::optional<MemoryLimits> memory;
  std::optional<CpuLimits> cpu;
  std::optional<int64_t> pids_limit;
  std::optional<BlockIoLimits> block_io;
  std::vector<HugepageLimit> hugepage_limits;
  std::optional<NetworkLimits> network;
  std::map<std::string, RdmaLimit> rdma;       // by device
  std::map<std::string, std::string> unified;  // cgroup v2 file -> value
};

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CONFIG_RESOURCES_H_
