// Runs programs of the host and waits for them: hooks, newuidmap, ps.
#ifndef KEELSON_CONTAINER_RUNTIME_RUNTIME_COMMAND_H_
#define KEELSON_CONTAINER_RUNTIME_RUNTIME_COMMAND_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "container_runtime/config/spec.h"

namespace keelson::container {

struct CommandOptions {
  std::string input;                            // on standard input
  std::optional<std::vector<std::string>> env;  // absent: ours
  absl::Duration limit = absl::InfiniteDuration();
  bool argv0_separate = false;  // argv[0] is the path, argv[1] the name the program sees
};

// Errors: by errno where the program cannot be run; DEADLINE_EXCEEDED, the program is killed;
// ABORTED when it ends with a status other than 0, with the end of what it said.
absl::Status RunCommand(const std::vector<std::string>& argv, const CommandOptions& options = {});

// Standard output of a program that ends with 0.
absl::StatusOr<std::string> ReadCommand(const std::vector<std::string>& argv);

// Runs hooks in order, `state` on their standard input, until one fails.
absl::Status RunHooks(const std::vector<Hook>& hooks, std::string_view phase,
                      const std::string& state);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_RUNTIME_COMMAND_H_
