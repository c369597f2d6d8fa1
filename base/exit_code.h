// Exit codes of every daemon and command, as systemd and LSB know them.
#ifndef KEELSON_BASE_EXIT_CODE_H_
#define KEELSON_BASE_EXIT_CODE_H_

#include "absl/status/status.h"

namespace keelson {

enum class ExitCode : int {
  kDone = 0,
  kFailed = 1,
  kBadArguments = 2,
  kNoPermission = 4,
  kNotConfigured = 6,
};

// The exit code that tells `status` to a shell or to systemd:
//   OK                                    kDone
//   INVALID_ARGUMENT, OUT_OF_RANGE        kBadArguments
//   PERMISSION_DENIED, UNAUTHENTICATED    kNoPermission
//   FAILED_PRECONDITION                   kNotConfigured
//   any other                             kFailed
ExitCode ExitCodeFor(const absl::Status& status);

}  // namespace keelson

#endif  // KEELSON_BASE_EXIT_CODE_H_
