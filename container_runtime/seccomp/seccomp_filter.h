// Compiles linux.seccomp of config.json to a program for seccomp(2), by libseccomp.
//
// As other runtimes do: names that this kernel or library does not know are skipped; several rules
// for one system call hold if any does; a second comparison of one argument in a rule, which
// libseccomp does not take, becomes a second rule.
#ifndef KEELSON_CONTAINER_RUNTIME_SECCOMP_SECCOMP_FILTER_H_
#define KEELSON_CONTAINER_RUNTIME_SECCOMP_SECCOMP_FILTER_H_

#include <linux/filter.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "container_runtime/config/seccomp.h"

namespace keelson::container {

struct SeccompFilter {
  std::vector<sock_filter> code;  // empty: everything is allowed, no filter is needed
  unsigned flags = 0;             // SECCOMP_FILTER_FLAG_*
  bool has_listener = false;      // some rule notifies; flags has NEW_LISTENER
  std::vector<std::string> warnings;
};

// Errors: INVALID_ARGUMENT, with the place in config.json.
absl::StatusOr<SeccompFilter> CompileSeccomp(const Seccomp& config);

// What the kernel would return for system call `number` of this machine's architecture, with all
// arguments 0: SECCOMP_RET_*. KILL_PROCESS for a program that is none.
uint32_t EvaluateFilter(const std::vector<sock_filter>& code, int number);

// Whether a process under this filter may call execveat.
bool AllowsExecveat(const SeccompFilter& filter);

// For `features`.
std::vector<std::string> SeccompArchitectures();

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_SECCOMP_SECCOMP_FILTER_H_
