// linux.seccomp of config.json. Specification: config-linux.md, "Seccomp".
#ifndef KEELSON_CONTAINER_RUNTIME_CONFIG_SECCOMP_H_
#define KEELSON_CONTAINER_RUNTIME_CONFIG_SECCOMP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace keelson::container {

struct SeccompArg {
  uint32_t index = 0;  // [0, 5]
  uint64_t value = 0;
  uint64_t value_two = 0;
  std::string op;  // "SCMP_CMP_EQ" ...
};

struct SeccompSyscall {
  std::vector<std::string> names;
  std::string action;  // "SCMP_ACT_ALLOW" ...
  std::optional<uint32_t> errno_ret;
  std::vector<SeccompArg> args;
};

struct Seccomp {
  std::string default_action;
  std::optional<uint32_t> default_errno_ret;
  std::vector<std::string> architectures;  // "SCMP_ARCH_X86_64" ...
  std::vector<std::string> flags;          // "SECCOMP_FILTER_FLAG_LOG" ...
  std::string listener_path;
  std::string listener_metadata;
  std::vector<SeccompSyscall> syscalls;
};

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CONFIG_SECCOMP_H_
