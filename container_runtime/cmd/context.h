// What every command of cradle gets, and the table of commands.
#ifndef KEELSON_CONTAINER_RUNTIME_CMD_CONTEXT_H_
#define KEELSON_CONTAINER_RUNTIME_CMD_CONTEXT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "container_runtime/cmd/args.h"
#include "container_runtime/runtime/runtime.h"

namespace keelson::container {

struct Context {
  RuntimeOptions runtime;
  bool root_given = false;  // by --root
  std::string log_file;     // empty: standard error alone
  bool log_json = false;
  bool debug = false;
  std::string command;  // its name, for errors
};

// The exit status of a command, or the error that main reports (then the status is 1).
using CommandResult = absl::StatusOr<int>;

struct Command {
  const char* name;
  const char* usage;  // "<container-id> [signal]"
  const char* help;   // one sentence
  std::vector<Flag> flags;
  int words_min, words_max;  // -1: any number
  // Flags may stand after words; false where the words are a command line.
  bool flags_anywhere;
  CommandResult (*run)(const Context& context, const Args& args);
  int error_exit = 1;
};

// By file: lifecycle_commands.cc, exec_command.cc, resource_commands.cc, describe_commands.cc.
std::vector<Command> LifecycleCommands();
std::vector<Command> ExecCommands();
std::vector<Command> ResourceCommands();
std::vector<Command> DescribeCommands();

// Makes the log's file, if there is to be one; what cannot be logged should not be begun.
absl::Status OpenLog(const Context& context);

// Reports a failure on standard error and in the log; with `level` "warning", something less, in the
// log, or on standard error where there is none; with "debug", what only --debug asks for.
void Log(const Context& context, const char* level, const absl::Status& status);

// Text of "runc version"-like lines.
std::string VersionText();

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CMD_CONTEXT_H_
