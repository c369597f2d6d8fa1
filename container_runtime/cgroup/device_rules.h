// Which devices a container may open and make: the rules of `linux.resources.devices`, reduced to
// what the kernel's two mechanisms take. Pure.
//
// Meaning: everything is denied at first. For each of the accesses read, write and mknod the last rule
// that covers the device and that access decides; a request for several accesses needs each.
//
//   KEELSON_ASSIGN_OR_RETURN(auto policy, DevicePolicy::Of(WithDefaultDevices(rules)));
//   policy.Allows({.type = 'c', .major = 1, .minor = 3, .access = kDeviceRead | kDeviceWrite});
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_DEVICE_RULES_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_DEVICE_RULES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "container_runtime/config/resources.h"

namespace keelson::container {

// Bits as in BPF_DEVCG_ACC_* of linux/bpf.h.
inline constexpr uint32_t kDeviceMknod = 1, kDeviceRead = 2, kDeviceWrite = 4;
inline constexpr uint32_t kDeviceAll = kDeviceMknod | kDeviceRead | kDeviceWrite;
inline constexpr int64_t kAnyDevice = -1;

// One rule with everything spelled out.
struct DeviceEntry {
  bool allow = false;
  char type = 'c';                                 // 'c', 'b', or 'a' for both
  int64_t major = kAnyDevice, minor = kAnyDevice;  // kAnyDevice: any
  uint32_t access = 0;                             // bits kDevice*

  [[nodiscard]] bool Covers(char t, int64_t maj, int64_t min) const {
    return (type == 'a' || type == t) && (major == kAnyDevice || major == maj) &&
           (minor == kAnyDevice || minor == min);
  }
  friend bool operator==(const DeviceEntry&, const DeviceEntry&) = default;
};

struct DeviceRequest {
  char type = 'c';
  int64_t major = 0, minor = 0;
  uint32_t access = 0;
};

// The devices that every container may use whatever its config says, as runc has them: any mknod; null,
// zero, full, random, urandom, tty, ptmx, the pts family, and net/tun.
std::vector<DeviceRule> DefaultDevices();

// `rules` and, after them so that they win, DefaultDevices.
std::vector<DeviceRule> WithDefaultDevices(std::vector<DeviceRule> rules);

class DevicePolicy {
 public:
  // Errors: INVALID_ARGUMENT a type, number or access that there is not, with the rule's index.
  static absl::StatusOr<DevicePolicy> Of(const std::vector<DeviceRule>& rules);

  // The list of a v1 `devices.list` file. "a *:* rwm" alone means that everything is allowed.
  // Errors: INVALID_ARGUMENT a line that the kernel does not write.
  static absl::StatusOr<DevicePolicy> OfList(std::string_view devices_list);

  // In order of decreasing weight: the first entry that covers a request's device and access decides.
  // Rules that others make void are gone. What no entry covers is denied.
  [[nodiscard]] const std::vector<DeviceEntry>& entries() const { return entries_; }

  [[nodiscard]] bool Allows(const DeviceRequest& request) const;

  // True when every request is allowed, so that nothing needs to be set up on v2.
  [[nodiscard]] bool AllowsEverything() const;

 private:
  std::vector<DeviceEntry> entries_;
};

// A line for devices.allow or devices.deny: {true, "c 1:3 rwm"}.
struct DeviceWrite {
  bool allow = false;
  std::string line;
  friend bool operator==(const DeviceWrite&, const DeviceWrite&) = default;
};

// The writes that turn a v1 cgroup with `present` (of its devices.list) into `wanted`. What both allow is
// never denied in between, so that a running container does not notice; a wanted default changes by
// one "a" line first.
//
// Errors: FAILED_PRECONDITION `wanted` cannot be said in v1: it takes a part out of a wider permission,
// such as c 1:3 out of c 1:*.
absl::StatusOr<std::vector<DeviceWrite>> DeviceWrites(const DevicePolicy& present,
                                                      const DevicePolicy& wanted);

// Bits of "rwm". Errors: INVALID_ARGUMENT another letter, or none.
absl::StatusOr<uint32_t> DeviceAccessOf(std::string_view letters);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_DEVICE_RULES_H_
