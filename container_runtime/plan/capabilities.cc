#include "container_runtime/plan/capabilities.h"

#include <array>
#include <cctype>

namespace keelson::container {
namespace {

constexpr std::array<const char*, 41> kNames = {"CHOWN",
                                                "DAC_OVERRIDE",
                                                "DAC_READ_SEARCH",
                                                "FOWNER",
                                                "FSETID",
                                                "KILL",
                                                "SETGID",
                                                "SETUID",
                                                "SETPCAP",
                                                "LINUX_IMMUTABLE",
                                                "NET_BIND_SERVICE",
                                                "NET_BROADCAST",
                                                "NET_ADMIN",
                                                "NET_RAW",
                                                "IPC_LOCK",
                                                "IPC_OWNER",
                                                "SYS_MODULE",
                                                "SYS_RAWIO",
                                                "SYS_CHROOT",
                                                "SYS_PTRACE",
                                                "SYS_PACCT",
                                                "SYS_ADMIN",
                                                "SYS_BOOT",
                                                "SYS_NICE",
                                                "SYS_RESOURCE",
                                                "SYS_TIME",
                                                "SYS_TTY_CONFIG",
                                                "MKNOD",
                                                "LEASE",
                                                "AUDIT_WRITE",
                                                "AUDIT_CONTROL",
                                                "SETFCAP",
                                                "MAC_OVERRIDE",
                                                "MAC_ADMIN",
                                                "SYSLOG",
                                                "WAKE_ALARM",
                                                "BLOCK_SUSPEND",
                                                "AUDIT_READ",
                                                "PERFMON",
                                                "BPF",
                                                "CHECKPOINT_RESTORE"};

}  // namespace

std::optional<int> CapabilityNumber(std::string_view name) {
  std::string upper;
  for (const char c : name) {
    upper += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  if (upper.rfind("CAP_", 0) == 0) upper.erase(0, 4);
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (upper == kNames[i]) return static_cast<int>(i);
  }
  return std::nullopt;
}

uint64_t CapabilityBits(const std::vector<std::string>& names, std::vector<std::string>* unknown) {
  uint64_t bits = 0;
  for (const std::string& name : names) {
    if (const auto number = CapabilityNumber(name); number.has_value()) {
      bits |= uint64_t{1} << *number;
    } else {
      unknown->push_back(name);
    }
  }
  return bits;
}

std::vector<std::string> CapabilityNames() {
  std::vector<std::string> names;
  for (const char* name : kNames) names.push_back(std::string("CAP_") + name);
  return names;
}

}  // namespace keelson::container
