// The sealed program that executes the user's; see trampoline.c for why.
#ifndef KEELSON_CONTAINER_RUNTIME_RUNTIME_TRAMPOLINE_H_
#define KEELSON_CONTAINER_RUNTIME_RUNTIME_TRAMPOLINE_H_

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace keelson::container {

// A close-on-exec descriptor of a memfd that holds the program and that nobody can write to.
absl::StatusOr<UniqueFd> OpenTrampoline();

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_RUNTIME_TRAMPOLINE_H_
