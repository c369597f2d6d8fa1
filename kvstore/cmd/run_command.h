// Runs the command that `watch -- command` names, once for each event.
#ifndef KEELSON_KVSTORE_CMD_RUN_COMMAND_H_
#define KEELSON_KVSTORE_CMD_RUN_COMMAND_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace keelson::kvctl {

// Finds `command[0]` in $PATH, runs it with `environment` added to ours and waits for it.
// An error names the command and what it ended with, in etcdctl's words.
absl::Status RunCommand(const std::vector<std::string>& command,
                        const std::map<std::string, std::string>& environment);

// The same, with an error that only says how it ended: "exit status 3".
absl::Status RunProgram(const std::vector<std::string>& command,
                        const std::map<std::string, std::string>& environment);

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_RUN_COMMAND_H_
